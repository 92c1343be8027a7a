package worker

import (
	"container/heap"
	"slices"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// parkedIndex knows of every command that waits on the worker's lanes, without its payload, and when it
// is due. It keeps a journal of what the open sitting changes, so that it can be undone.
type parkedIndex struct {
	aggregate.Count
	lanes     map[int]*lane
	laneCount int // of the store, whoever holds them
	entries   map[commands.ID]*deadline
	journal   *[]parkedBefore
}

var _ aggregate.Lot = (*parkedIndex)(nil)

func newParkedIndex(lanes map[int]*lane, laneCount int) *parkedIndex {
	return &parkedIndex{lanes: lanes, laneCount: laneCount, entries: map[commands.ID]*deadline{}}
}

// load takes in what the store has parked.
func (x *parkedIndex) load(backlog []store.Parked, now time.Time) {
	for i := range backlog {
		p := &backlog[i]
		x.set(p.ID, &deadline{id: p.ID, stream: p.Stream, session: p.Session, at: p.Deadline,
			lane: x.laneOf(p.Stream), since: now})
	}
}

func (x *parkedIndex) laneOf(stream commands.Stream) *lane { return x.lanes[stream.Lane(x.laneCount)] }

// Parked adds a command.
func (x *parkedIndex) Parked(w *aggregate.Waiting) {
	x.change(w.ID, x.entryOf(w))
}

// Moved gives a command a later deadline.
func (x *parkedIndex) Moved(w *aggregate.Waiting) {
	x.change(w.ID, x.entryOf(w))
}

// Settled removes a command.
func (x *parkedIndex) Settled(w *aggregate.Waiting) {
	x.change(w.ID, nil)
}

func (x *parkedIndex) entryOf(w *aggregate.Waiting) *deadline {
	return &deadline{id: w.ID, stream: w.Stream, session: w.Session, at: w.Deadline,
		lane: x.laneOf(w.Stream), since: w.ParkedAt}
}

func (x *parkedIndex) change(id commands.ID, entry *deadline) {
	*x.journal = append(*x.journal, parkedBefore{id: id, entry: x.entries[id]})
	x.set(id, entry)
}

// set makes the entry the true one; nil removes it.
func (x *parkedIndex) set(id commands.ID, entry *deadline) {
	if before := x.entries[id]; before != nil {
		before.lane.parked--
		x.Add(before.session, -1)
		delete(x.entries, id)
		heap.Remove(&before.lane.deadlines, before.place)
	}
	if entry == nil {
		return
	}
	x.entries[id] = entry
	entry.lane.parked++
	x.Add(entry.session, 1)
	heap.Push(&entry.lane.deadlines, entry)
}

// undo takes back what a sitting changed.
func (x *parkedIndex) undo(journal []parkedBefore) {
	for _, j := range slices.Backward(journal) {
		x.set(j.id, j.entry)
	}
}

// waits tells whether a command is parked.
func (x *parkedIndex) waits(id commands.ID) bool { return x.entries[id] != nil }

// about tells whether an order is about a command that is parked.
func (x *parkedIndex) about(order *commands.Envelope) bool {
	entry := x.entries[order.Ticket]
	return entry != nil && entry.stream == order.Stream
}

// due lists the commands of a lane that are due up to a time on its clock, the earliest first, as many as n.
func (x *parkedIndex) due(l *lane, until time.Duration, n int) []*deadline {
	var all []*deadline
	for len(l.deadlines) > 0 && len(all) < n && l.deadlines[0].at <= until {
		all = append(all, heap.Pop(&l.deadlines).(*deadline))
	}
	for _, entry := range all {
		heap.Push(&l.deadlines, entry)
	}
	return all
}

// oldest is how long the command that has waited longest has done so. Those that waited before the
// worker started are counted from its start.
func (x *parkedIndex) oldest(now time.Time) time.Duration {
	var longest time.Duration
	for _, entry := range x.entries {
		longest = max(longest, now.Sub(entry.since))
	}
	return longest
}
