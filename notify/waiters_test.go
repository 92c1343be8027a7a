package notify_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/notify"
)

// log is what a store knows: outcomes in order and parked commands.
type log struct {
	mu       sync.Mutex
	outcomes []*commands.Outcome
	parked   map[commands.ID]commands.Hash
	broken   error
	ends     atomic.Int64 // reads of the end
	looked   atomic.Int64 // ids looked for
}

func (l *log) End(context.Context) (uint64, error) {
	l.ends.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.outcomes)), l.broken
}

func (l *log) Status(_ context.Context, ids []commands.ID) ([]store.CommandStatus, error) {
	l.looked.Add(int64(len(ids)))
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]store.CommandStatus, len(ids))
	for i, id := range ids {
		all[i].ID = id
		for _, o := range l.outcomes {
			if o.ID == id {
				all[i].Outcome = o
			}
		}
		if hash, parked := l.parked[id]; parked {
			all[i].Waiting = &aggregate.Waiting{Envelope: commands.Envelope{Command: commands.Command{ID: id}, Hash: hash}}
		}
	}
	return all, l.broken
}

// commit appends outcomes and returns what the worker that did it tells its observers.
func (l *log) commit(outcomes ...*commands.Outcome) (store.Range, *aggregate.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := uint64(len(l.outcomes)) + 1
	for _, o := range outcomes {
		l.outcomes = append(l.outcomes, o)
		o.Position = uint64(len(l.outcomes))
	}
	return store.Range{First: first, Last: uint64(len(l.outcomes))}, &aggregate.Result{Outcomes: outcomes}
}

func (l *log) setBroken(err error) {
	l.mu.Lock()
	l.broken = err
	l.mu.Unlock()
}

var (
	mine   = commands.Hash{1}
	theirs = commands.Hash{2}
	order  = commands.Stream{Type: "order", ID: "1"}
)

func landed(id commands.ID) *commands.Outcome {
	return &commands.Outcome{ID: id, Hash: mine, Stream: order, Version: 1}
}

func answer(ruling aggregate.Ruling, id commands.ID, hash commands.Hash) *aggregate.Result {
	return &aggregate.Result{Answers: []aggregate.Answer{{Ruling: ruling, ID: id, Hash: hash}}}
}

// register waits where nobody minds how many do.
func register(w *notify.Waiters, id commands.ID, hash commands.Hash) *notify.Waiter {
	x, ok := w.Register(id, hash)
	if !ok {
		panic("too many wait")
	}
	return x
}

func watch(w *notify.Waiters, stream commands.Stream) *notify.StreamWaiter {
	x, ok := w.Watch(stream)
	if !ok {
		panic("too many wait")
	}
	return x
}

var nothing = store.Range{First: 1, Last: 0}

func start(t *testing.T, l *log) *notify.Waiters {
	w := notify.NewWaiters(notify.WaitersConfig{Reader: l})
	require.NoError(t, w.Start(t.Context()))
	require.NoError(t, w.Start(t.Context()), "starting twice is starting once")
	t.Cleanup(func() {
		require.NoError(t, w.Stop())
		require.NoError(t, w.Stop(), "stopping twice is stopping once")
		commandsLeft, streamsLeft := w.Left()
		require.Zero(t, commandsLeft, "waiters left behind")
		require.Zero(t, streamsLeft, "stream waiters left behind")
	})
	return w
}

func TestEveryWaiterOfAnIDIsToldItsOutcome(t *testing.T) {
	t.Parallel()
	l := &log{}
	w := start(t, l)
	id := commands.NewID()
	waiters := []*notify.Waiter{register(w, id, mine), register(w, id, notify.AnyPayload), register(w, id, mine)}
	other := register(w, commands.NewID(), mine)
	defer other.Close()
	outcome, conflict := waiters[0].Told()
	require.Nil(t, outcome)
	require.False(t, conflict)

	o := landed(id)
	w.Observe(l.commit(o))

	for i, x := range waiters {
		outcome, conflict, err := x.Wait(t.Context())
		require.NoError(t, err)
		require.Same(t, o, outcome, "waiter %d", i)
		require.False(t, conflict)
		outcome, _ = x.Told()
		require.Same(t, o, outcome)
	}
	outcome, _ = other.Told()
	require.Nil(t, outcome, "another command's waiter is told nothing")
	for _, i := range []int{1, 0, 2} { // from the middle, the end and the front of the list
		waiters[i].Close()
	}
	require.Zero(t, l.looked.Load(), "what was observed is not read again")
}

func TestAConflictIsToldToItsSenderOnly(t *testing.T) {
	t.Parallel()
	l := &log{}
	w := start(t, l)
	id := commands.NewID()
	first, second := register(w, id, mine), register(w, id, theirs)
	defer first.Close()
	defer second.Close()
	mark := w.Mark()
	require.False(t, w.Conflicted(mark, id, theirs))

	w.Observe(nothing, answer(aggregate.Conflict, id, theirs))

	_, conflict, err := second.Wait(t.Context())
	require.NoError(t, err)
	require.True(t, conflict)
	_, conflict = first.Told()
	require.False(t, conflict)
	require.True(t, w.Conflicted(mark, id, theirs), "who does not wait can ask")
	require.False(t, w.Conflicted(mark, id, mine))
	require.False(t, w.Conflicted(mark, commands.NewID(), theirs))
	require.False(t, w.Conflicted(w.Mark(), id, theirs), "what was answered before the mark is not meant")
}

func TestAnotherPayloadsOutcomeIsAConflict(t *testing.T) {
	t.Parallel()
	l := &log{}
	w := start(t, l)
	id := commands.NewID()
	x := register(w, id, theirs)
	defer x.Close()
	w.Observe(l.commit(landed(id)))
	outcome, conflict, err := x.Wait(t.Context())
	require.NoError(t, err)
	require.Nil(t, outcome, "nobody is told another command's outcome as its own")
	require.True(t, conflict)
}

func TestTheNewestConflictsAreRemembered(t *testing.T) {
	t.Parallel()
	w := start(t, &log{})
	mark := w.Mark()
	ids := make([]commands.ID, 1500)
	for i := range ids {
		ids[i] = commands.NewID()
		w.Observe(nothing, answer(aggregate.Conflict, ids[i], mine))
	}
	require.True(t, w.Conflicted(mark, ids[1499], mine))
	require.True(t, w.Conflicted(mark, ids[1500-1024], mine))
	require.False(t, w.Conflicted(mark, ids[1500-1025], mine))
}

func TestARepeatIsToldTheEarlierOutcome(t *testing.T) {
	t.Parallel()
	l := &log{}
	w := start(t, l)
	id := commands.NewID()
	o := landed(id)
	w.Observe(l.commit(o))
	x := register(w, id, mine)
	defer x.Close()

	w.Observe(nothing, answer(aggregate.Repeat, id, mine))

	outcome, _, err := x.Wait(t.Context())
	require.NoError(t, err)
	require.Same(t, o, outcome)
}

func TestARepeatOfAParkedCommandWaitsForItsOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := commands.NewID()
		l := &log{parked: map[commands.ID]commands.Hash{id: mine}}
		w := start(t, l)
		x := register(w, id, mine)
		defer x.Close()
		w.Observe(nothing, answer(aggregate.Repeat, id, mine))
		go func() {
			time.Sleep(20 * time.Second) // the bubble's time
			w.Observe(l.commit(landed(id)))
		}()
		outcome, _, err := x.Wait(t.Context())
		require.NoError(t, err)
		require.NotNil(t, outcome)
	})
}

func TestWhatAnotherProcessCommittedIsFoundWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{}
		w := start(t, l)
		x, s := register(w, commands.NewID(), mine), watch(w, order)
		defer x.Close()
		defer s.Close()
		w.Observe(l.commit(landed(commands.NewID())))
		require.NoError(t, s.Changed(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, _, err := x.Wait(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualValues(t, 1, l.looked.Load(), "once looked for, it is not looked for again while the log stands still")

		began := time.Now()
		id := commands.NewID()
		y := register(w, id, mine)
		defer y.Close()
		l.commit(landed(id)) // nobody here is told
		outcome, _, err := y.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, id, outcome.ID)
		require.NoError(t, s.Changed(t.Context()))
		require.LessOrEqual(t, time.Since(began), time.Second)
	})
}

func TestAGapInWhatWasToldIsLookedInto(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{}
		w := start(t, l)
		id := commands.NewID()
		x := register(w, id, mine)
		defer x.Close()
		found := make(chan *commands.Outcome)
		go func() {
			outcome, _, _ := x.Wait(t.Context())
			found <- outcome
		}()
		time.Sleep(3 * time.Second)                   // looked for, and not there
		l.commit(landed(id))                          // another process commits
		w.Observe(l.commit(landed(commands.NewID()))) // then this one, further on
		require.Equal(t, id, (<-found).ID, "the end of the log is where it was told to be, but not all of it was told")
	})
}

func TestARepeatTakenByAnotherProcessIsFoundThoughTheLogStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{}
		w := start(t, l)
		id, taken := commands.NewID(), commands.NewID()
		w.Observe(l.commit(landed(id), landed(taken)))
		x, y := register(w, id, mine), register(w, taken, theirs)
		defer x.Close()
		defer y.Close()
		outcome, _, err := x.Wait(t.Context())
		require.NoError(t, err)
		require.NotNil(t, outcome)
		_, conflict, err := y.Wait(t.Context())
		require.NoError(t, err)
		require.True(t, conflict)
	})
}

func TestAConflictWithAParkedCommandIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := commands.NewID()
		w := start(t, &log{parked: map[commands.ID]commands.Hash{id: mine}})
		x := register(w, id, theirs)
		defer x.Close()
		_, conflict, err := x.Wait(t.Context())
		require.NoError(t, err)
		require.True(t, conflict)
	})
}

func TestAStoreThatCannotBeReadIsLookedAtAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{}
		w := start(t, l)
		id := commands.NewID()
		x := register(w, id, mine)
		defer x.Close()
		l.commit(landed(id))
		l.setBroken(errors.New("the disk is away"))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, _, err := x.Wait(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		l.setBroken(nil)
		outcome, _, err := x.Wait(t.Context())
		require.NoError(t, err)
		require.NotNil(t, outcome)

		l.setBroken(errors.New("the disk is away"))
		w.Observe(nothing, answer(aggregate.Repeat, id, mine))
		y := register(w, id, mine)
		defer y.Close()
		w.Observe(nothing, answer(aggregate.Repeat, id, mine))
		_, _, err = y.Wait(t.Context())
		require.ErrorContains(t, err, "the disk is away")
	})
}

func TestNobodyWaitingCostsNoReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{}
		w := start(t, l)
		x := register(w, commands.NewID(), mine)
		x.Close()
		time.Sleep(time.Minute)
		require.Zero(t, l.ends.Load())
	})
}

func TestAStreamIsWokenByLandingsOnItAlone(t *testing.T) {
	t.Parallel()
	l := &log{}
	w := start(t, l)
	a, b := watch(w, order), watch(w, order)
	other := watch(w, commands.Stream{Type: "order", ID: "2"})
	defer other.Close()
	rejected := landed(commands.NewID())
	rejected.Reason = commands.StaleTicket
	w.Observe(l.commit(rejected))
	require.False(t, a.Woken(), "a rejection changes nothing")

	w.Observe(l.commit(landed(commands.NewID()), landed(commands.NewID())))

	require.NoError(t, a.Changed(t.Context()))
	require.NoError(t, b.Changed(t.Context()))
	require.False(t, other.Woken())
	require.False(t, a.Woken(), "once woken, it sleeps until the next landing")
	a.Close()
	w.Observe(l.commit(landed(commands.NewID())))
	require.NoError(t, b.Changed(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, b.Changed(ctx), context.Canceled)
	b.Close()
}

func TestStopEndsAllWaiting(t *testing.T) {
	t.Parallel()
	w := start(t, &log{})
	x, s := register(w, commands.NewID(), mine), watch(w, order)
	defer x.Close()
	defer s.Close()
	ended := make(chan error, 2)
	go func() { _, _, err := x.Wait(t.Context()); ended <- err }()
	go func() { ended <- s.Changed(t.Context()) }()
	require.NoError(t, w.Stop())
	require.ErrorIs(t, <-ended, notify.ErrStopped)
	require.ErrorIs(t, <-ended, notify.ErrStopped)
}

func TestOnlySoManyMayWait(t *testing.T) {
	t.Parallel()
	w := notify.NewWaiters(notify.WaitersConfig{Reader: &log{}, Max: 2})
	a, b := register(w, commands.NewID(), mine), register(w, commands.NewID(), mine)
	_, ok := w.Register(commands.NewID(), mine)
	require.False(t, ok)
	a.Close()
	a = register(w, commands.NewID(), mine)
	a.Close()
	b.Close()
	s, u := watch(w, order), watch(w, order)
	_, ok = w.Watch(order)
	require.False(t, ok)
	s.Close()
	u.Close()
	commandsLeft, streamsLeft := w.Left()
	require.Zero(t, commandsLeft+streamsLeft)
}

func TestAReusedWaiterKnowsNothingOfItsFormerLife(t *testing.T) {
	t.Parallel()
	l := &log{}
	w := start(t, l)
	for range 100 {
		id := commands.NewID()
		x := register(w, id, mine)
		w.Observe(l.commit(landed(id))) // leaves a signal that nobody takes
		x.Close()
		y := register(w, commands.NewID(), mine)
		outcome, conflict := y.Told()
		require.Nil(t, outcome)
		require.False(t, conflict)
		require.False(t, y.Woken())
		y.Close()
	}
}

func TestManyWaitersAtOnce(t *testing.T) {
	t.Parallel()
	l := &log{}
	w := start(t, l)
	var commits sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 200 {
				id := commands.NewID()
				x := register(w, id, mine)
				stray := register(w, commands.NewID(), mine)
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					commits.Lock()
					defer commits.Unlock()
					w.Observe(l.commit(landed(id)))
				}()
				if i%3 == 0 {
					<-sent
				}
				outcome, conflict, err := x.Wait(t.Context())
				if err != nil || conflict || outcome.ID != id {
					t.Errorf("told %v %v %v", outcome, conflict, err)
				}
				stray.Close()
				x.Close()
				<-sent
			}
		})
	}
	all.Wait()
}

// BenchmarkWaited is what one command costs that somebody waits for: register, be told, close.
func BenchmarkWaited(b *testing.B) {
	w := notify.NewWaiters(notify.WaitersConfig{Reader: &log{}})
	outcomes := make([]*commands.Outcome, 256)
	for i := range outcomes {
		outcomes[i] = landed(commands.NewID())
	}
	result := &aggregate.Result{Outcomes: outcomes}
	waiters := make([]*notify.Waiter, len(outcomes))
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(outcomes) {
		for i, o := range outcomes {
			waiters[i] = register(w, o.ID, mine)
		}
		w.Observe(nothing, result)
		for _, x := range waiters {
			if o, _ := x.Told(); o == nil {
				b.Fatal("not told")
			}
			x.Close()
		}
	}
}

// BenchmarkUnwaited is what a command costs that nobody waits for.
func BenchmarkUnwaited(b *testing.B) {
	w := notify.NewWaiters(notify.WaitersConfig{Reader: &log{}})
	outcomes := make([]*commands.Outcome, 256)
	for i := range outcomes {
		outcomes[i] = landed(commands.NewID())
	}
	result := &aggregate.Result{Outcomes: outcomes}
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(outcomes) {
		for _, o := range outcomes {
			if mark := w.Mark(); w.Conflicted(mark, o.ID, mine) {
				b.Fatal("no conflict")
			}
		}
		w.Observe(nothing, result)
	}
}
