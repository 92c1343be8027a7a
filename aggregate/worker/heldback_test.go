package worker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/worker"
	"github.com/ticketed/doorman/commands"
)

// Promise 4: predecessor_missing is true only if the predecessor had not landed by the deadline. It may be in the
// hands of a worker that froze, which the bus gives back a while after this one began.
func TestNothingExpiresForWantOfWhatAnotherWorkerHoldsBack(t *testing.T) {
	t.Parallel()
	const heldBack = 15 * time.Second
	for name, comes := range map[string]bool{"it comes": true, "it never does": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(1)
				r := start(t, m, nil)
				r.send(command(2, "a", "add", id(1)))
				r.stop()
				for _, w := range m.parked {
					m.worked[0] = w.Deadline - time.Second
				}
				r = start(t, m, func(c *worker.Config) { c.HeldBack = heldBack })
				time.Sleep(heldBack - 100*time.Millisecond)
				require.Empty(t, r.outcome(id(2)))
				if comes {
					r.send(command(1, "a", "add", commands.Genesis))
					require.Equal(t, "landed@2", r.outcome(id(2)))
					return
				}
				time.Sleep(2 * time.Second)
				require.Equal(t, "predecessor_missing", r.outcome(id(2)), "the clock goes on after that")
			})
		})
	}
}

// Once something has come on a lane, everything that was held back has: it comes first.
func TestALaneOnWhichSomethingCameIsWorked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(1)
		r := start(t, m, nil)
		r.send(command(2, "a", "add", id(1)))
		r.stop()
		for _, w := range m.parked {
			m.worked[0] = w.Deadline - time.Second
		}
		r = start(t, m, func(c *worker.Config) { c.HeldBack = 15 * time.Second })
		r.send(command(7, "b", "add", commands.Genesis))
		time.Sleep(2 * time.Second)
		require.Equal(t, "predecessor_missing", r.outcome(id(2)))
	})
}
