package hub

import (
	"sync/atomic"

	"github.com/ticketed/doorman/commands"
)

// topic is a stream that somebody watches, and its landings that somebody is still owed. All of it is
// guarded by the hub's lock.
type topic struct {
	stream   commands.Stream
	watchers int
	each     int      // of them, those that want each landing by itself
	idle     []*watch // those that are owed nothing

	landings []*landing // the newest, oldest first
	bytes    int        // of them
	count    uint64     // of all landings since the topic was made

	merged atomic.Pointer[mergedText] // the one made last
}

// landing is one landing on a watched stream. It does not change.
type landing struct {
	outcome *commands.Outcome
	state   []byte // after it; nil before the first event
	told    bool   // the state is known
	cost    int    // bytes counted for it in the topic
	number  uint64 // the topic's count with it
	texts   [2]atomic.Pointer[[]byte]
}

// mergedText is the rendering of several landings told at once.
type mergedText struct {
	first, last uint64 // numbers
	ticket      bool   // without state and events
	text        []byte
}

// watch is one connection's interest in one stream, guarded by the hub's lock.
type watch struct {
	conn  *Conn
	topic *topic
	place int // in the topic's idle; -1 when something is owed

	after uint64 // position of the newest landing told
	seen  uint64 // the topic's count when it was told last
}

const (
	// The landings kept for those who are told of many at once: as many as have the newest 100 events.
	maxMerged = commands.MaxMissed
	// Those kept for connections that want each by itself.
	maxEach      = 4096
	maxEachBytes = 8 << 20
)

func (t *topic) add(o *commands.Outcome, state []byte, told bool) {
	t.count++
	l := &landing{outcome: o, state: state, told: told, number: t.count}
	most, bytes := maxMerged, 1<<20
	if t.each > 0 {
		most, bytes = maxEach, maxEachBytes
		l.cost = len(state)
	} else if n := len(t.landings); n > 0 && t.landings[n-1].state != nil {
		// Who is told of this one needs no earlier state.
		last := t.landings[n-1]
		t.bytes -= last.cost
		t.landings[n-1] = &landing{outcome: last.outcome, number: last.number, cost: last.events()}
		t.bytes += last.events()
	}
	l.cost += l.events()
	t.landings = append(t.landings, l)
	t.bytes += l.cost
	for len(t.landings) > 1 && (len(t.landings) > most || t.bytes > bytes) {
		t.bytes -= t.landings[0].cost
		t.landings[0] = nil
		t.landings = t.landings[1:]
	}
}

// events is about how many bytes a landing has without the state.
func (l *landing) events() int {
	bytes := 200
	for i := range l.outcome.Events {
		bytes += 60 + len(l.outcome.Events[i].Data)
	}
	return bytes
}

// size is about how many bytes it is told in.
func (l *landing) size() int { return l.events() + len(l.state) }

// newest is the landing told last of all; there is one when a watcher is owed something.
func (t *topic) newest() *landing { return t.landings[len(t.landings)-1] }

// rest lets the landings go once nobody is owed any of them.
func (t *topic) rest() {
	if len(t.idle) == t.watchers && len(t.landings) > 0 {
		t.landings, t.bytes = nil, 0
		t.merged.Store(nil)
	}
}

// settle puts a watch among those that are owed nothing.
func (t *topic) settle(w *watch) {
	w.place = len(t.idle)
	t.idle = append(t.idle, w)
}

// unsettle takes it out.
func (t *topic) unsettle(w *watch) {
	last := len(t.idle) - 1
	t.idle[w.place] = t.idle[last]
	t.idle[w.place].place = w.place
	t.idle[last] = nil
	t.idle = t.idle[:last]
	w.place = -1
}
