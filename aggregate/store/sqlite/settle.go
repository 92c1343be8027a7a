package sqlite

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/ticketed/doorman/aggregate/store/sqlite/engine"
	"github.com/ticketed/doorman/commands"
)

// defaultSettleEvery is how many outcomes lie between the beginnings of two sweeps; each is through after half as
// many. So one and a half times as many at most are read again when the file is opened after a crash (at some 5 µs
// each), and so many heads at most are held in memory. A large outcome counts as one more for every unitBytes.
const (
	defaultSettleEvery = 16 << 10
	unitBytes          = 4 << 10
)

// unitsOf is as how many outcomes one counts.
func unitsOf(o *commands.Outcome) uint64 {
	size := 0
	for i := range o.Events {
		size += len(o.Events[i].Data)
	}
	return 1 + uint64(size)/unitBytes
}

// mostHeld is the size up to which a state is held in memory until its row's turn in a sweep comes, in bytes. With
// a larger one the row is written at once: it takes pages of its own anyway, and so many heads with large states
// would fill the memory.
const mostHeld = 2 << 10

// settling brings the rows of streams up to date. A commit writes its outcomes to the log and leaves the rows
// of the streams that it touched as they are, unless their states are large: with thousands of streams in use, a
// batch would dirty a page for nearly every command. From time to time a sweep begins, over all streams whose rows
// lag behind then, in the order of their rows, so that neighbors are written together; every commit takes its share
// of it along. A stream that took a hundred landings meanwhile is written once. When the sweep is through, the log
// up to where it began need not be read again after a crash, and meta.settled says so.
type settling struct {
	every   uint64 // outcomes between the beginnings of two sweeps
	settled uint64 // as in meta: every row reflects the log up to here at least
	numbers int64  // the highest number of a row

	from    uint64 // where the sweep under way began
	age     uint64 // outcomes since then
	streams []*stream
	next    int // of streams

	// Of the commit under way:
	rows    []row  // what it writes, those of the sweep first
	swept   int    // how many are of the sweep
	reached uint64 // what it makes settled
}

// row is a stream whose row is written, and the head it has with that.
type row struct {
	stream *stream
	head   head
	staged *staged // where the commit under way changes it
	isNew  bool
}

// choose decides which rows a commit writes that appends these outcomes.
func (p *settling) choose(v *view, batch *staging, outcomes []*commands.Outcome) {
	units := uint64(0)
	for _, o := range outcomes {
		units += unitsOf(o)
	}
	if p.age += units; p.next == len(p.streams) && p.age >= p.every {
		p.begin(v)
		p.age = units
	}
	p.sweep(batch, p.age)
	for i := range batch.staged {
		g := &batch.staged[i]
		// A snapshot belongs to a row, by its number.
		if !g.chosen && (len(g.head.state) > mostHeld || g.keepsSnapshot() && g.head.number == 0) {
			p.rows = append(p.rows, row{stream: g.stream, head: g.head, staged: g})
		}
	}
}

// begin begins a sweep: over the streams whose rows lag behind, those without a row last.
func (p *settling) begin(v *view) {
	p.from, p.next = v.end, 0
	p.streams = slices.AppendSeq(p.streams[:0], maps.Values(v.unsettled))
	slices.SortFunc(p.streams, func(a, b *stream) int {
		if (a.head.number == 0) != (b.head.number == 0) {
			return cmp.Compare(b.head.number, a.head.number)
		}
		if a.head.number != b.head.number {
			return cmp.Compare(a.head.number, b.head.number)
		}
		return cmp.Or(strings.Compare(a.name.Type, b.name.Type), strings.Compare(a.name.ID, b.name.ID))
	})
}

// sweep chooses the share of the sweep that is due at an age.
func (p *settling) sweep(batch *staging, age uint64) {
	p.rows, p.swept, p.reached = p.rows[:0], 0, p.settled
	all := uint64(len(p.streams))
	due := min(all, 2*all*age/p.every+1)
	for at := p.next; at < int(due); at++ {
		s := p.streams[at]
		p.swept++
		if !s.unsettled {
			continue // its row was written for another reason
		}
		r := row{stream: s, head: *s.head}
		if g := batch.of(s.name); g != nil {
			r.head, r.staged, g.chosen = g.head, g, true
		}
		p.rows = append(p.rows, r)
	}
	if p.next+p.swept == len(p.streams) {
		p.reached = p.from
	}
}

// write writes the chosen rows inside a transaction.
func (p *settling) write(w *writer) error {
	number := p.numbers
	for i := range p.rows {
		r := &p.rows[i]
		if r.isNew = r.head.number == 0; r.isNew {
			number++
			r.head.number = number
		}
		if err := w.settle(r); err != nil {
			return failed("settle "+streamName(r.stream.name), err)
		}
		if r.staged != nil {
			r.staged.head.number = r.head.number
		}
		r.head.sealed, r.head.state, r.head.stateVersion = nil, nil, 0
	}
	if p.reached == p.settled {
		return nil
	}
	return failed("save how far streams are settled", w.set(metaSettled, int64(p.reached)))
}

// settle writes one row and the full pages of its stream.
func (w *writer) settle(r *row) error {
	h := &r.head
	for _, page := range h.sealed {
		w.insertPage.BindInt(1, h.number)
		w.insertPage.BindInt(2, int64(page.first))
		w.insertPage.BindBlob(3, page.landings)
		if err := w.insertPage.Run(); err != nil {
			return err
		}
	}
	s := w.updateHead
	if h.state != nil {
		s = w.updateHeadAndState
	}
	if r.isNew {
		s = w.insertStream
	}
	bindHead(s, h)
	switch {
	case r.isNew:
		s.BindBlob(8, h.state)
		s.BindInt(9, int64(h.stateVersion))
		s.BindText(10, streamName(r.stream.name))
		s.BindInt(11, h.number)
	case h.state != nil:
		s.BindBlob(8, h.state)
		s.BindInt(9, int64(h.stateVersion))
		s.BindInt(10, h.number)
	default:
		s.BindInt(8, h.number)
	}
	return s.Run()
}

func bindHead(s *engine.Stmt, h *head) {
	s.BindInt(1, int64(h.Version))
	bindID(s, 2, &h.Action)
	s.BindInt(3, int64(h.Position))
	s.BindInt(4, h.At.UnixMicro())
	s.BindText(5, h.Session)
	s.BindInt(6, bit(h.ByAny))
	s.BindBlob(7, h.tail.bytes())
}

// committed takes over what was written, which is durable now. The view is locked for writing.
func (p *settling) committed(v *view) {
	for i := range p.rows {
		r := &p.rows[i]
		settled := r.head
		r.stream.head, r.stream.unsettled = &settled, false
		delete(v.unsettled, r.stream.name)
		if r.isNew {
			p.numbers = r.head.number
		}
	}
	p.next += p.swept
	p.settled = p.reached
	if p.next == len(p.streams) {
		clear(p.streams) // what they hold may be let go now
		p.streams, p.next = p.streams[:0], 0
	}
	clear(p.rows)
}
