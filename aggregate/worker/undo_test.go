package worker_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// Promise 1: a command whose parking could not be committed was not parked, so it is no repeat of itself
// when it is judged again.
func TestACommandIsParkedThoughTheFirstCommitOfItFails(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]error{
		"batch": errors.New("this batch cannot be stored"), "id known": store.ErrIDKnown, "fenced": store.ErrFenced,
		"fate unknown": store.ErrFateUnknown, "unavailable": store.ErrUnavailable,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMemory(4)
			var failed atomic.Bool
			m.before = func(b *store.Batch) (error, bool) {
				if len(b.Park) > 0 && failed.CompareAndSwap(false, true) {
					return failure, false
				}
				return nil, false
			}
			r := start(t, m, nil)
			r.send(command(2, "a", "add", id(1)))
			require.True(t, failed.Load())
			m.mu.Lock()
			require.Len(t, m.parked, 1)
			m.mu.Unlock()
			r.send(command(1, "a", "add", commands.Genesis))
			require.Equal(t, "landed@2", r.outcome(id(2)))
		})
	}
}

// The clock of a lane never goes back, also when a tick came while its lanes were still being taken.
func TestTheClockOfALaneNeverGoesBack(t *testing.T) {
	t.Parallel()
	m := newMemory(1)
	var slow sync.Once
	m.reading = func() error {
		slow.Do(func() { <-time.After(50 * time.Millisecond) }) // ten ticks
		return nil
	}
	var back atomic.Bool
	m.before = func(b *store.Batch) (error, bool) {
		if b.Claims[0].Worked < 0 {
			back.Store(true)
		}
		return nil, false
	}
	r := start(t, m, nil)
	r.send(command(2, "a", "add", id(1)))
	require.False(t, back.Load())
}
