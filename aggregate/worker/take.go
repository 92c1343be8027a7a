package worker

import (
	"context"
	"fmt"
	"slices"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// takeAll takes the first n commands of the backlog, as many at a time as have streams that may be loaded at once,
// until the round is full or the store did not answer.
func (d *desk) takeAll(s *sitting, n int) {
	for n > 0 && !s.round.Full() && !d.stale {
		before := len(d.backlog)
		d.take(s, n)
		taken := before - len(d.backlog)
		if taken == 0 {
			return
		}
		n -= taken
	}
}

// take judges the first n commands of the backlog in order of arrival, as far as the round goes, or those whose
// streams may be loaded at once. Commands that need facts wait for one reading together, and later commands of the
// same streams wait behind them; the other streams go on.
func (d *desk) take(s *sitting, n int) {
	p := &d.pass
	p.items, p.kept, p.at = d.drop(d.backlog[:n:n]), 0, 0
	d.backlog = d.backlog[n:]
	there, ok := d.present(p.items)
	if left := p.items[there:]; len(left) > 0 {
		p.items, d.backlog = p.items[:there:there], append(slices.Clip(left), d.backlog...)
	}
	if !ok {
		d.endPass()
		return
	}
	var need []commands.ID
	if d.caution.left > 0 && d.caution.facts {
		need = idsOf(p.items)
	}
	for {
		if len(need) > 0 {
			if !d.look(need) {
				break
			}
			need = need[:0]
		}
		var full bool
		if need, full = d.goThrough(s, need); full || p.kept == 0 {
			break
		}
		for _, it := range p.items[:p.kept] {
			if h, ok := d.cache.get(it.env.Stream); ok {
				h.blocked = false
			}
		}
		p.items, p.kept, p.at = p.items[:p.kept], 0, 0
	}
	d.endPass()
}

// drop leaves out what has gone back to the bus, as when the connection was lost: it comes again, perhaps to
// another worker, and an acknowledgement of this delivery would mean nothing.
func (d *desk) drop(items []item) []item {
	left := items[:0]
	for _, it := range items {
		a := it.from
		if !a.returned && a.message.Context().Err() != nil {
			a.returned = true
			d.lanes[a.lane].unread--
		}
		if !a.returned {
			left = append(left, it)
		}
	}
	return left
}

func idsOf(items []item) []commands.ID {
	var ids []commands.ID
	for _, it := range items {
		if it.env != nil {
			ids = append(ids, it.env.ID, it.env.Ticket)
		}
	}
	return ids
}

// goThrough judges the pass's items once. It returns the ids that must be looked up before the items
// kept can be judged, and whether the round is full.
func (d *desk) goThrough(s *sitting, need []commands.ID) ([]commands.ID, bool) {
	p := &d.pass
	for p.at < len(p.items) {
		it := p.items[p.at]
		if it.env == nil {
			d.unreadable(s, it)
			p.at++
			continue
		}
		h, ok := d.cache.get(it.env.Stream)
		if it.env.Order != commands.NoOrder && (!ok || !h.blocked) {
			if d.obey(s, it) == aggregate.Deferred {
				return need, true
			}
			s.judged(it, d.lanes)
			p.at++
			continue
		}
		if !ok {
			// present loads every stream, and a sitting's streams stay; so this one's lane is not held.
			it.from.broken = fmt.Errorf("stream %s is not of lane %d", it.env.Stream, it.from.lane)
			if !slices.Contains(s.broken, it.from) {
				s.broken = append(s.broken, it.from)
			}
			s.judged(it, d.lanes)
			p.at++
			continue
		}
		if h.blocked {
			need = append(need, it.env.ID, it.env.Ticket)
			p.keep()
			continue
		}
		s.touch(h)
		switch s.round.Take(h.Instance, it.env) {
		case aggregate.Taken:
			s.judged(it, d.lanes)
			p.at++
			if h.Pending() {
				d.resume = append(d.resume, h)
			}
		case aggregate.NeedFacts:
			need = append(need, s.round.Need...)
			s.round.Need = s.round.Need[:0]
			h.blocked = true
			p.keep()
		case aggregate.Deferred:
			return need, true
		}
	}
	return need, false
}

// keep puts the item at hand with those that wait for facts.
func (p *pass) keep() {
	p.items[p.kept] = p.items[p.at]
	p.kept++
	p.at++
}

// endPass gives back to the backlog what was not judged, in order.
func (d *desk) endPass() {
	for _, it := range d.pass.rest() {
		if it.env != nil {
			if h, ok := d.cache.get(it.env.Stream); ok {
				h.blocked = false
			}
		}
	}
	if rest := d.pass.rest(); len(rest) > 0 {
		d.backlog = append(rest, d.backlog...)
	}
	d.pass = pass{}
}

// rest is what the pass has not judged.
func (p *pass) rest() []item {
	if p.kept == 0 {
		return p.items[p.at:]
	}
	return append(p.items[:p.kept:p.kept], p.items[p.at:]...)
}

// unreadable takes a frame that is no frame: it becomes a dead letter.
func (d *desk) unreadable(s *sitting, it item) {
	if it.from.broken != nil {
		s.broken = append(s.broken, it.from)
	}
	it.from.left = 1
	s.judged(it, d.lanes)
}

// present loads the streams of the items that are not in memory, and tells up to which of the items it did: only so
// many are loaded at once. It reports false when the store did not answer.
func (d *desk) present(items []item) (n int, ok bool) {
	var missing []commands.Stream
	var asked map[commands.Stream]bool
	for n < len(items) {
		it := items[n]
		if it.env == nil || it.env.Order != commands.NoOrder && !d.parked.about(it.env) {
			n++
			continue
		}
		if _, ok := d.cache.get(it.env.Stream); ok || asked[it.env.Stream] || d.parked.laneOf(it.env.Stream) == nil {
			n++
			continue
		}
		if len(missing) >= d.loads {
			break
		}
		if asked == nil {
			asked = map[commands.Stream]bool{}
		}
		stream := it.env.Stream.Clone()
		asked[stream] = true
		missing = append(missing, stream)
		n++
	}
	return n, len(missing) == 0 || d.load(missing)
}

// How many streams are loaded at once: about as many as have so many bytes.
const (
	firstLoads, fewestLoads, mostLoads = 32, 1, 4096
	loadBytes                          = 16 << 20
)

// learn sets how many streams are loaded at once by how large those were that were loaded last.
func (d *desk) learn(records []*store.Record) {
	bytes := 0
	for _, r := range records {
		bytes += len(r.State)
		for i := range r.Tail {
			bytes += len(r.Tail[i].Data)
		}
		for _, w := range r.Waiting {
			bytes += len(w.Data)
		}
	}
	switch {
	case bytes > loadBytes:
		d.loads = max(len(records)*loadBytes/bytes, fewestLoads)
	case len(records) >= d.loads && 2*bytes <= loadBytes:
		d.loads = min(2*d.loads, mostLoads)
	}
}

// load reads streams into memory. What waits on them with a settled predecessor goes on in the next
// round.
func (d *desk) load(streams []commands.Stream) bool {
	var records []*store.Record
	err := d.read(func(ctx context.Context) (err error) {
		records, err = d.w.cfg.Store.Load(ctx, streams)
		return err
	})
	if err != nil {
		d.lost("load streams", err)
		return false
	}
	var tickets []commands.ID
	for _, record := range records {
		for _, w := range record.Waiting {
			tickets = append(tickets, w.Ticket)
		}
	}
	if len(tickets) > 0 && !d.look(tickets) {
		return false
	}
	d.learn(records)
	for _, record := range records {
		d.hold(record)
	}
	return true
}

// hold makes a stored stream an instance in memory.
func (d *desk) hold(record *store.Record) {
	t, known := d.w.cfg.Types.Type(record.Stream.Type)
	if !known {
		t = missingType(record.Stream.Type)
	}
	fact := func(id commands.ID) aggregate.Fact { f, _ := d.facts.Fact(id); return f }
	var inst *aggregate.Instance
	if cause, faulty := d.faulty[record.Stream]; faulty {
		inst = aggregate.Faulty(t, record.Stream, record.Head, record.Waiting, fact, cause)
	} else {
		inst = aggregate.Restore(t, record.Stream, record.Head, record.State, record.Tail, record.Waiting, fact, d.guard)
	}
	h := &held{Instance: inst, handle: record.Handle, lane: d.parked.laneOf(record.Stream), stored: record.Head, sitting: d.done}
	if h.handle == nil {
		h.handle = &store.Handle{}
	}
	d.cache.put(h)
	if inst.Pending() {
		d.resume = append(d.resume, h)
	}
}

// look reads what is known of the ids. It reports false when the store did not answer.
func (d *desk) look(ids []commands.ID) bool {
	unknown := make([]commands.ID, 0, len(ids))
	for _, id := range ids {
		if id == commands.None || id == commands.Genesis {
			continue
		}
		if _, ok := d.facts.Fact(id); !ok {
			d.facts.looked[id] = aggregate.Fact{}
			unknown = append(unknown, id)
		}
	}
	if len(unknown) == 0 {
		return true
	}
	var found []aggregate.Fact
	err := d.read(func(ctx context.Context) (err error) {
		found, err = d.w.cfg.Store.Lookup(ctx, unknown)
		return err
	})
	if err != nil {
		d.lost("look ids up", err)
		return false
	}
	for i, id := range unknown {
		d.facts.looked[id] = found[i]
	}
	return true
}
