package hub

import (
	"slices"
	"sync"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// Conn is one connection that watches. All but its own goroutine's part is guarded by the hub's lock.
type Conn struct {
	hub      *Hub
	sink     Sink
	deliver  Deliver
	watches  []watch
	sessions []string

	phase   phase
	dirty   []*watch   // owed something
	private []*private // owed of the sessions' commands, in order
	// privateAfter: outcomes of the sessions up to here have been told, or are not owed.
	privateAfter uint64
	settled      map[commands.ID]bool // of those, the ones that the feed may still tell to be parked
	marked       uint64               // the mark told last
	heavy        bool                 // some of what it is owed must be asked for
	beat         bool                 // owed a sign of life
	slow         bool                 // it was owed too much
	slot, place  int                  // among the beats

	// ahead are commands whose outcomes were told before they were noted. It is used by who serves the connection.
	ahead   map[commands.ID]bool
	wants   []commands.Stream // what the hub's Interest was told, with the sessions; nil: nothing
	closing sync.Once
}

// phase is where a connection stands: one goroutine at most has it in hand.
type phase uint8

const (
	opening phase = iota // in the hands of who opens it
	idle                 // owed nothing
	queued               // owed something, no one's
	serving              // in the hands of a pump, or waiting for its reader
	ended
)

// private is something that only a session is told: one of the three.
type private struct {
	position uint64
	outcome  *commands.Outcome
	waiting  *commands.ParkedView
	answer   *aggregate.Answer
}

// Close ends the connection; nothing is told any more. It is safe at any time, and twice.
func (c *Conn) Close() { c.end("") }

// end takes a connection out of the hub; why is empty when its reader has gone.
func (c *Conn) end(why string) {
	c.closing.Do(func() {
		h := c.hub
		h.mu.Lock()
		c.phase = ended
		h.forget(c)
		wants := c.wants
		h.mu.Unlock()
		if wants != nil {
			h.config.Interest.Unwatch(wants, c.sessions)
		}
		c.sink.Close(why)
		if why != "" {
			h.config.Metrics.Disconnected(why)
		}
	})
}

// want has the feed hand on what concerns the connection.
func (o *opened) want() {
	interest := o.hub.config.Interest
	if interest == nil {
		return
	}
	wants := make([]commands.Stream, len(o.watched))
	for i, w := range o.watched {
		wants[i] = w.Stream
	}
	interest.Watch(wants, o.sessions)
	o.hub.mu.Lock()
	over := o.phase == ended
	if !over {
		o.wants = wants // from now on whoever ends the connection takes it back
	}
	o.hub.mu.Unlock()
	if over {
		interest.Unwatch(wants, o.sessions)
	}
}

// enlist makes a connection known: from now on it is noted what it is owed.
func (h *Hub) enlist(c *Conn, watches []Watch) {
	h.conns[c] = struct{}{}
	c.slot = len(h.conns) % beatSlots
	c.place = len(h.beats[c.slot])
	h.beats[c.slot] = append(h.beats[c.slot], c)
	for _, s := range c.sessions {
		h.sessions[s] = append(h.sessions[s], c)
	}
	c.watches = make([]watch, len(watches))
	for i := range watches {
		w := &c.watches[i]
		t := h.topics[watches[i].Stream]
		if t == nil {
			t = &topic{stream: watches[i].Stream.Clone()}
			h.topics[t.stream] = t
		}
		*w = watch{conn: c, topic: t, after: h.end, seen: t.count}
		t.watchers++
		if c.deliver == DeliverEvents {
			t.each++
		}
		t.settle(w)
	}
	c.privateAfter = h.end
}

// forget takes a connection out of everything.
func (h *Hub) forget(c *Conn) {
	if _, known := h.conns[c]; !known {
		return
	}
	delete(h.conns, c)
	beats := h.beats[c.slot]
	last := beats[len(beats)-1]
	beats[c.place], last.place = last, c.place
	beats[len(beats)-1] = nil
	h.beats[c.slot] = beats[:len(beats)-1]
	for _, s := range c.sessions {
		others := slices.DeleteFunc(h.sessions[s], func(other *Conn) bool { return other == c })
		if h.sessions[s] = others; len(others) == 0 {
			delete(h.sessions, s)
		}
	}
	for i := range c.watches {
		h.drop(&c.watches[i])
	}
	c.watches, c.dirty, c.private = nil, nil, nil
}

// drop ends one watch; it may have ended already.
func (h *Hub) drop(w *watch) {
	t := w.topic
	if t == nil {
		return
	}
	w.topic = nil
	if w.place >= 0 {
		t.unsettle(w)
	}
	if w.conn.deliver == DeliverEvents {
		t.each--
	}
	if t.watchers--; t.watchers == 0 {
		delete(h.topics, t.stream)
		return
	}
	t.rest()
}
