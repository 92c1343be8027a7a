package aggregate

import (
	"time"

	"github.com/ticketed/doorman/commands"
)

// Waiting is a command that is parked: it waits for the action its ticket names.
type Waiting struct {
	commands.Envelope
	Seq      uint64        // order of parking within the stream
	ParkedAt time.Time     // when it was parked
	Deadline time.Duration // when it expires, in working time of its lane
	// Until is the same by the wall clock, if the lane is worked from now on; in what a round shows only.
	Until time.Time

	released bool // its predecessor has been settled; it is in the instance's work queue
	fresh    bool // parked in the round under way
	settled  bool // no longer waiting
}

// Limits are the bounds of the parking lot and of one round.
type Limits struct {
	ParkedPerStream  int // exact
	ParkedPerSession int // approximate: counted per worker
	Parked           int // approximate: counted per worker
	Events           int // of one command
	Round            int // verdicts of one round, after which no further command is taken up
	// RoundBytes is likewise of what a round came to: states, events and what it parked. 0 is no bound.
	RoundBytes int
}

// DefaultLimits are those of DESIGN section 2; the last three are ours.
var DefaultLimits = Limits{ParkedPerStream: 256, ParkedPerSession: 1000, Parked: 50_000, Events: 1000, Round: 4096,
	RoundBytes: 32 << 20}

// Lot is told of everything that is parked, moved and settled, and counts it for the bounds that span
// streams.
type Lot interface {
	// Total is how many commands are parked, OfSession how many of one session.
	Total() int
	OfSession(session string) int

	Parked(w *Waiting)
	Moved(w *Waiting) // its deadline is a later one
	Settled(w *Waiting)
}

// Count is a Lot that only counts.
type Count struct {
	total     int
	bySession map[string]int
}

var _ Lot = (*Count)(nil)

// Total is how many commands are parked.
func (c *Count) Total() int { return c.total }

// OfSession is how many of a session are parked.
func (c *Count) OfSession(session string) int { return c.bySession[session] }

// Parked counts one more.
func (c *Count) Parked(w *Waiting) { c.Add(w.Session, 1) }

// Moved changes no count.
func (c *Count) Moved(*Waiting) {}

// Settled counts one less.
func (c *Count) Settled(w *Waiting) { c.Add(w.Session, -1) }

// Add counts n more parked commands of a session; "" for none.
func (c *Count) Add(session string, n int) {
	c.total += n
	if session == "" {
		return
	}
	if c.bySession == nil {
		c.bySession = map[string]int{}
	}
	if c.bySession[session] += n; c.bySession[session] == 0 {
		delete(c.bySession, session)
	}
}

func room(lot Lot, inst *Instance, session string, limits *Limits) Room {
	switch {
	case len(inst.parked) >= limits.ParkedPerStream:
		return RoomStreamFull
	case session != "" && lot.OfSession(session) >= limits.ParkedPerSession:
		return RoomSessionFull
	case lot.Total() >= limits.Parked:
		return RoomServerFull
	}
	return RoomFree
}
