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

	released bool // its predecessor has landed; it is in the instance's work queue
}

// Limits are the bounds of the parking lot and of one round.
type Limits struct {
	ParkedPerStream  int // exact
	ParkedPerSession int // approximate: counted per worker
	Parked           int // approximate: counted per worker
	Events           int // of one command
	Round            int // outcomes of one round, after which no further command is taken up
}

// DefaultLimits are those of DESIGN section 2; the last two are ours.
var DefaultLimits = Limits{ParkedPerStream: 256, ParkedPerSession: 1000, Parked: 50_000, Events: 1000, Round: 4096}

// Lot counts what is parked, for the bounds that span streams.
type Lot struct {
	total     int
	bySession map[string]int
}

// NewLot is an empty parking lot.
func NewLot() *Lot { return &Lot{bySession: map[string]int{}} }

// Total is how many commands are parked.
func (l *Lot) Total() int { return l.total }

// Add counts a command that was parked.
func (l *Lot) Add(session string) {
	l.total++
	if session != "" {
		l.bySession[session]++
	}
}

// Remove counts a parked command that was settled.
func (l *Lot) Remove(session string) {
	l.total--
	if session == "" {
		return
	}
	if l.bySession[session]--; l.bySession[session] <= 0 {
		delete(l.bySession, session)
	}
}

func (l *Lot) room(inst *Instance, session string, limits *Limits) Room {
	switch {
	case len(inst.parked) >= limits.ParkedPerStream:
		return RoomStreamFull
	case session != "" && l.bySession[session] >= limits.ParkedPerSession:
		return RoomSessionFull
	case l.total >= limits.Parked:
		return RoomServerFull
	}
	return RoomFree
}
