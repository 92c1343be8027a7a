package worker

import (
	"slices"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// sitting is one round of judging on its way to being committed.
type sitting struct {
	number   uint64
	round    aggregate.Round
	items    []item     // judged in it, in order
	touched  []*held    // streams it may have changed
	frames   []*arrival // of which the last command was judged in it
	broken   []*arrival // that could not be read
	poisoned []poisoned // orders that cannot be carried out
	journal  []parkedBefore
	clocks   bool // it is there to save the clocks of lanes on which something waits
	alone    bool // nothing else is judged until it is committed
	judging  time.Duration
	launched time.Time // when its commit began
}

// parkedBefore is what the index of parked commands said of an id before the sitting changed it.
type parkedBefore struct {
	id    commands.ID
	entry *deadline // nil: it was not parked
}

func (s *sitting) empty() bool {
	return len(s.items) == 0 && len(s.round.Result.Outcomes) == 0 && len(s.broken) == 0 && !s.clocks
}

// touch marks a stream as changed in this sitting.
func (s *sitting) touch(h *held) {
	if h.sitting != s.number {
		h.sitting = s.number
		s.touched = append(s.touched, h)
	}
}

// judged notes that a command has been judged in this sitting.
func (s *sitting) judged(it item, lanes map[int]*lane) {
	s.items = append(s.items, it)
	if it.from.left--; it.from.left == 0 {
		s.frames = append(s.frames, it.from)
		lanes[it.from.lane].unread--
	}
}

// batch is the closed sitting as one transaction; nil when there is nothing to write.
func (s *sitting) batch(lanes map[int]*lane) *store.Batch {
	r := &s.round.Result
	b := &store.Batch{Outcomes: r.Outcomes, Park: r.Park, Extend: r.Extend, Unpark: r.Unpark,
		Heads: make([]*store.HeadChange, 0, len(s.touched))}
	touched := make(map[*lane]bool, len(lanes))
	for _, h := range s.touched {
		touched[h.lane] = true
		if h.Head.Action != h.stored.Action {
			b.Heads = append(b.Heads, h.change())
		}
	}
	for _, failure := range r.Failures {
		b.Dead = append(b.Dead, store.DeadLetter{At: s.round.Now, Envelope: failure.Envelope,
			Reason: commands.Failed, Cause: failure.Cause})
	}
	for i := range s.poisoned {
		touched[lanes[s.poisoned[i].lane]] = true
		b.Dead = append(b.Dead, s.poisoned[i].letter(s))
	}
	for _, a := range s.broken {
		touched[lanes[a.lane]] = true
		b.Dead = append(b.Dead, store.DeadLetter{At: s.round.Now, Reason: commands.Malformed, Cause: a.broken.Error(),
			Envelope: &commands.Envelope{Command: commands.Command{Data: a.message.Payload}}})
	}
	for i := range r.Answers {
		if a := &r.Answers[i]; a.ReplyTo != "" {
			b.Asks = append(b.Asks, store.Ask{Stream: a.Stream, ID: a.ID, ReplyTo: a.ReplyTo, CorrelationID: a.CorrelationID,
				Conflict: a.Ruling == aggregate.Conflict})
		}
	}
	if !s.clocks && len(b.Outcomes)+len(b.Park)+len(b.Dead)+len(b.Asks) == 0 {
		return nil
	}
	for _, l := range lanes {
		if touched[l] || s.clocks && l.parked > 0 {
			l.saved = l.claim.Worked
			b.Claims = append(b.Claims, l.claim)
		}
	}
	slices.SortFunc(b.Claims, func(x, y store.Claim) int { return x.Lane - y.Lane })
	return b
}

// change is what the store must know of the stream's new head. Its state is stored once in a while, readers fold the
// events since: a small one every 8 versions, which spares Postgres a quarter of a commit's time, a large one less
// often, so that a patch of a large document costs its own size, not the document's. The first is stored at once, as
// the stream's row is written anyway. For reads as of a version a state is kept at least every 64 versions of a small
// state, and less often the larger it is.
func (h *held) change() *store.HeadChange {
	const small, medium = 2 << 10, 64 << 10
	state := h.State()
	write, keep := uint64(8), uint64(64)
	switch {
	case len(state) > medium:
		write, keep = 64, 1024
	case len(state) > small:
		write, keep = 16, 256
	}
	before, after := h.stored.Version, h.Head.Version
	c := &store.HeadChange{Stream: h.Stream, Head: h.Head, Handle: h.handle}
	c.Snapshot = before/keep != after/keep
	if c.Snapshot || before/write != after/write || before == 0 {
		c.State, c.StateVersion = state, after
	}
	h.stored = h.Head
	return c
}
