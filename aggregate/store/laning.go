package store

import (
	"errors"
	"time"
)

var (
	// ErrLanesChanged: the number of lanes is another one than the caller goes by; nothing was done.
	ErrLanesChanged = errors.New("the number of lanes was changed")
	// ErrLanesChanging: somebody is changing the number of lanes already.
	ErrLanesChanging = errors.New("the number of lanes is being changed")
	// ErrNoLaneChange: the change is not under way, because it was undone, or its time is over.
	ErrNoLaneChange = errors.New("the number of lanes is not being changed any more")
)

// Laning is how streams are divided among lanes at a moment.
type Laning struct {
	Generation uint64 // how often the number was changed
	Lanes      int
	Change     *LaneChange  // that is under way; nil when there is none
	Past       []PastLaning // of which messages may still come, oldest first
}

// PastLaning is how streams were divided before.
type PastLaning struct {
	Generation uint64
	Lanes      int
	Since      time.Duration // its end
}

// LaneChange is a change of the number of lanes that is under way. It goes in steps: nobody takes commands any
// more, the lanes are worked until nothing is queued, they are given up (Closing), and the new number holds.
type LaneChange struct {
	ID      string        // nobody else's
	Lanes   int           // the number that is wanted
	Closing bool          // workers are to give their lanes up
	By      string        // for people to read
	Began   time.Duration // ago
	Left    time.Duration // until everybody goes on as if it had never begun
}

// The steps that a process has taken for a change.
const (
	LanesInUse  = iota // it goes on
	LanesUnsent        // it sends nothing any more, and what it had sent has been answered
	LanesUnused        // nor does it work at any lane
)

// LaneUser is a process that sends on lanes or works them.
type LaneUser struct {
	ID         string // nobody else's, and another one after each start
	Name       string // for people to read
	Roles      string
	Bus        string // over which commands come
	Generation uint64 // the one it goes by
	Change     string // the id of the change that Quiet is about
	Quiet      int    // the step it has taken for that
	Seen       time.Duration
}

// LaneLapse is how long a process counts as living after it was seen, and how long it may send on lanes after
// it has heard of them last.
const LaneLapse = 3 * time.Second

// LaneState is one lane as an operator sees it.
type LaneState struct {
	Lane     int
	Epoch    uint64
	Owner    string        // who took it over last
	Acquired time.Time     // when that was; zero: not known
	Worked   time.Duration // in its life
	WorkedAt time.Time     // when that was saved; zero: never, or not known
	Parked   int
}
