package worker_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// memory is a deliberately simple store that can be told to misbehave. It keeps the contract as far as
// a worker sees it; the real backends are judged by the conformance suite.
type memory struct {
	store.Store // what a worker does not call

	mu      sync.Mutex
	lanes   int
	epochs  map[int]uint64
	worked  map[int]time.Duration
	log     []*commands.Outcome
	known   map[commands.ID]aggregate.Fact
	streams map[commands.Stream]*store.Record
	parked  []*aggregate.Waiting
	dead    []store.DeadLetter
	asks    []store.Ask
	commits int
	lookups int

	// before, when set, may answer a commit instead of the store; applied says to store it first.
	before func(*store.Batch) (err error, applied bool)
	// reading, when set, may fail Acquire, Load, Lookup and Backlog.
	reading func() error
}

var _ store.Store = (*memory)(nil)

func newMemory(lanes int) *memory {
	return &memory{lanes: lanes, epochs: map[int]uint64{}, worked: map[int]time.Duration{},
		known: map[commands.ID]aggregate.Fact{}, streams: map[commands.Stream]*store.Record{}}
}

func (m *memory) Identity() store.Identity   { return store.Identity{Epoch: "test", Lanes: m.lanes} }
func (m *memory) Ping(context.Context) error { return nil }
func (m *memory) Close() error               { return nil }

func (m *memory) readable() error {
	if m.reading != nil {
		return m.reading()
	}
	return nil
}

func (m *memory) Acquire(_ context.Context, lanes []int, _ string) ([]store.Claim, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.readable(); err != nil {
		return nil, err
	}
	var claims []store.Claim
	for _, lane := range lanes {
		m.epochs[lane]++
		claims = append(claims, store.Claim{Lane: lane, Epoch: m.epochs[lane], Worked: m.worked[lane]})
	}
	return claims, nil
}

func (m *memory) SaveRelayed(context.Context, []store.Claim) error { return nil }

func (m *memory) Backlog(_ context.Context, lanes []int) ([]store.Parked, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.readable(); err != nil {
		return nil, err
	}
	var all []store.Parked
	for _, w := range m.parked {
		if slices.Contains(lanes, w.Stream.Lane(m.lanes)) {
			all = append(all, store.Parked{ID: w.ID, Stream: w.Stream, Session: w.Session, Deadline: w.Deadline})
		}
	}
	return all, nil
}

func (m *memory) Load(_ context.Context, streams []commands.Stream) ([]*store.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.readable(); err != nil {
		return nil, err
	}
	var all []*store.Record
	for _, stream := range streams {
		record := &store.Record{Stream: stream}
		if known := m.streams[stream]; known != nil {
			*record = *known
		}
		record.Waiting = nil
		for _, w := range m.parked {
			if w.Stream == stream {
				waiting := *w
				record.Waiting = append(record.Waiting, &waiting)
			}
		}
		all = append(all, record)
	}
	return all, nil
}

func (m *memory) Lookup(_ context.Context, ids []commands.ID) ([]aggregate.Fact, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.readable(); err != nil {
		return nil, err
	}
	m.lookups++
	all := make([]aggregate.Fact, len(ids))
	for i, id := range ids {
		all[i] = m.known[id]
	}
	return all, nil
}

func (m *memory) Commit(_ context.Context, b *store.Batch) (store.Range, error) {
	if m.before != nil {
		if err, applied := m.before(b); err != nil {
			if applied {
				if _, problem := m.commit(b); problem != nil {
					return store.Range{}, problem
				}
			}
			return store.Range{}, err
		}
	}
	return m.commit(b)
}

func (m *memory) commit(b *store.Batch) (store.Range, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(b.Claims) == 0 {
		return store.Range{}, fmt.Errorf("a batch without claims")
	}
	for _, claim := range b.Claims {
		if m.epochs[claim.Lane] != claim.Epoch {
			return store.Range{}, store.ErrFenced
		}
	}
	if err := m.check(b); err != nil {
		return store.Range{}, err
	}
	m.commits++
	for _, claim := range b.Claims {
		m.worked[claim.Lane] = claim.Worked
	}
	first := uint64(len(m.log) + 1)
	for _, o := range b.Outcomes {
		m.log = append(m.log, o)
		o.Position = uint64(len(m.log))
		m.known[o.ID] = factOf(o)
		record := m.streams[o.Stream]
		if record == nil {
			record = &store.Record{Stream: o.Stream}
			m.streams[o.Stream] = record
		}
		if o.Landed() {
			record.Tail = append(slices.Clone(record.Tail), o.Events...)
		}
	}
	for _, h := range b.Heads {
		record := m.streams[h.Stream]
		record.Head = h.Head
		if h.State != nil {
			record.State, record.StateVersion, record.Tail = h.State, h.StateVersion, nil
		}
	}
	m.parked = slices.DeleteFunc(m.parked, func(w *aggregate.Waiting) bool { return slices.Contains(b.Unpark, w.ID) })
	for _, w := range b.Extend {
		for _, parked := range m.parked {
			if parked.ID == w.ID {
				parked.Deadline = w.Deadline
			}
		}
	}
	for _, w := range b.Park {
		waiting := *w
		m.parked = append(m.parked, &waiting)
		m.known[w.ID] = aggregate.Fact{Standing: aggregate.Parked, Stream: w.Stream, Hash: w.Hash}
	}
	m.dead = append(m.dead, b.Dead...)
	m.asks = append(m.asks, b.Asks...)
	return store.Range{First: first, Last: uint64(len(m.log))}, nil
}

// check refuses an id that is known already.
func (m *memory) check(b *store.Batch) error {
	fresh := map[commands.ID]bool{}
	claim := func(id commands.ID, waits bool) error {
		fact := m.known[id]
		if fresh[id] || fact.Standing != aggregate.Unheard && !(waits && fact.Standing == aggregate.Parked) {
			return fmt.Errorf("%w: %s", store.ErrIDKnown, id)
		}
		fresh[id] = true
		return nil
	}
	for _, o := range b.Outcomes {
		if err := claim(o.ID, slices.Contains(b.Unpark, o.ID)); err != nil {
			return err
		}
	}
	for _, w := range b.Park {
		if err := claim(w.ID, false); err != nil {
			return err
		}
	}
	return nil
}

func factOf(o *commands.Outcome) aggregate.Fact {
	if o.Landed() {
		return aggregate.Fact{Standing: aggregate.Landed, Stream: o.Stream, Hash: o.Hash, Version: o.Version}
	}
	return aggregate.Fact{Standing: aggregate.Rejected, Stream: o.Stream, Hash: o.Hash, Ticket: o.Ticket, Root: o.Root, RootReason: o.RootReason}
}
