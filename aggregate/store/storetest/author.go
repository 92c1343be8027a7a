package storetest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// author composes batches the way a worker does: it holds lanes, loads streams before it changes them and
// keeps what they have become, with the handles that the store gave it.
type author struct {
	t       tb
	store   store.Store
	claims  []store.Claim
	now     time.Time
	records map[commands.Stream]*store.Record
	batch   *store.Batch
	changes map[commands.Stream]*store.HeadChange // of the batch being composed
	seq     uint64
}

// newAuthor acquires the lanes, all of them when none is named.
func newAuthor(t tb, s store.Store, lanes ...int) *author {
	if len(lanes) == 0 {
		for lane := range Lanes {
			lanes = append(lanes, lane)
		}
	}
	claims, err := s.Acquire(context.Background(), lanes, t.Name())
	require.NoError(t, err)
	require.Len(t, claims, len(lanes))
	a := &author{t: t, store: s, claims: claims, records: map[commands.Stream]*store.Record{},
		now: time.Date(2026, 11, 22, 8, 15, 30, 123456000, time.UTC)}
	a.begin()
	return a
}

func (a *author) begin() {
	a.batch = &store.Batch{Claims: slices.Clone(a.claims)}
	a.changes = map[commands.Stream]*store.HeadChange{}
}

func stream(id string) commands.Stream { return commands.Stream{Type: "order", ID: id} }

// streamOn finds a stream of a lane, the n-th one.
func streamOn(lane, n int) commands.Stream {
	for i := 0; ; i++ {
		if s := stream(fmt.Sprintf("lane-%d", i)); s.Lane(Lanes) == lane {
			if n == 0 {
				return s
			}
			n--
		}
	}
}

// stateAt is the state of every stream of the suite at a version.
func stateAt(version uint64) []byte { return fmt.Appendf(nil, `{"version": %d}`, version) }

func (a *author) tick() time.Time {
	a.now = a.now.Add(time.Microsecond)
	return a.now
}

// record is the stream as this author has it, loaded when it is met first.
func (a *author) record(s commands.Stream) *store.Record {
	if r, ok := a.records[s]; ok {
		return r
	}
	loaded, err := a.store.Load(context.Background(), []commands.Stream{s})
	require.NoError(a.t, err)
	require.Len(a.t, loaded, 1)
	require.Equal(a.t, s, loaded[0].Stream)
	a.records[s] = loaded[0]
	return loaded[0]
}

// outcome is a command that nothing has come of yet.
func (a *author) outcome(s commands.Stream) *commands.Outcome {
	id := commands.NewID()
	return &commands.Outcome{ID: id, Stream: s, Type: "add_line", Ticket: a.record(s).Head.Ticket(),
		Session: "session-" + s.ID, Actor: "Ann", Hash: commands.Hash(commands.NewID()), At: a.tick()}
}

func event(data string) commands.Event {
	return commands.Event{Type: "line_added", Schema: 1, Data: []byte(data)}
}

func events(n int) []commands.Event {
	if n == 0 {
		return nil
	}
	made := make([]commands.Event, n)
	for i := range made {
		made[i] = event(fmt.Sprintf(`{"line": %d}`, i))
	}
	return made
}

// land adds a landing with these events to the batch, with the state after it.
func (a *author) land(s commands.Stream, made ...commands.Event) *commands.Outcome {
	o := a.outcome(s)
	o.Events = made
	a.landing(o)
	return o
}

// landAs is land under an id that is known already.
func (a *author) landAs(id commands.ID, s commands.Stream, made ...commands.Event) {
	o := a.outcome(s)
	o.ID, o.Events = id, made
	a.landing(o)
}

// landing adds an outcome that was made elsewhere.
func (a *author) landing(o *commands.Outcome) *store.HeadChange {
	r := a.record(o.Stream)
	change, ok := a.changes[o.Stream]
	if !ok {
		change = &store.HeadChange{Stream: o.Stream, Head: r.Head, Handle: r.Handle}
		a.changes[o.Stream] = change
		a.batch.Heads = append(a.batch.Heads, change)
	}
	o.Version = change.Head.Version + uint64(len(o.Events))
	change.Head = aggregate.Head{Version: o.Version, Action: o.ID, At: o.At, Session: o.Session,
		ByAny: o.Policy == commands.PolicyAny}
	if len(o.Events) > 0 {
		change.State, change.StateVersion = stateAt(o.Version), o.Version
	}
	a.batch.Outcomes = append(a.batch.Outcomes, o)
	return change
}

// landLazily is land without a state, so that the stored one lags behind.
func (a *author) landLazily(s commands.Stream, made ...commands.Event) *commands.Outcome {
	o := a.outcome(s)
	o.Events = made
	change := a.landing(o)
	change.State, change.StateVersion = nil, 0
	return o
}

// reject adds a rejection to the batch.
func (a *author) reject(s commands.Stream, reason commands.Reason) *commands.Outcome {
	o := a.outcome(s)
	o.Ticket = commands.NewID()
	o.Reason, o.Root, o.RootReason = reason, o.ID, reason
	a.rejection(o)
	return o
}

func (a *author) rejection(o *commands.Outcome) {
	if change, ok := a.changes[o.Stream]; ok {
		o.Version = change.Head.Version
	} else {
		o.Version = a.record(o.Stream).Head.Version
	}
	a.batch.Outcomes = append(a.batch.Outcomes, o)
}

// waiting makes a command that waits; park adds it to the batch.
func (a *author) waiting(s commands.Stream, deadline time.Duration) *aggregate.Waiting {
	a.seq++
	return &aggregate.Waiting{
		Envelope: commands.Envelope{
			Command: commands.Command{ID: commands.NewID(), Stream: s, Type: "add_line", Ticket: commands.NewID(),
				Session: "session-" + s.ID, Actor: "Bob", Data: []byte(`{"sku": "A1"}`)},
			Hash: commands.Hash(commands.NewID()), ReceivedAt: a.tick(),
		},
		Seq: a.seq, ParkedAt: a.tick(), Deadline: deadline,
	}
}

func (a *author) park(s commands.Stream, deadline time.Duration) *aggregate.Waiting {
	w := a.waiting(s, deadline)
	a.batch.Park = append(a.batch.Park, w)
	return w
}

// settled is the outcome of a parked command, still to be landed or rejected.
func (a *author) settled(w *aggregate.Waiting) *commands.Outcome {
	a.batch.Unpark = append(a.batch.Unpark, w.ID)
	return &commands.Outcome{ID: w.ID, Stream: w.Stream, Type: w.Type, Ticket: w.Ticket, Policy: w.Policy,
		Session: w.Session, Actor: w.Actor, Hash: w.Hash, At: a.tick(), ReplyTo: w.ReplyTo,
		CorrelationID: w.CorrelationID, TraceParent: w.TraceParent}
}

// commit stores the batch and begins the next one.
func (a *author) commit() store.Range {
	covered, err := a.try()
	require.NoError(a.t, err)
	return covered
}

// try commits the batch; when that fails, everything held is forgotten, as the contract asks for.
func (a *author) try() (store.Range, error) {
	batch := a.batch
	a.begin()
	covered, err := a.store.Commit(context.Background(), batch)
	if err != nil {
		clear(a.records)
		return covered, err
	}
	require.Equal(a.t, covered.First+uint64(len(batch.Outcomes)), covered.Last+1, "the range covers the batch")
	for i, o := range batch.Outcomes {
		require.Equal(a.t, covered.First+uint64(i), o.Position, "positions count up in the order of the batch")
	}
	for _, change := range batch.Heads {
		a.keep(batch, change)
	}
	return covered, nil
}

// keep makes a change part of the record that the author holds.
func (a *author) keep(batch *store.Batch, change *store.HeadChange) {
	for _, o := range slices.Backward(batch.Outcomes) {
		if o.ID == change.Head.Action {
			require.Equal(a.t, o.Position, change.Head.Position, "a head is told its position")
			break
		}
	}
	r := a.record(change.Stream)
	r.Head, r.Handle = change.Head, change.Handle
	if change.State != nil {
		r.State, r.StateVersion = change.State, change.StateVersion
	}
}
