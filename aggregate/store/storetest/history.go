package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

var historyTests = []test{
	{"whatever is committed in whatever order, a store tells what plain lists would", func(t testing.TB, d *data) {
		runs := 0
		rapid.Check(t, func(r *rapid.T) {
			runs++
			h := newHistory(r, d, runs)
			r.Repeat(map[string]func(*rapid.T){
				"land": h.land, "land again": h.land, "reject": h.reject, "park": h.park, "settle": h.settle,
				"extend": h.extend, "repeat": h.repeat, "commit": h.commit, "acquire": h.acquire,
				"reopen": h.reopen,
			})
			h.check(r)
		})
	}},
}

// history is a second implementation of a store, made of lists, for a few streams of their own.
type history struct {
	*author
	d       *data
	streams []commands.Stream
	start   uint64 // end of the log before it
	log     []*commands.Outcome
	parked  []*aggregate.Waiting
}

func newHistory(t *rapid.T, d *data, run int) *history {
	h := &history{author: newAuthor(t, d.store), d: d, start: end(t, d.store)}
	for i := range 4 {
		h.streams = append(h.streams, stream(fmt.Sprintf("run-%d-%d", run, i)))
	}
	return h
}

func (h *history) pick(t *rapid.T) commands.Stream {
	return rapid.SampledFrom(h.streams).Draw(t, "stream")
}

func (h *history) land(t *rapid.T) {
	h.t = t
	s, made := h.pick(t), events(rapid.IntRange(0, 3).Draw(t, "events"))
	if rapid.Bool().Draw(t, "with state") {
		h.author.land(s, made...)
		h.changes[s].Snapshot = h.changes[s].State != nil && rapid.IntRange(0, 4).Draw(t, "snapshot") == 0
		return
	}
	h.landLazily(s, made...)
	h.changes[s].Snapshot = false
}

func (h *history) reject(t *rapid.T) {
	h.t = t
	h.author.reject(h.pick(t), commands.StaleTicket)
}

func (h *history) park(t *rapid.T) {
	h.t = t
	h.author.park(h.pick(t), time.Duration(rapid.IntRange(1, 1000).Draw(t, "seconds"))*time.Second)
}

// waits picks a command that is parked and that the batch leaves alone so far.
func (h *history) waits(t *rapid.T) *aggregate.Waiting {
	free := slices.DeleteFunc(slices.Clone(h.parked), func(w *aggregate.Waiting) bool {
		return slices.Contains(h.batch.Unpark, w.ID) ||
			slices.ContainsFunc(h.batch.Extend, func(e *aggregate.Waiting) bool { return e.ID == w.ID })
	})
	if len(free) == 0 {
		return nil
	}
	return rapid.SampledFrom(free).Draw(t, "parked")
}

func (h *history) settle(t *rapid.T) {
	h.t = t
	w := h.waits(t)
	if w == nil {
		return
	}
	o := h.settled(w)
	if rapid.Bool().Draw(t, "lands") {
		o.Events = events(1)
		h.landing(o)
		return
	}
	o.Reason, o.Root, o.RootReason = commands.PredecessorMissing, o.ID, commands.PredecessorMissing
	h.rejection(o)
}

func (h *history) extend(t *rapid.T) {
	h.t = t
	if w := h.waits(t); w != nil {
		moved := *w
		moved.Deadline += time.Minute
		h.batch.Extend = append(h.batch.Extend, &moved)
	}
}

// repeat adds an id that is known to the batch, which must be refused whole.
func (h *history) repeat(t *rapid.T) {
	h.t = t
	var known []commands.ID
	for _, o := range h.log {
		known = append(known, o.ID)
	}
	for _, w := range h.parked {
		known = append(known, w.ID)
	}
	if len(known) == 0 {
		return
	}
	id := rapid.SampledFrom(known).Draw(t, "known id")
	if slices.Contains(h.batch.Unpark, id) {
		return
	}
	rapid.SampledFrom(meetings).Draw(t, "again").add(h.author, h.pick(t), id)
	_, err := h.try()
	require.ErrorIs(t, err, store.ErrIDKnown)
	h.check(t)
}

func (h *history) commit(t *rapid.T) {
	h.t = t
	batch := h.batch
	h.author.commit()
	h.log = append(h.log, batch.Outcomes...)
	h.parked = slices.DeleteFunc(h.parked, func(w *aggregate.Waiting) bool { return slices.Contains(batch.Unpark, w.ID) })
	for _, moved := range batch.Extend {
		at := slices.IndexFunc(h.parked, func(w *aggregate.Waiting) bool { return w.ID == moved.ID })
		h.parked[at] = moved
	}
	h.parked = append(h.parked, batch.Park...)
	h.check(t)
}

// forget drops the batch being composed, as a worker does that loses its lanes.
func (h *history) forget(t *rapid.T) {
	seq := h.seq
	h.author = newAuthor(t, h.d.store)
	h.seq = seq
}

func (h *history) acquire(t *rapid.T) {
	old := h.author
	h.forget(t)
	old.t = t
	old.land(h.streams[0], event("late"))
	_, err := old.try()
	require.ErrorIs(t, err, store.ErrFenced)
}

func (h *history) reopen(t *rapid.T) {
	if rapid.IntRange(0, 5).Draw(t, "reopen") == 0 {
		h.d.reopen()
		h.forget(t)
		h.check(t)
	}
}

// check compares everything a store can be asked.
func (h *history) check(t *rapid.T) {
	h.t = t
	s := h.d.store
	log, err := s.Log(context.Background(), h.start, len(h.log)+10)
	require.NoError(t, err)
	require.Len(t, log, len(h.log))
	var ids []commands.ID
	for i, o := range h.log {
		require.Equal(t, o, log[i])
		ids = append(ids, o.ID)
	}
	for i, fact := range facts(t, s, ids...) {
		requireFact(t, h.log[i], fact)
	}
	for i, status := range statuses(t, s, ids...) {
		require.Equal(t, h.log[i], status.Outcome)
	}
	for i, r := range load(t, s, h.streams...) {
		h.checkStream(t, h.streams[i], r)
	}
}

func (h *history) checkStream(t *rapid.T, name commands.Stream, r *store.Record) {
	var head aggregate.Head
	var landed []*commands.Outcome
	for _, o := range h.log {
		if o.Stream == name && o.Landed() {
			landed = append(landed, o)
			head = aggregate.Head{Version: o.Version, Action: o.ID, Position: o.Position, At: o.At, Session: o.Session}
		}
	}
	requireRecord(t, head, r)
	changes := changesOf(landed...)
	require.Equal(t, changes, changelog(t, h.d.store, name, 0, 7))
	if len(changes) > 0 {
		after := rapid.IntRange(0, len(changes)).Draw(t, "after")
		rest := changelog(t, h.d.store, name, uint64(after), 3)
		require.Len(t, rest, len(changes)-after)
		require.Equal(t, changes[after:], append([]store.Change{}, rest...))
		snap, err := h.d.store.StateBefore(context.Background(), name, uint64(after))
		require.NoError(t, err)
		require.LessOrEqual(t, snap.Version, uint64(after))
		if snap.Version > 0 {
			require.Equal(t, string(stateAt(snap.Version)), string(snap.State))
		}
	}
	var waiting []*aggregate.Waiting
	for _, w := range h.parked {
		if w.Stream == name {
			waiting = append(waiting, w)
		}
	}
	require.Equal(t, waiting, r.Waiting)
}
