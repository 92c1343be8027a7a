package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/worker"
	"github.com/ticketed/doorman/commands"
)

// hanging is a store that hangs when it is told to, until the context is over.
type hanging struct {
	*memory
	reads, commits atomic.Bool
	deaf           bool // it does not even listen to the context of a commit
	release        chan struct{}
}

func (h *hanging) Lookup(ctx context.Context, ids []commands.ID) ([]aggregate.Fact, error) {
	if h.reads.Load() {
		<-ctx.Done()
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
	}
	return h.memory.Lookup(ctx, ids)
}

func (h *hanging) Commit(ctx context.Context, b *store.Batch) (store.Range, error) {
	switch {
	case h.commits.Load() && h.deaf:
		<-h.release
	case h.commits.Load():
		<-ctx.Done()
		return store.Range{}, fmt.Errorf("%w: %w", store.ErrFateUnknown, ctx.Err())
	}
	return h.memory.Commit(ctx, b)
}

func startHanging(t *testing.T, deaf bool) (*rig, *hanging) {
	h := &hanging{memory: newMemory(1), deaf: deaf, release: make(chan struct{})}
	return start(t, h.memory, func(c *worker.Config) { c.Store = h }), h
}

// What was not judged is not acknowledged, so nothing is lost when nothing is read any more.
func TestStopDoesNotWaitForAReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, h := startHanging(t, false)
		h.reads.Store(true)
		confirmed := r.publish(command(2, "a", "add", id(1)))
		synctest.Wait()
		asked := time.Now()
		require.NoError(t, r.worker.Stop())
		require.Zero(t, time.Since(asked))
		require.Empty(t, confirmed[0], "not acknowledged")
	})
}

func TestStopWaitsForACommitForAsLongAsOneMayTake(t *testing.T) {
	t.Parallel()
	const commitTime = 30 * time.Second // the default
	for name, c := range map[string]struct {
		stop func(*worker.Worker) error
		took time.Duration
	}{
		"Stop": {(*worker.Worker).Stop, commitTime},
		"Shutdown": {func(w *worker.Worker) error {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			return w.Shutdown(ctx)
		}, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r, h := startHanging(t, false)
				h.commits.Store(true)
				r.publish(command(1, "a", "add", commands.Genesis))
				synctest.Wait()
				r.publish(command(2, "a", "add", id(1))) // judged on top of it
				synctest.Wait()
				time.Sleep(commitTime - 10*time.Second)
				asked := time.Now()
				require.NoError(t, c.stop(r.worker))
				require.LessOrEqual(t, time.Since(asked), c.took)
			})
		})
	}
}

func TestShutdownSaysThatACommitDoesNotLetGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, h := startHanging(t, true)
		h.commits.Store(true)
		r.publish(command(1, "a", "add", commands.Genesis))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		asked := time.Now()
		require.ErrorIs(t, r.worker.Shutdown(ctx), context.DeadlineExceeded)
		require.Less(t, time.Since(asked), 10*time.Second)
		close(h.release)
		require.NoError(t, r.worker.Stop(), "it is safe to call twice")
	})
}

// DESIGN section 3: a worker is ready when it can take lanes.
func TestReadyTellsWhyTheLanesAreNotWorked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		m := newMemory(1)
		m.before = func(*store.Batch) (error, bool) {
			if away.Load() {
				return fmt.Errorf("%w: the disk is full", store.ErrUnavailable), false
			}
			return nil, false
		}
		r := start(t, m, nil)
		require.NoError(t, r.worker.Ready())
		away.Store(true)
		sent := r.publish(command(1, "a", "add", commands.Genesis))
		synctest.Wait()
		require.ErrorContains(t, r.worker.Ready(), "the disk is full")
		away.Store(false)
		r.await(sent)
		require.NoError(t, r.worker.Ready())
		require.NoError(t, r.worker.Stop())
		require.Error(t, r.worker.Ready())
	})
	types, err := aggregate.NewRegistry(tally{})
	require.NoError(t, err)
	w, err := worker.New(worker.Config{Store: newMemory(1), Types: types, Subscriber: newBroker(1, nil).connect(1), Lanes: []int{0}})
	require.NoError(t, err)
	require.Error(t, w.Ready(), "it was not started")
}

// A commit that hangs is no trouble until its time is over, since it may yet be carried out.
func TestReadyTellsOfACommitThatHangsOnceItsTimeIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const commitTime = 3 * time.Second
		var hangs atomic.Bool
		m := newMemory(1)
		m.before = func(*store.Batch) (error, bool) {
			if hangs.CompareAndSwap(true, false) {
				time.Sleep(commitTime)
				return store.ErrFateUnknown, false
			}
			return nil, false
		}
		r := start(t, m, func(c *worker.Config) { c.CommitTime = commitTime })
		hangs.Store(true)
		sent := r.publish(command(1, "a", "add", commands.Genesis))
		time.Sleep(commitTime - time.Millisecond)
		require.NoError(t, r.worker.Ready())
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		require.ErrorIs(t, r.worker.Ready(), store.ErrFateUnknown)
		r.await(sent)
		require.NoError(t, r.worker.Ready())
		require.NoError(t, r.worker.Stop())
	})
}

// Promise 4: a command that could not be parked is not branded: by the time it is judged again the one it
// follows has landed elsewhere.
func TestWhoCouldNotBeParkedMayLand(t *testing.T) {
	t.Parallel()
	m := newMemory(1)
	first := &commands.Outcome{ID: id(1), Stream: commands.Stream{Type: "tally", ID: "a"}, Type: "add", Version: 1,
		Events: []commands.Event{{Type: "added", Data: []byte("1")}}}
	m.before = func(b *store.Batch) (error, bool) {
		switch {
		case slices.ContainsFunc(b.Park, func(w *aggregate.Waiting) bool { return w.Type == "poison" }):
			return errors.New("this row cannot be stored"), false
		case len(b.Dead) > 0: // it is about to end as failed, when another worker lands the one it follows
			claims, err := m.Acquire(t.Context(), []int{0}, "another")
			require.NoError(t, err)
			_, err = m.commit(&store.Batch{Claims: claims, Outcomes: []*commands.Outcome{first},
				Heads: []*store.HeadChange{{Stream: first.Stream, Head: aggregate.Head{Version: 1, Action: id(1)}, State: []byte("1"), StateVersion: 1}}})
			require.NoError(t, err)
		}
		return nil, false
	}
	r := start(t, m, nil)
	r.send(command(2, "a", "poison", id(1)))
	require.Equal(t, "landed@2", r.outcome(id(2)))
}

// DESIGN section 2: an outage expires nothing, so no clock runs while a reading hangs.
func TestNoClockRunsWhileAReadingHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(1)
		var worked atomic.Int64
		m.before = func(b *store.Batch) (error, bool) {
			worked.Store(int64(b.Claims[0].Worked))
			return nil, false
		}
		var slow atomic.Bool
		r := start(t, m, nil)
		m.mu.Lock()
		m.reading = func() error {
			if slow.CompareAndSwap(true, false) {
				time.Sleep(800 * time.Millisecond)
			}
			return nil
		}
		m.mu.Unlock()
		slow.Store(true)
		r.send(command(2, "a", "add", id(1)))
		time.Sleep(1100 * time.Millisecond) // until the clocks are saved
		require.Less(t, time.Duration(worked.Load()), 1200*time.Millisecond)
		require.NotZero(t, worked.Load())
	})
}

// DESIGN section 2: an outage of the broker expires nothing. What waits has the rest of its time afterwards.
func TestNoClockRunsWhileTheBusIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		r := start(t, newMemory(1), func(c *worker.Config) {
			began := time.Now()
			c.Consuming = func(int) (time.Time, error) {
				if away.Load() {
					return time.Time{}, errors.New("no broker")
				}
				return began, nil
			}
		})
		r.send(command(2, "a", "add", id(1)))
		time.Sleep(aggregate.DefaultParkFor - time.Second)
		away.Store(true)
		time.Sleep(time.Hour)
		require.Empty(t, r.outcome(id(2)))
		away.Store(false)
		time.Sleep(500 * time.Millisecond)
		require.Empty(t, r.outcome(id(2)))
		time.Sleep(2 * time.Second)
		require.Equal(t, "predecessor_missing", r.outcome(id(2)))
	})
}

// The clock of a lane on which something waits is saved while others keep the worker busy; or it would go
// back by all that time when the process dies, and what waits would settle too late (promise 5).
func TestTheClockOfAQuietLaneIsSavedUnderLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(4)
		m.before = func(*store.Batch) (error, bool) {
			time.Sleep(100 * time.Millisecond)
			return nil, false
		}
		r := start(t, m, nil)
		waiting := command(2, "a", "add", id(1))
		quiet := waiting.Stream.Lane(4)
		r.send(waiting)
		busy := 0
		for ; (commands.Stream{Type: "tally", ID: fmt.Sprint(busy)}).Lane(4) == quiet; busy++ {
		}
		began, ticket := time.Now(), commands.Genesis
		var sent []chan error
		for n := 10; time.Since(began) < 5*time.Second; n++ {
			sent = append(sent, r.publish(command(n, fmt.Sprint(busy), "add", ticket))...)
			ticket = id(n)
			time.Sleep(30 * time.Millisecond)
		}
		r.await(sent)
		m.mu.Lock()
		defer m.mu.Unlock()
		require.Greater(t, m.worked[quiet], 3*time.Second)
	})
}

// Promise 5: however many are due at once, they are settled within 2 s of their lane's working time.
func TestManyThatAreDueAtOnceExpireInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const all = 8000
		m := newMemory(1)
		for n := range all {
			env := command(n, fmt.Sprint(n%100), "add", id(20_000+n))
			m.parked = append(m.parked, &aggregate.Waiting{Envelope: env, Seq: uint64(n), Deadline: time.Second})
			m.known[env.ID] = aggregate.Fact{Standing: aggregate.Parked, Stream: env.Stream, Hash: env.Hash}
		}
		r := start(t, m, func(c *worker.Config) { c.Tick = 0 })
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.NoError(t, r.worker.Stop())
		require.Len(t, m.log, all)
	})
}
