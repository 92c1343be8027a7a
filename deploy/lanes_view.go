package deploy

import (
	"context"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/aggregate/store/sqlite"
)

// LanesView is what an operator sees of the lanes.
type LanesView struct {
	Lanes     int             `json:"lanes"`
	Changes   uint64          `json:"changes"` // how often the number was changed; 0 also where that is not counted
	Change    *LaneChangeView `json:"change,omitempty"`
	List      []LaneView      `json:"list"`
	Processes []ProcessView   `json:"processes"`
}

// LaneChangeView is a change of the number that is under way.
type LaneChangeView struct {
	Lanes       int     `json:"lanes"` // the number that is wanted
	By          string  `json:"by"`
	Step        string  `json:"step"`
	Seconds     float64 `json:"seconds"`      // since it began
	SecondsLeft float64 `json:"seconds_left"` // until everybody goes on without it
}

// LaneView is one lane.
type LaneView struct {
	Lane          int        `json:"lane"`
	Owner         string     `json:"owner"` // who took it last; empty: nobody
	Epoch         uint64     `json:"epoch"`
	SecondsWorked float64    `json:"seconds_worked"`
	Parked        int        `json:"parked"`
	WorkedAt      *time.Time `json:"worked_at,omitempty"` // the last commit that saved its clock
}

// ProcessView is a process that sends on lanes or works them.
type ProcessView struct {
	Name        string  `json:"name"`
	Roles       string  `json:"roles"`
	Bus         string  `json:"bus"`
	Share       int     `json:"share"` // lanes whose owner it is
	SecondsSeen float64 `json:"seconds_seen"`
	Alive       bool    `json:"alive"`
	Step        string  `json:"step,omitempty"` // what it has come to in a change
}

// Lanes tells how the lanes of the configured store stand. It changes nothing, and everything may be running.
func Lanes(ctx context.Context, c *Config) (*LanesView, error) {
	if c.PostgresURL == "" {
		lanes, err := sqlite.Lanes(ctx, c.sqlite())
		if err != nil {
			return nil, err
		}
		return &LanesView{Lanes: len(lanes), List: laneViews(lanes), Processes: []ProcessView{}}, nil
	}
	s, err := c.laneStore(ctx)
	if err != nil {
		return nil, err
	}
	defer closeStore(s)
	l, err := s.Laning(ctx)
	if err != nil {
		return nil, err
	}
	lanes, err := s.LaneStates(ctx)
	if err != nil {
		return nil, err
	}
	users, err := s.LaneUsers(ctx)
	if err != nil {
		return nil, err
	}
	return lanesView(l, lanes, users), nil
}

func lanesView(l store.Laning, lanes []store.LaneState, users []store.LaneUser) *LanesView {
	view := &LanesView{Lanes: l.Lanes, Changes: l.Generation, List: laneViews(lanes), Processes: []ProcessView{}}
	if l.Change != nil {
		view.Change = &LaneChangeView{Lanes: l.Change.Lanes, By: l.Change.By, Step: "no commands are taken; what is queued is worked off",
			Seconds: l.Change.Began.Seconds(), SecondsLeft: l.Change.Left.Seconds()}
		if l.Change.Closing {
			view.Change.Step = "workers give their lanes up"
		}
	}
	for _, u := range users {
		p := ProcessView{Name: u.Name, Roles: u.Roles, Bus: u.Bus, SecondsSeen: u.Seen.Seconds(), Alive: u.Seen < store.LaneLapse}
		for i := range lanes {
			if lanes[i].Owner == u.Name {
				p.Share++
			}
		}
		if l.Change != nil {
			p.Step = stepOf(u, l.Change.ID)
		}
		view.Processes = append(view.Processes, p)
	}
	return view
}

func stepOf(u store.LaneUser, change string) string {
	switch {
	case u.Change != change:
		return "has not heard of the change"
	case u.Quiet == store.LanesInUse:
		return "sends what it has taken"
	case u.Quiet == store.LanesUnsent:
		return "works off what is queued"
	}
	return "has let its lanes go"
}

func laneViews(lanes []store.LaneState) []LaneView {
	views := make([]LaneView, len(lanes))
	for i, l := range lanes {
		views[i] = LaneView{Lane: l.Lane, Owner: l.Owner, Epoch: l.Epoch, SecondsWorked: l.Worked.Seconds(), Parked: l.Parked}
		if !l.WorkedAt.IsZero() {
			views[i].WorkedAt = &l.WorkedAt
		}
	}
	return views
}

// laneStore opens the store as it is, whatever number of lanes it has.
func (c *Config) laneStore(ctx context.Context) (*postgres.Store, error) {
	config := c.postgres()
	config.Lanes, config.Migrate = 0, false
	return postgres.Open(ctx, config)
}

// closeStore gives back what was opened to look or to ask; there is nothing to be lost.
func closeStore(s store.Store) { _ = s.Close() }
