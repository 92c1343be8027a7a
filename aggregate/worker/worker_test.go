package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/worker"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/frame"
	"github.com/ticketed/doorman/bus/inproc"
	"github.com/ticketed/doorman/commands"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long anything may take that is bound to happen, on a busy machine.
const patience = 2 * time.Minute

// tally is a type whose code does whatever a command's name says.
type tally struct{ release chan struct{} }

func (tally) Name() string { return "tally" }
func (tally) Settings() aggregate.Settings {
	return aggregate.Settings{ParkFor: aggregate.DefaultParkFor, SessionWindow: aggregate.DefaultSessionWindow}
}
func (tally) Commands() []aggregate.CommandInfo   { return nil }
func (tally) Events() []aggregate.EventInfo       { return nil }
func (tally) Allows(commands.Policy, string) bool { return true }
func (tally) Initial() any                        { return 0 }
func (t tally) Decide(state any, command string, _ []byte) ([]commands.Event, error) {
	switch command {
	case "add", "poison":
		return []commands.Event{{Type: command + "ed", Schema: 1, Data: []byte("1")}}, nil
	case "look":
		return nil, nil
	case "refuse":
		return nil, aggregate.Refuse("not_today", "the tally is %d", state)
	case "panic":
		panic("on purpose")
	case "endless":
		<-t.release
		return nil, nil
	case "spoil":
		return []commands.Event{{Type: "spoiled", Schema: 1, Data: []byte("1")}}, nil
	}
	return nil, aggregate.ErrUnknownCommand
}
func (tally) Evolve(state any, event commands.Event) (any, error) {
	if event.Type == "spoiled" {
		return -1, nil
	}
	return state.(int) + 1, nil
}
func (tally) EncodeState(state any) ([]byte, error) {
	if state.(int) < 0 {
		return nil, errors.New("spoiled")
	}
	return strconv.AppendInt(nil, int64(state.(int)), 10), nil
}
func (tally) DecodeState(data []byte) (any, error) { return strconv.Atoi(string(data)) }

// rig is a worker over the in-process bus and a store.
type rig struct {
	t      *testing.T
	store  *memory
	bus    *inproc.Bus
	worker *worker.Worker
	kind   tally

	mu      sync.Mutex
	results []*aggregate.Result
}

func start(t *testing.T, m *memory, change func(*worker.Config)) *rig {
	t.Helper()
	r := &rig{t: t, store: m, bus: inproc.New(inproc.Config{}), kind: tally{release: make(chan struct{})}}
	types, err := aggregate.NewRegistry(r.kind)
	require.NoError(t, err)
	cfg := worker.Config{Store: m, Types: types, Subscriber: r.bus, Owner: "test", Tick: 5 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Observe: []func(store.Range, *aggregate.Result){func(_ store.Range, result *aggregate.Result) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.results = append(r.results, result)
		}}}
	for lane := range m.lanes {
		cfg.Lanes = append(cfg.Lanes, lane)
	}
	if change != nil {
		change(&cfg)
	}
	r.worker, err = worker.New(cfg)
	require.NoError(t, err)
	require.NoError(t, r.worker.Start(t.Context()))
	t.Cleanup(r.stop)
	return r
}

func (r *rig) stop() {
	select {
	case <-r.kind.release:
	default:
		close(r.kind.release)
	}
	require.NoError(r.t, r.worker.Stop())
	require.NoError(r.t, r.bus.Close())
}

// send publishes one frame a lane, in order, and waits until they are confirmed.
func (r *rig) send(envelopes ...commands.Envelope) {
	r.t.Helper()
	r.await(r.publish(envelopes...))
}

func (r *rig) publish(envelopes ...commands.Envelope) []chan error {
	frames := map[int][]byte{}
	for i := range envelopes {
		lane := envelopes[i].Stream.Lane(r.store.lanes)
		frames[lane] = frame.Append(frames[lane], &envelopes[i])
	}
	var all []chan error
	for lane, payload := range frames {
		confirmed := make(chan error, 1)
		r.bus.PublishAsync(bus.LaneTopic(lane), message.NewMessage(strconv.Itoa(lane), payload), func(err error) { confirmed <- err })
		all = append(all, confirmed)
	}
	return all
}

func (r *rig) await(all []chan error) {
	r.t.Helper()
	for _, confirmed := range all {
		select {
		case err := <-confirmed:
			require.NoError(r.t, err)
		case <-time.After(patience):
			require.Fail(r.t, "a frame was not acknowledged for a long time")
		}
	}
}

// outcome is what became of a command, as "landed@2" or its reason.
func (r *rig) outcome(id commands.ID) string {
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	found := ""
	for _, o := range r.store.log {
		if o.ID != id {
			continue
		}
		require.Empty(r.t, found, "promise 1: one outcome of %s", id)
		if found = string(o.Reason); o.Landed() {
			found = fmt.Sprintf("landed@%d", o.Version)
		}
	}
	return found
}

func (r *rig) until(what string, is func() bool) {
	r.t.Helper()
	require.Eventually(r.t, is, patience, time.Millisecond, what)
}

func id(n int) commands.ID { return commands.ID{0: 1, 15: byte(n), 14: byte(n >> 8)} }

func command(n int, stream, kind string, ticket commands.ID) commands.Envelope {
	return commands.Seal(commands.Command{ID: id(n), Stream: commands.Stream{Type: "tally", ID: stream}, Type: kind,
		Ticket: ticket, Session: "s"}, time.Now())
}

func TestAChainInAnyOrderLandsInTicketOrder(t *testing.T) {
	r := start(t, newMemory(4), nil)
	for n := 9; n >= 1; n-- {
		ticket := commands.Genesis
		if n > 1 {
			ticket = id(n - 1)
		}
		r.send(command(n, "a", "add", ticket))
	}
	for n := 1; n <= 9; n++ {
		require.Equal(t, fmt.Sprintf("landed@%d", n), r.outcome(id(n)))
	}
	require.Empty(t, r.store.parked)
}

func TestTheHappyPathReadsNothing(t *testing.T) {
	r := start(t, newMemory(4), nil)
	ticket := commands.Genesis
	for n := 1; n <= 50; n++ {
		r.send(command(n, "a", "add", ticket))
		ticket = id(n)
	}
	require.Equal(t, "landed@50", r.outcome(id(50)))
	require.Zero(t, r.store.lookups, "DESIGN section 7: the happy path reads nothing")
}

func TestADuplicateIsARepeatHoweverItMeetsTheFirst(t *testing.T) {
	// DESIGN section 2: known already, same payload: told again, no second effect.
	m := newMemory(4)
	first := command(1, "a", "look", commands.Genesis)
	r := start(t, m, nil)
	r.send(first, first)
	r.send(first)
	r.stop()
	r = start(t, m, nil) // nothing in memory: a landing without events leaves its ticket valid
	r.send(first)
	require.Equal(t, "landed@0", r.outcome(id(1)))
	other := first
	other.Type = "add"
	other.Hash = other.Command.Hash()
	r.send(other)
	require.Equal(t, "landed@0", r.outcome(id(1)))
	last := r.results[len(r.results)-1]
	require.Len(t, last.Answers, 1)
	require.Equal(t, aggregate.Conflict, last.Answers[0].Ruling)
}

func TestOneIDOnTwoStreamsHasOneEffect(t *testing.T) {
	r := start(t, newMemory(4), nil)
	r.send(command(1, "a", "add", commands.Genesis), command(2, "c", "add", commands.Genesis))
	r.send(command(1, "b", "add", commands.Genesis), command(3, "c", "add", id(2)))
	require.Equal(t, "landed@1", r.outcome(id(1)))
	require.Equal(t, "landed@2", r.outcome(id(3)), "its neighbours land")
	require.Equal(t, uint64(0), recordOf(r, "b").Head.Version)
}

func recordOf(r *rig, stream string) store.Record {
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	if record := r.store.streams[commands.Stream{Type: "tally", ID: stream}]; record != nil {
		return *record
	}
	return store.Record{}
}

// stateOf is what the store would have a reader fold.
func stateOf(t *testing.T, r *rig, stream string) int {
	t.Helper()
	record := recordOf(r, stream)
	require.EqualValues(t, record.Head.Version, int(record.StateVersion)+len(record.Tail))
	state, err := tally{}.DecodeState(record.State)
	require.NoError(t, err)
	for _, event := range record.Tail {
		state, err = tally{}.Evolve(state, event)
		require.NoError(t, err)
	}
	return state.(int)
}

func TestBrokenCodeFailsItsCommandAlone(t *testing.T) {
	// DESIGN section 2: a panic, an error or endless work in aggregate code ends as failed.
	for _, kind := range []string{"panic", "endless", "spoil"} {
		t.Run(kind, func(t *testing.T) {
			r := start(t, newMemory(4), func(c *worker.Config) { c.CodeTimeout = 40 * time.Millisecond })
			r.send(command(1, "a", "add", commands.Genesis), command(2, "a", kind, id(1)),
				command(3, "a", "add", id(1)), command(4, "b", "add", commands.Genesis), command(5, "a", "add", id(2)))
			require.Equal(t, "failed", r.outcome(id(2)))
			require.Equal(t, "landed@2", r.outcome(id(3)))
			require.Equal(t, "landed@1", r.outcome(id(4)))
			require.Equal(t, "predecessor_rejected", r.outcome(id(5)))
			require.Len(t, r.store.dead, 1)
			require.Equal(t, id(2), r.store.dead[0].Envelope.ID)
			r.send(command(6, "a", "add", id(3)))
			require.Equal(t, "landed@3", r.outcome(id(6)))
			require.Equal(t, 3, stateOf(t, r, "a"))
		})
	}
}

func TestABatchThatFailsForOneCommandIsSplit(t *testing.T) {
	m := newMemory(4)
	m.before = func(b *store.Batch) (error, bool) {
		for _, o := range b.Outcomes {
			if o.Type == "poison" && o.Landed() {
				return errors.New("this row cannot be stored"), false
			}
		}
		return nil, false
	}
	r := start(t, m, nil)
	var all []commands.Envelope
	for n := 1; n <= 40; n++ {
		kind := "add"
		if n == 17 {
			kind = "poison"
		}
		all = append(all, command(n, strconv.Itoa(n), kind, commands.Genesis))
	}
	// One that waits and breaks the batch only when it is released.
	all = append(all, command(50, "w", "poison", id(51)), command(51, "w", "add", commands.Genesis))
	r.send(all...)
	for n := 1; n <= 40; n++ {
		want := "landed@1"
		if n == 17 {
			want = "failed"
		}
		require.Equal(t, want, r.outcome(id(n)), n)
	}
	r.until("the released one has failed", func() bool { return r.outcome(id(50)) == "failed" })
	require.Equal(t, "landed@1", r.outcome(id(51)))
}

func TestNothingExpiresWhileACommitHangs(t *testing.T) {
	// DESIGN section 2: an outage of the database expires nothing.
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(1)
		hang, hanging := make(chan struct{}), make(chan struct{}, 1)
		var armed atomic.Bool
		m.before = func(*store.Batch) (error, bool) {
			if armed.CompareAndSwap(true, false) {
				hanging <- struct{}{}
				<-hang
			}
			return nil, false
		}
		r := start(t, m, nil)
		r.send(command(2, "a", "add", id(1)))
		r.stop()
		m.worked[0] = m.parked[0].Deadline - 1500*time.Millisecond
		r = start(t, m, nil)
		armed.Store(true)
		all := r.publish(command(10, "b", "add", commands.Genesis))
		<-hanging
		time.Sleep(3 * time.Second) // twice what the parked command has left
		all = append(all, r.publish(command(1, "a", "add", commands.Genesis))...)
		close(hang)
		r.await(all)
		r.until("it has landed", func() bool { return r.outcome(id(2)) != "" })
		require.Equal(t, "landed@2", r.outcome(id(2)))
	})
}

// unparkable is a store that cannot park commands named poison.
func unparkable() *memory {
	m := newMemory(4)
	m.before = func(b *store.Batch) (error, bool) {
		for _, w := range b.Park {
			if w.Type == "poison" {
				return errors.New("this row cannot be stored"), false
			}
		}
		return nil, false
	}
	return m
}

func TestACommandThatCannotBeParkedFails(t *testing.T) {
	r := start(t, unparkable(), nil)
	r.send(command(1, "a", "add", commands.Genesis), command(3, "a", "poison", id(2)), command(4, "b", "add", commands.Genesis))
	require.Equal(t, "landed@1", r.outcome(id(1)))
	require.Equal(t, "failed", r.outcome(id(3)))
	require.Equal(t, "landed@1", r.outcome(id(4)))
}

func TestWhatWasLeftOverIsNotBlamedForALaterCommand(t *testing.T) {
	r := start(t, unparkable(), func(c *worker.Config) {
		c.Limits = aggregate.DefaultLimits
		c.Limits.Round = 2
	})
	r.send(command(2, "a", "add", id(1)), command(3, "a", "add", id(2)))
	r.send(command(1, "a", "add", commands.Genesis), command(9, "a", "poison", id(8)))
	r.until("the chain has landed", func() bool { return r.outcome(id(3)) != "" })
	require.Equal(t, "landed@3", r.outcome(id(3)))
	require.Equal(t, "failed", r.outcome(id(9)))
}

func TestAnOutageRejectsNothingAndLosesNothing(t *testing.T) {
	for name, failure := range map[string]struct {
		err     error
		applied bool
	}{
		"away":                    {store.ErrUnavailable, false},
		"fate unknown, committed": {store.ErrFateUnknown, true},
		"fate unknown, lost":      {store.ErrFateUnknown, false},
		"fenced":                  {store.ErrFenced, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory(4)
			commits, reads := 0, 0
			m.before = func(*store.Batch) (error, bool) {
				if commits++; commits == 2 {
					return failure.err, failure.applied
				}
				return nil, false
			}
			r := start(t, m, nil)
			m.mu.Lock()
			m.reading = func() error {
				if reads++; reads == 3 {
					return store.ErrUnavailable
				}
				return nil
			}
			m.mu.Unlock()
			r.send(command(1, "a", "add", commands.Genesis), command(3, "a", "add", id(2)))
			r.send(command(2, "a", "add", id(1)), command(10, "b", "add", commands.Genesis))
			r.send(command(4, "a", "add", id(3)))
			for n := 1; n <= 4; n++ {
				require.Equal(t, fmt.Sprintf("landed@%d", n), r.outcome(id(n)))
			}
			require.Equal(t, "landed@1", r.outcome(id(10)))
			require.Empty(t, m.parked)
		})
	}
}

func TestWhatWaitsExpiresByTheClockOfItsLane(t *testing.T) {
	m := newMemory(4)
	r := start(t, m, nil)
	r.send(command(2, "a", "add", id(1)), command(3, "a", "add", id(2)))
	r.stop()
	// As if the lane had been worked for almost the whole time-out; the wall clock does not count.
	for _, w := range m.parked {
		m.worked[w.Stream.Lane(4)] = w.Deadline - 30*time.Millisecond
	}
	r = start(t, m, nil)
	r.until("it has expired", func() bool { return r.outcome(id(2)) != "" })
	require.Equal(t, "predecessor_missing", r.outcome(id(2)))
	require.Equal(t, "predecessor_rejected", r.outcome(id(3)))
	require.Equal(t, m.log[0].ID, m.log[1].Root)
	require.True(t, m.log[1].Cascaded)
}

func TestParkedCommandsOutliveTheWorker(t *testing.T) {
	m := newMemory(4)
	r := start(t, m, nil)
	r.send(command(2, "a", "add", id(1)))
	r.stop()
	require.Len(t, m.parked, 1)
	r = start(t, m, nil)
	r.send(command(1, "a", "add", commands.Genesis))
	require.Equal(t, "landed@2", r.outcome(id(2)))
}

func TestAFullRoundGoesOnInTheNextOne(t *testing.T) {
	// DESIGN section 2: a chain is released iteratively, bounded per transaction, before later arrivals.
	m := newMemory(4)
	largest := 0
	m.before = func(b *store.Batch) (error, bool) {
		largest = max(largest, len(b.Outcomes))
		return nil, false
	}
	r := start(t, m, func(c *worker.Config) {
		c.Limits = aggregate.DefaultLimits
		c.Limits.Round = 10
	})
	for n := 100; n > 1; n-- {
		r.send(command(n, "a", "add", id(n-1)))
	}
	r.send(command(1, "a", "add", commands.Genesis), command(200, "a", "add", id(1)))
	r.until("the chain has landed", func() bool { return r.outcome(id(100)) != "" })
	require.Equal(t, "landed@100", r.outcome(id(100)))
	require.Equal(t, "stale_ticket", r.outcome(id(200)))
	require.LessOrEqual(t, largest, 10)
}

func TestAReleasedChainGoesOnAfterACrash(t *testing.T) {
	m := newMemory(4)
	r := start(t, m, nil)
	r.send(command(2, "a", "add", id(1)), command(3, "a", "add", id(2)))
	r.stop()
	// As if the process had died between the round that landed 1 and the one that goes on with 2.
	o := &commands.Outcome{ID: id(1), Stream: commands.Stream{Type: "tally", ID: "a"}, Type: "add", Version: 1,
		Events: []commands.Event{{Type: "added", Data: []byte("1")}}}
	lane := o.Stream.Lane(4)
	_, err := m.commit(&store.Batch{Claims: []store.Claim{{Lane: lane, Epoch: m.epochs[lane], Worked: m.worked[lane]}}, Outcomes: []*commands.Outcome{o},
		Heads: []*store.HeadChange{{Stream: o.Stream, Head: aggregate.Head{Version: 1, Action: id(1)}, State: []byte("1"), StateVersion: 1}}})
	require.NoError(t, err)
	r = start(t, m, nil)
	r.until("the chain has landed", func() bool { return r.outcome(id(3)) == "landed@3" })
}

func TestAMessageThatIsNoFrameBecomesADeadLetter(t *testing.T) {
	r := start(t, newMemory(1), nil)
	confirmed := make(chan error, 1)
	r.bus.PublishAsync(bus.LaneTopic(0), message.NewMessage("x", []byte("no frame")), func(err error) { confirmed <- err })
	r.await([]chan error{confirmed})
	require.Len(t, r.store.dead, 1)
	require.Equal(t, "no frame", string(r.store.dead[0].Envelope.Data))
	r.send(command(1, "a", "add", commands.Genesis))
	require.Equal(t, "landed@1", r.outcome(id(1)))
}

func TestStartSaysWhenTheLanesCannotBeTaken(t *testing.T) {
	m := newMemory(1)
	m.reading = func() error { return store.ErrUnavailable }
	types, err := aggregate.NewRegistry(tally{})
	require.NoError(t, err)
	b := inproc.New(inproc.Config{})
	defer b.Close()
	w, err := worker.New(worker.Config{Store: m, Types: types, Subscriber: b, Lanes: []int{0}})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, w.Start(ctx), "the lanes could not be taken")
	require.NoError(t, w.Stop())
}

func TestConfigReportsEverythingThatIsMissing(t *testing.T) {
	_, err := worker.New(worker.Config{Limits: aggregate.Limits{Round: 1}})
	for _, what := range []string{"Store", "Types", "Subscriber", "Lanes", "Limits.Parked "} {
		require.ErrorContains(t, err, what)
	}
}
