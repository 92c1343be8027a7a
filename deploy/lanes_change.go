package deploy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/aggregate/store/sqlite"
	"github.com/ticketed/doorman/bus/rabbitmq"
)

// AbortLanes undoes a change of the number of lanes that is under way, and says whether there was one.
func AbortLanes(ctx context.Context, c *Config) (bool, error) {
	if c.PostgresURL == "" {
		return false, nil // it is one transaction
	}
	s, err := c.laneStore(ctx)
	if err != nil {
		return false, err
	}
	defer closeStore(s)
	return s.AbortLaneChange(ctx)
}

// LanesChange is what is wanted of SetLanes.
type LanesChange struct {
	Lanes   int
	By      string        // for people to read
	Timeout time.Duration // after which everything is as it was
	Say     func(string)  // told of each step, a sentence
}

// SetLanes changes the number of lanes of the configured store. On Postgres with RabbitMQ everything goes on
// running: gateways refuse commands for as long as it takes to work off what is queued, and then all processes
// go by the new number. Otherwise no process may be running. It can be killed at any moment: as long as it has
// not come to its end everything goes on with the number there was, at the latest when the time is over.
func SetLanes(ctx context.Context, c *Config, change LanesChange) error {
	k := &checker{config: c}
	if k.lanes(change.Lanes); len(k.problems) > 0 {
		return fmt.Errorf("the number of lanes: %s", k.problems[0].Detail)
	}
	if c.PostgresURL == "" {
		before, err := sqlite.SetLanes(ctx, c.sqlite(), change.Lanes)
		if err == nil {
			change.Say(fmt.Sprintf("There are %d lanes now; there were %d.", change.Lanes, before))
		}
		return err
	}
	s, err := c.laneStore(ctx)
	if err != nil {
		return err
	}
	defer closeStore(s)
	ctx, cancel := context.WithTimeout(ctx, change.Timeout)
	defer cancel()
	o := &lanesOperation{config: c, store: s, LanesChange: change}
	if err := o.begin(ctx); err != nil {
		return err
	}
	if err := o.carryOut(ctx); err != nil {
		return o.undo(err)
	}
	o.follow(ctx)
	return nil
}

// lanesOperation is a change of the number of lanes under way.
type lanesOperation struct {
	LanesChange
	config *Config
	store  *postgres.Store
	before store.Laning
	id     string
	awaits string // what it waits for, for when the time is over
}

// operationEvery is how often it looks.
const operationEvery = 100 * time.Millisecond

func (o *lanesOperation) begin(ctx context.Context) error {
	var err error
	if o.before, err = o.store.Laning(ctx); err != nil {
		return err
	}
	if o.before.Lanes == o.Lanes && o.before.Change == nil {
		return fmt.Errorf("there are %d lanes already", o.Lanes)
	}
	users, err := o.living(ctx)
	if err != nil {
		return err
	}
	for _, u := range users {
		switch {
		case u.Bus == busInProcess:
			return fmt.Errorf("%s uses the store with a bus of its own: stop it, and start it again afterwards", u.Name)
		case o.config.RabbitMQURL == "":
			return fmt.Errorf("%s uses RabbitMQ: give its URL (rabbitmq_url) here too, so that what is queued can be seen", u.Name)
		}
	}
	if len(users) > 0 {
		states, err := o.inspect(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(states, func(s rabbitmq.QueueState) bool { return s.Exists }) {
			return fmt.Errorf("RabbitMQ has no queues of lanes beginning with %q: give the rabbitmq_prefix that %s has here too",
				o.config.RabbitMQPrefix, users[0].Name)
		}
	}
	o.id, err = o.store.BeginLaneChange(ctx, o.Lanes, o.By, o.Timeout)
	if errors.Is(err, store.ErrLanesChanging) {
		return fmt.Errorf("%w: 'doorman lanes' shows how far that is, 'doorman lanes abort' undoes it", err)
	}
	return err
}

// carryOut takes the steps up to the moment at which the new number holds.
func (o *lanesOperation) carryOut(ctx context.Context) error {
	o.Say("Commands are refused from now on (503, to be sent again).")
	if err := o.until(ctx, store.LanesUnsent, "stop sending"); err != nil {
		return err
	}
	for {
		if err := o.drained(ctx); err != nil {
			return err
		}
		o.Say("Nothing is queued; workers give their lanes up.")
		if err := o.store.CloseLanes(ctx, o.id, true); err != nil {
			return err
		}
		if err := o.until(ctx, store.LanesUnused, "give their lanes up"); err != nil {
			return err
		}
		returned, err := o.returned(ctx)
		if err != nil {
			return err
		}
		if returned == 0 {
			break
		}
		o.Say(fmt.Sprintf("Workers gave %d frames back unjudged; they go on.", returned))
		if err := o.store.CloseLanes(ctx, o.id, false); err != nil {
			return err
		}
	}
	o.awaits = "the store makes the change"
	err := o.store.FinishLaneChange(ctx, o.id)
	if err != nil && o.finished() {
		return nil // though the answer did not come
	}
	return err
}

// finished tells whether the change was made, as far as that can be found out.
func (o *lanesOperation) finished() bool {
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	now, err := o.store.Laning(ctx)
	return err == nil && now.Generation == o.before.Generation+1 && now.Lanes == o.Lanes
}

// undo has everybody go on with the number there was, and says why.
func (o *lanesOperation) undo(why error) error {
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	if errors.Is(why, context.DeadlineExceeded) {
		why = fmt.Errorf("not done within %s, waiting until %s", durationText(o.Timeout), o.awaits)
	}
	if errors.Is(why, store.ErrNoLaneChange) {
		return why
	}
	undone, err := o.store.AbortLaneChange(ctx)
	if err != nil {
		return fmt.Errorf("%w; and it could not be undone, which happens by itself when its time is over: %w", why, err)
	}
	if !undone && o.finished() {
		o.Say(fmt.Sprintf("There are %d lanes now; there were %d. It was done when this happened: %s.", o.Lanes, o.before.Lanes, why))
		return nil
	}
	return fmt.Errorf("%w; everything goes on with %d lanes", why, o.before.Lanes)
}

// follow waits until all processes go by the new number. The change has been made, come what may.
func (o *lanesOperation) follow(ctx context.Context) {
	err := o.wait(ctx, func() (string, error) {
		users, err := o.living(ctx)
		return waitingFor(users, "go by the new number", func(u store.LaneUser) bool { return u.Generation > o.before.Generation }), err
	})
	if err != nil {
		o.Say(fmt.Sprintf("There are %d lanes now, but it is not known whether all processes go by it yet: %s.", o.Lanes, o.awaits))
		return
	}
	o.Say(fmt.Sprintf("There are %d lanes now; there were %d. Commands are taken again.", o.Lanes, o.before.Lanes))
}

// until waits until all processes that live have taken a step.
func (o *lanesOperation) until(ctx context.Context, step int, doing string) error {
	return o.wait(ctx, func() (string, error) {
		users, err := o.living(ctx)
		return waitingFor(users, doing, func(u store.LaneUser) bool { return u.Change == o.id && u.Quiet >= step }), err
	})
}

func waitingFor(users []store.LaneUser, doing string, done func(store.LaneUser) bool) string {
	var names []string
	for _, u := range users {
		if !done(u) {
			names = append(names, u.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("these %s: %s", doing, strings.Join(names, ", "))
}

// drained waits until nothing is queued.
func (o *lanesOperation) drained(ctx context.Context) error {
	return o.wait(ctx, func() (string, error) {
		queued, _, err := o.queues(ctx)
		if err != nil || queued == 0 {
			return "", err
		}
		return fmt.Sprintf("%d queued frames are worked off, for which at least one process with the role worker must live", queued), nil
	})
}

// returned waits until nobody consumes any more: what a frozen worker had been handed is queued again when the
// broker gives its connection up. It tells how many frames are queued then.
func (o *lanesOperation) returned(ctx context.Context) (frames int, err error) {
	err = o.wait(ctx, func() (string, error) {
		queued, consumers, err := o.queues(ctx)
		frames = queued
		switch {
		case err != nil:
			return "", err
		case consumers > 0:
			return fmt.Sprintf("%d lanes are given back by workers that have not been heard of", consumers), nil
		case frames > 0:
			return "", nil
		}
		used, err := o.used(ctx)
		if err != nil || used == 0 {
			return "", err
		}
		return fmt.Sprintf("%d queues are known to be empty", used), nil
	})
	return frames, err
}

// queues tells how many frames are queued, those that a worker has been handed aside, and how many consumers
// there are.
func (o *lanesOperation) queues(ctx context.Context) (frames, consumers int, err error) {
	if o.config.RabbitMQURL == "" {
		return 0, 0, nil
	}
	states, err := o.inspect(ctx)
	for _, state := range states {
		frames, consumers = frames+state.Messages, consumers+state.Consumers
	}
	return frames, consumers, err
}

// inspect looks at the queues that are to be drained.
func (o *lanesOperation) inspect(ctx context.Context) ([]rabbitmq.QueueState, error) {
	return rabbitmq.Inspect(ctx, o.oldLanes())
}

// used asks the queues themselves whether they are drained, and tells how many are not. Nobody may be working them.
func (o *lanesOperation) used(ctx context.Context) (int, error) {
	if o.config.RabbitMQURL == "" {
		return 0, nil
	}
	return rabbitmq.Used(ctx, o.oldLanes())
}

// oldLanes are those that are to be drained.
func (o *lanesOperation) oldLanes() rabbitmq.Config {
	config := o.config.lanesOf(o.before.Generation, o.before.Lanes)
	config.Logger = slog.New(slog.DiscardHandler)
	return config
}

// living are the processes that may be sending or working.
func (o *lanesOperation) living(ctx context.Context) ([]store.LaneUser, error) {
	users, err := o.store.LaneUsers(ctx)
	var living []store.LaneUser
	for _, u := range users {
		if u.Seen < store.LaneLapse {
			living = append(living, u)
		}
	}
	return living, err
}

// wait asks until there is nothing left to wait for. An answer that does not come is waited for too.
func (o *lanesOperation) wait(ctx context.Context, ask func() (awaits string, err error)) error {
	for {
		awaits, err := ask()
		if err == nil && awaits == "" {
			return nil
		}
		switch {
		case err == nil:
			o.awaits = awaits
		case ctx.Err() == nil || o.awaits == "": // else the time is over, which is no news
			o.awaits = err.Error()
		}
		if pause(ctx, operationEvery); ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}
