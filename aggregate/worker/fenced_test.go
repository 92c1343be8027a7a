package worker_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/worker"
	"github.com/ticketed/doorman/commands"
)

// startFenced starts a worker that leaves it to others to take its lanes again, and counts how often it says so.
func startFenced(t *testing.T, m *memory, change func(*worker.Config)) (*rig, *atomic.Int32) {
	told := &atomic.Int32{}
	return start(t, m, func(c *worker.Config) {
		c.Fenced = func() { told.Add(1) }
		if change != nil {
			change(c)
		}
	}), told
}

func (m *memory) epoch(lane int) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.epochs[lane]
}

// DESIGN section 7: a lane that was taken over is not snatched back.
func TestAFencedWorkerLeavesItsLanesAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(1)
		r, told := startFenced(t, m, nil)
		r.send(command(1, "a", "add", commands.Genesis))
		require.Zero(t, told.Load())
		_, err := m.Acquire(t.Context(), []int{0}, "another")
		require.NoError(t, err)
		confirmed := r.publish(command(2, "a", "add", id(1)))
		synctest.Wait()
		require.EqualValues(t, 1, told.Load())
		require.Error(t, r.worker.Ready())
		more := r.publish(command(3, "a", "add", id(2)))
		time.Sleep(time.Minute)
		require.EqualValues(t, 1, told.Load(), "it is told once")
		require.EqualValues(t, 2, m.epoch(0), "the other one's claim holds")
		require.NoError(t, r.worker.Stop())
		require.Empty(t, confirmed[0], "not acknowledged")
		require.Empty(t, more[0], "not acknowledged")
		require.Empty(t, r.outcome(id(2)))
	})
}

// While the store was away somebody else may have taken the lanes over.
func TestAWorkerDoesNotTakeItsLanesAgainAfterAnOutage(t *testing.T) {
	t.Parallel()
	away := fmt.Errorf("%w: the server is gone", store.ErrUnavailable)
	for name, begin := range map[string]func(*memory){
		"reading": func(m *memory) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.reading = func() error { m.reading = nil; return away }
		},
		"committing": func(m *memory) {
			m.before = func(*store.Batch) (error, bool) { m.before = nil; return away, false }
		},
		"fate unknown": func(m *memory) {
			m.before = func(*store.Batch) (error, bool) { m.before = nil; return store.ErrFateUnknown, true }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(1)
				r, told := startFenced(t, m, nil)
				begin(m)
				confirmed := r.publish(command(1, "a", "add", commands.Genesis))
				time.Sleep(time.Minute)
				require.EqualValues(t, 1, told.Load())
				require.EqualValues(t, 1, m.epoch(0), "not taken again")
				require.Empty(t, confirmed[0], "not acknowledged")
			})
		})
	}
}

// Lanes that were never held are asked for until the store answers.
func TestAWorkerThatIsToldWhenFencedStillWaitsForItsFirstLanes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(1)
		tries := 0
		m.reading = func() error {
			if tries++; tries < 5 {
				return store.ErrUnavailable
			}
			return nil
		}
		r, told := startFenced(t, m, nil)
		r.send(command(1, "a", "add", commands.Genesis))
		require.Zero(t, told.Load())
	})
}

// DESIGN section 2: endless work in aggregate code ends as failed, never in an endless retry. Another worker
// would have to find out anew which command it is.
func TestEndlessCodeEndsAsFailedThoughTheLanesAreTakenAgainForIt(t *testing.T) {
	t.Parallel()
	r, told := startFenced(t, newMemory(1), func(c *worker.Config) { c.CodeTimeout = 50 * time.Millisecond })
	r.send(command(1, "a", "endless", commands.Genesis))
	require.Equal(t, "failed", r.outcome(id(1)))
	require.Zero(t, told.Load())
}

// A desk that took over from one caught in endless code learns from its commit that a lane is somebody else's.
func TestALaneThatIsTakenWhileCodeDoesNotEndIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(1)
		committing := make(chan struct{})
		m.before = func(*store.Batch) (error, bool) { <-committing; return nil, false }
		r, told := startFenced(t, m, func(c *worker.Config) { c.CodeTimeout = 50 * time.Millisecond })
		r.publish(command(1, "a", "add", commands.Genesis))
		synctest.Wait()
		r.publish(command(2, "b", "endless", commands.Genesis))
		time.Sleep(time.Second)
		_, err := m.Acquire(t.Context(), []int{0}, "another")
		require.NoError(t, err)
		close(committing)
		time.Sleep(time.Minute)
		require.EqualValues(t, 1, told.Load())
		require.EqualValues(t, 2, m.epoch(0), "the other one's claim holds")
	})
}
