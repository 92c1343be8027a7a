package runner_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/projections/runner"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(l *ledger, p runner.Projection) runner.Config {
	return runner.Config{Log: l, Epoch: "e1", End: l.End, Projection: p}
}

func start(t *testing.T, c runner.Config) *runner.Runner {
	t.Helper()
	r, err := runner.New(c)
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context()))
	return r
}

// pass lets time pass in a bubble, and what is due then be done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func requireSum(t *testing.T, s *sum, upTo uint64) {
	t.Helper()
	at, total, _ := s.told()
	require.Equal(t, runner.Checkpoint{Epoch: "e1", Position: upTo}, at)
	require.Equal(t, upTo*(upTo+1)/2, total, "each outcome once")
}

func TestEverythingMissingIsToldAtOnce(t *testing.T) {
	t.Parallel()
	_, err := runner.New(runner.Config{})
	for _, part := range []string{"Log", "Epoch", "End", "Projection"} {
		require.ErrorContains(t, err, part+" is not given")
	}
}

func TestTheLogIsFollowedFromItsBeginning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, s := newLedger(4500), &sum{}
		c := config(l, s)
		c.MaxOutcomes = 2000
		r := start(t, c)
		require.NoError(t, r.Start(t.Context()), "twice is once")
		pass(time.Second)
		requireSum(t, s, 4500)
		_, _, batches := s.told()
		require.Equal(t, []int{2000, 2000, 500}, batches)
		require.EqualValues(t, 4500, r.Applied())
		require.Zero(t, r.Behind(4500))
		require.EqualValues(t, 7, r.Behind(4507))
		require.Zero(t, r.Behind(4000), "an end heard of late")
		require.NoError(t, r.Stop())
		require.NoError(t, r.Stop())
		require.NoError(t, r.Start(t.Context()))
		l.grow(1)
		pass(time.Hour)
		requireSum(t, s, 4500)
	})
}

// What is at the end of the log is applied at once; what follows is folded together, so that those who land
// it keep the processor.
func TestBatchesAreApartInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, s := newLedger(0), &sum{}
		r := start(t, config(l, s))
		pass(time.Minute)
		l.grow(1)
		synctest.Wait()
		requireSum(t, s, 1)
		for range 1000 { // a second of hot traffic
			pass(time.Millisecond)
			l.grow(3)
		}
		pass(time.Second)
		requireSum(t, s, 3001)
		_, _, batches := s.told()
		require.LessOrEqual(t, len(batches), 23)
		require.Less(t, l.read(), 200, "an idle log is not polled")
		before := len(batches)
		for range 1000 { // a second of much more
			pass(time.Millisecond)
			l.grow(28)
		}
		pass(time.Second)
		_, _, batches = s.told()
		require.LessOrEqual(t, len(batches)-before, 8)
		require.NoError(t, r.Stop())
	})
}

func TestABatchIsBoundInBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, s := newLedger(1000), &sum{}
		c := config(l, s)
		c.MaxBytes = 2500 // of ten each
		r := start(t, c)
		pass(time.Second)
		requireSum(t, s, 1000)
		_, _, batches := s.told()
		require.Equal(t, []int{300, 300, 300, 100}, batches, "up to the end of the page that exceeds it")
		require.NoError(t, r.Stop())
	})
}

// An outcome is applied once, however often batches fail before or after they were applied.
func TestWhateverFailsIsGoneOnFromTheCheckpoint(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test's
			l, s := newLedger(0), &sum{}
			fate := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // a test's
			s.trouble = func() (error, bool) {
				switch fate.IntN(4) {
				case 0:
					return store.ErrUnavailable, false
				case 1:
					return store.ErrUnavailable, true
				case 2:
					return nil, false
				}
				return errors.New("something else"), fate.IntN(2) == 0
			}
			c := config(l, s)
			c.MaxOutcomes = 1 + random.IntN(50)
			r := start(t, c)
			for range 30 {
				l.grow(random.IntN(100))
				if random.IntN(3) == 0 { // killed and started again
					require.NoError(t, r.Stop())
					r = start(t, c)
				}
				pass(time.Duration(random.IntN(2000)) * time.Millisecond)
			}
			pass(time.Hour)
			requireSum(t, s, uint64(len(l.outcomes)))
			require.Zero(t, r.Behind(uint64(len(l.outcomes))))
			require.NoError(t, r.Stop())
			require.Equal(t, 1, s.resets, "to begin with")
		})
	}
}

func TestSeveralRunnersApplyEachOutcomeOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, s := newLedger(0), &sum{}
		var all []*runner.Runner
		for range 3 {
			all = append(all, start(t, config(l, s)))
		}
		for range 500 {
			l.grow(5)
			pass(10 * time.Millisecond)
		}
		pass(2 * time.Second)
		requireSum(t, s, 2500)
		for _, r := range all {
			require.NoError(t, r.Stop())
		}
	})
}

func TestALogOfAnotherHistoryMakesTheProjectionAnew(t *testing.T) {
	t.Parallel()
	for name, was := range map[string]runner.Checkpoint{
		"another epoch": {Epoch: "e0", Position: 5}, "beyond the end": {Epoch: "e1", Position: 11},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, s := newLedger(10), &sum{at: was, total: 77}
				var lines bytes.Buffer
				c := config(l, s)
				c.Logger = slog.New(slog.NewTextHandler(&lines, nil))
				r := start(t, c)
				pass(time.Second)
				requireSum(t, s, 10)
				require.NoError(t, r.Stop())
				require.Contains(t, lines.String(), "another history")
				require.Contains(t, lines.String(), fmt.Sprintf("was_epoch=%s was_position=%d", was.Epoch, was.Position))
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		l, s := newLedger(10), &sum{at: runner.Checkpoint{Epoch: "e1", Position: 10}, total: 55}
		r := start(t, config(l, s))
		pass(time.Second)
		requireSum(t, s, 10)
		require.Zero(t, s.resets, "one at the very end goes on")
		require.NoError(t, r.Stop())
	})
}

// DESIGN section 5, promise 6: positions are dense. A projection does not go on over a hole.
func TestAHoleInTheLogIsNotSteppedOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, s := newLedger(10), &sum{}
		l.shift(7, 1)
		r := start(t, config(l, s))
		pass(time.Minute)
		_, total, _ := s.told()
		require.Zero(t, total)
		l.shift(7, -1)
		pass(time.Minute)
		requireSum(t, s, 10)
		require.NoError(t, r.Stop())
	})
}

func TestTroubleIsToldOnceAndTriedEverMoreSeldom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, s := newLedger(10), &sum{}
		var lines bytes.Buffer
		c := config(l, s)
		c.Logger = slog.New(slog.NewTextHandler(&lines, nil))
		l.fail(store.ErrUnavailable)
		r := start(t, c)
		pass(time.Hour)
		require.InDelta(t, 3600/5, l.read(), 10)
		require.Equal(t, 1, strings.Count(lines.String(), "cannot go on"), lines.String())
		l.fail(nil)
		pass(6 * time.Second)
		requireSum(t, s, 10)
		l.fail(store.ErrUnavailable)
		l.grow(1)
		pass(time.Minute)
		require.Equal(t, 2, strings.Count(lines.String(), "cannot go on"), "new trouble is told anew")
		require.NoError(t, r.Stop())
	})
}

func TestStopBreaksOffWhateverIsUnderWay(t *testing.T) {
	t.Parallel()
	l := newLedger(10)
	hanging := &hung{entered: make(chan struct{})}
	r := start(t, config(l, hanging))
	<-hanging.entered
	require.NoError(t, r.Stop())
}

// hung is a projection whose store does not answer.
type hung struct {
	sum
	entered chan struct{}
}

func (*hung) Checkpoint(context.Context) (runner.Checkpoint, error) {
	return runner.Checkpoint{Epoch: "e1"}, nil
}

func (h *hung) Apply(ctx context.Context, _ []*commands.Outcome, _ runner.Checkpoint) error {
	close(h.entered)
	<-ctx.Done()
	return ctx.Err()
}
