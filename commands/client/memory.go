package client

import (
	"slices"

	"github.com/ticketed/doorman/commands"
)

// memory is what a follower knows of what it has been told: enough to ask for the rest, and to notice what
// is told again (DESIGN section 3: states that are not newer, by position; own outcomes by command id).
type memory struct {
	streams  []WatchedStream
	sessions []string
	deliver  Deliver
	after    commands.Position // to go on from while there is no mark
	mark     commands.Position

	told    map[commands.Stream]commands.Position // of the streams' newest landing told
	refused map[commands.Stream]commands.Reason
	settled recent
}

func newMemory(watch Watch) *memory {
	m := &memory{streams: slices.Clone(watch.Streams), sessions: watch.Sessions, deliver: watch.Deliver, after: watch.After}
	if m.deliver == "" {
		m.deliver = DeliverState
	}
	m.forget()
	return m
}

func (m *memory) forget() {
	m.told = make(map[commands.Stream]commands.Position, len(m.streams))
	m.refused = map[commands.Stream]commands.Reason{}
	m.settled = recent{}
}

// wanted is the body of POST /v1/notifications.
type wanted struct {
	Streams  []string `json:"streams"`
	Sessions []string `json:"sessions,omitempty"`
	Deliver  string   `json:"deliver"`
	After    string   `json:"after,omitempty"`
}

// want is what to ask for now. Once there is a mark all goes on from it: a version alone would pass over
// landings without events.
func (m *memory) want() wanted {
	w := wanted{Streams: make([]string, len(m.streams)), Sessions: m.sessions, Deliver: string(m.deliver)}
	after, resumed := m.mark, m.mark != commands.Position{}
	if !resumed {
		after = m.opening()
	}
	for i, s := range m.streams {
		_, refused := m.refused[s.Stream]
		_, told := m.told[s.Stream]
		switch {
		case refused && s.Since == SinceMark: // nothing was told of it up to the mark
			s.Since = SinceSnapshot
		case refused:
		case resumed, told && m.deliver == DeliverEvents:
			s.Since = SinceMark
		case s.Since == SinceMark && m.after == commands.Position{} && after != m.after:
			s.Since = SinceSnapshot // what was not told yet is not to begin where the others go on
		}
		w.Streams[i] = s.String()
	}
	if after != (commands.Position{}) {
		w.After = after.String()
	}
	return w
}

// opening is where to go on before the first mark. States are asked for as in the beginning, since the
// newest is all that matters. For each landing to be told by itself, the streams that have been told go on
// from the oldest of what was told of them.
func (m *memory) opening() commands.Position {
	after := m.after
	if m.deliver != DeliverEvents {
		return after
	}
	for _, at := range m.told {
		if after == (commands.Position{}) || at.Epoch == after.Epoch && at.N < after.N {
			after = at
		}
	}
	return after
}

// take notes a push, and tells whether it is new to the caller.
func (m *memory) take(p *Push) bool {
	switch {
	case p.State != nil:
		return m.takeState(p.State)
	case p.Landed != nil:
		return m.settled.add(p.Landed.ID)
	case p.Rejected != nil:
		return m.settled.add(p.Rejected.ID)
	case p.Parked != nil: // an outcome is the last word
		return !m.settled.has(p.Parked.ID)
	case p.Reset != nil:
		m.reset()
	case p.Refused != nil && p.Refused.ID == commands.None:
		stream, code := p.Refused.Stream, p.Refused.Code
		again := m.refused[stream] == code
		if m.watches(stream) {
			m.refused[stream] = code
		}
		return !again
	}
	return true
}

func (m *memory) takeState(v *commands.PushView) bool {
	last, known := m.told[v.Stream]
	if known && (v.Position.N <= last.N && v.Position.Epoch == last.Epoch || v.Position == commands.Position{}) {
		return false
	}
	if known || m.watches(v.Stream) {
		m.told[v.Stream] = v.Position
	}
	delete(m.refused, v.Stream)
	return true
}

func (m *memory) watches(stream commands.Stream) bool {
	return slices.ContainsFunc(m.streams, func(w WatchedStream) bool { return w.Stream == stream })
}

// reset: neither positions nor versions of before mean anything from here on.
func (m *memory) reset() {
	m.after, m.mark = commands.Position{}, commands.Position{}
	for i := range m.streams {
		m.streams[i].Since = SinceSnapshot
	}
	m.forget()
}

// moveTo takes a mark, and tells whether it is another one.
func (m *memory) moveTo(text string) bool {
	at, err := commands.ParsePosition(text)
	if err != nil || at == m.mark {
		return false
	}
	m.mark = at
	return true
}

// recent remembers the ids added last.
type recent struct {
	ids  []commands.ID // a ring once it is full
	next int
	set  map[commands.ID]struct{}
}

// mostRecent is more than a server tells again: that is what came after the last mark.
const mostRecent = 1 << 16

func (r *recent) has(id commands.ID) bool {
	_, known := r.set[id]
	return known
}

// add tells whether the id is new.
func (r *recent) add(id commands.ID) bool {
	if r.has(id) {
		return false
	}
	if r.set == nil {
		r.set = map[commands.ID]struct{}{}
	}
	r.set[id] = struct{}{}
	if len(r.ids) < mostRecent {
		r.ids = append(r.ids, id)
		return true
	}
	delete(r.set, r.ids[r.next])
	r.ids[r.next] = id
	r.next = (r.next + 1) % mostRecent
	return true
}
