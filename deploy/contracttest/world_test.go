package contracttest_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/projections/catalog"
	"github.com/ticketed/doorman/projections/runner"
)

// world is a doorman in memory, as simple as can be: one command a round, judged by the real rules and
// types while its sender waits. It is a bus, a worker and a store's reading half at once.
type world struct {
	types   *aggregate.Registry
	observe func(store.Range, *aggregate.Result)
	began   time.Time

	mu      sync.Mutex
	streams map[commands.Stream]*aggregate.Instance
	facts   map[commands.ID]aggregate.Fact
	parked  map[commands.ID]*aggregate.Waiting
	log     []*commands.Outcome
	lot     aggregate.Count
}

var _ store.Reader = (*world)(nil)

func newWorld(types *aggregate.Registry) *world {
	return &world{
		types: types, began: time.Now(), streams: map[commands.Stream]*aggregate.Instance{},
		facts: map[commands.ID]aggregate.Fact{}, parked: map[commands.ID]*aggregate.Waiting{},
	}
}

func (w *world) clock(commands.Stream) time.Duration { return time.Since(w.began) }

// Fact is aggregate.Facts'.
func (w *world) Fact(id commands.ID) (aggregate.Fact, bool) { return w.facts[id], true }

// Learn is aggregate.Facts'.
func (w *world) Learn(id commands.ID, fact aggregate.Fact) { w.facts[id] = fact }

func (w *world) send(env *commands.Envelope, done func(error)) {
	own := env.Clone()
	w.judge(own.Stream, func(round *aggregate.Round, inst *aggregate.Instance) { round.Take(inst, &own) })
	done(nil)
}

func (w *world) sendAll(envs []*commands.Envelope, done func(int, error)) {
	for i, env := range envs {
		w.send(env, func(err error) { done(i, err) })
	}
}

// judge lets a round do something to a stream, and commits what comes of it.
func (w *world) judge(stream commands.Stream, do func(*aggregate.Round, *aggregate.Instance)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	inst := w.streams[stream]
	if inst == nil {
		t, _ := w.types.Type(stream.Type)
		inst = aggregate.NewInstance(t, stream)
		w.streams[stream] = inst
	}
	limits := aggregate.DefaultLimits
	round := &aggregate.Round{Now: time.Now().UTC().Truncate(time.Microsecond), Limits: &limits, Facts: w, Lot: &w.lot, Clock: w.clock}
	do(round, inst)
	round.Finish()
	for _, p := range round.Result.Park {
		w.facts[p.ID] = aggregate.Fact{Standing: aggregate.Parked, Stream: p.Stream, Hash: p.Hash}
		w.parked[p.ID] = p
	}
	for _, p := range round.Result.Extend {
		w.parked[p.ID] = p
	}
	covered := store.Range{First: uint64(len(w.log)) + 1}
	for _, o := range round.Result.Outcomes {
		delete(w.parked, o.ID)
		w.log = append(w.log, o)
		o.Position = uint64(len(w.log))
		if o.Landed() {
			inst.Head.Position = o.Position
		}
	}
	covered.Last = uint64(len(w.log))
	w.observe(covered, &round.Result)
}

// sweep expires what has waited long enough, until the context ends.
func (w *world) sweep(ctx context.Context) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, p := range w.due() {
			w.judge(p.Stream, func(round *aggregate.Round, inst *aggregate.Instance) { round.Expire(inst, p.ID) })
		}
	}
}

func (w *world) due() []*aggregate.Waiting {
	w.mu.Lock()
	defer w.mu.Unlock()
	var due []*aggregate.Waiting
	for _, p := range w.parked {
		if p.Deadline <= w.clock(p.Stream) {
			due = append(due, p)
		}
	}
	return due
}

func (w *world) rejectParked(_ context.Context, id commands.ID) error {
	w.mu.Lock()
	p := w.parked[id]
	w.mu.Unlock()
	if p == nil {
		return fmt.Errorf("%s is not parked", id)
	}
	w.judge(p.Stream, func(round *aggregate.Round, inst *aggregate.Instance) {
		round.RejectParked(inst, id, "taken off by op: a test")
	})
	return nil
}

// Head is store.Reader's.
func (w *world) Head(_ context.Context, stream commands.Stream) (*store.Record, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	inst := w.streams[stream]
	if inst == nil {
		return nil, false, nil
	}
	return &store.Record{Stream: stream, Head: inst.Head, State: inst.State(), StateVersion: inst.Head.Version}, inst.Head.Action != commands.None, nil
}

// StateBefore is store.Reader's: every 64th version is kept.
func (w *world) StateBefore(ctx context.Context, stream commands.Stream, version uint64) (store.Snapshot, error) {
	kept := version / 64 * 64
	if kept == 0 {
		return store.Snapshot{}, nil
	}
	changes, err := w.Changes(ctx, stream, 0, int(kept))
	if err != nil {
		return store.Snapshot{}, err
	}
	var events []commands.Event
	for i := range changes {
		events = append(events, changes[i].Event)
	}
	t, _ := w.types.Type(stream.Type)
	state, err := aggregate.Fold(t, nil, events, nil)
	return store.Snapshot{Version: kept, State: state}, err
}

// Changes is store.Reader's.
func (w *world) Changes(_ context.Context, stream commands.Stream, after uint64, limit int) ([]store.Change, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var version uint64
	if inst := w.streams[stream]; inst != nil {
		version = inst.Head.Version
	}
	if after > version {
		return nil, store.ErrNotKept
	}
	var all []store.Change
	for _, o := range w.log {
		if o.Stream != stream {
			continue
		}
		for i, event := range o.Events {
			version := o.FirstVersion() + uint64(i)
			if version > after && len(all) < limit {
				all = append(all, store.Change{
					Version: version, Position: o.Position, Event: event, Command: o.ID, Type: o.Type,
					Actor: o.Actor, ByAny: o.Policy == commands.PolicyAny, At: o.At,
				})
			}
		}
	}
	return all, nil
}

// Status is store.Reader's.
func (w *world) Status(_ context.Context, ids []commands.ID) ([]store.CommandStatus, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]store.CommandStatus, len(ids))
	for i, id := range ids {
		all[i].ID = id
		for _, o := range w.log {
			if o.ID == id {
				all[i].Outcome = o
			}
		}
		if p := w.parked[id]; p != nil {
			all[i].Waiting, all[i].Until = p, p.Until
		}
	}
	return all, nil
}

// WaitingOf is store.Reader's.
func (w *world) WaitingOf(_ context.Context, sessions []string, limit int) ([]store.CommandStatus, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []store.CommandStatus
	for id, p := range w.parked {
		if p.Session != "" && slices.Contains(sessions, p.Session) {
			all = append(all, store.CommandStatus{ID: id, Waiting: p, Until: p.Until})
		}
	}
	slices.SortFunc(all, func(a, b store.CommandStatus) int { return a.Waiting.ParkedAt.Compare(b.Waiting.ParkedAt) })
	return all[:min(limit, len(all))], nil
}

// Lookup is store.Reader's.
func (w *world) Lookup(_ context.Context, ids []commands.ID) ([]aggregate.Fact, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]aggregate.Fact, len(ids))
	for i, id := range ids {
		all[i] = w.facts[id]
	}
	return all, nil
}

// Log is store.Reader's.
func (w *world) Log(_ context.Context, after uint64, limit int) ([]*commands.Outcome, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if after > uint64(len(w.log)) {
		return nil, store.ErrNotKept
	}
	rest := w.log[after:]
	return slices.Clone(rest[:min(limit, len(rest))]), nil
}

// End is store.Reader's.
func (w *world) End(context.Context) (uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return uint64(len(w.log)), nil
}

// ParkedList is store.Reader's; it is not asked for here.
func (w *world) ParkedList(context.Context, store.ParkedQuery) ([]store.ParkedEntry, error) {
	return nil, nil
}

// epoch is that of every world.
const epoch = "test"

// Page is query.Catalog's: there is no lag here.
func (w *world) Page(_ context.Context, ask catalog.Ask) (*catalog.Page, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	page := &catalog.Page{At: runner.Checkpoint{Epoch: epoch, Position: uint64(len(w.log))}}
	for _, row := range slices.Backward(catalog.Fold(w.log)) {
		if (ask.Type == "" || ask.Type == row.Stream.Type) && row.Position < ask.Newest() {
			page.Rows = append(page.Rows, row)
		}
	}
	if page.More = len(page.Rows) > ask.Limit; page.More {
		page.Rows = page.Rows[:ask.Limit]
	}
	return page, nil
}
