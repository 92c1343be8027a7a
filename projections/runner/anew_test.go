package runner_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/projections/runner"
)

// What is damaged is put aside by who meets it, which may be a reader: the runner fills the empty one that took
// its place, though nothing lands any more.
func TestAProjectionThatWasPutAsideIsFilledAnewThoughNothingLands(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, s := newLedger(300), &sum{}
		r := start(t, config(l, s))
		pass(time.Minute)
		requireSum(t, s, 300)
		s.stand(runner.Checkpoint{})
		pass(2 * time.Second)
		requireSum(t, s, 300)
		require.Zero(t, r.WholeAt())
		require.NoError(t, r.Stop())
	})
}

// DESIGN section 3, GET /v1/streams: a part is not told as if it were all.
func TestAProjectionIsToldFromWhereOnItIsWhole(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at   runner.Checkpoint
		want []uint64 // where it is whole, and how much was there when that was told
	}{
		"never filled":         {runner.Checkpoint{}, []uint64{300, 0}},
		"of another history":   {runner.Checkpoint{Epoch: "e0", Position: 200}, []uint64{300, 200}},
		"beyond the log's end": {runner.Checkpoint{Epoch: "e1", Position: 301}, []uint64{300, 301}},
		"far behind":           {runner.Checkpoint{Epoch: "e1", Position: 199}, []uint64{300, 199}},
		"a little behind":      {runner.Checkpoint{Epoch: "e1", Position: 200}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, s := newLedger(300), &sum{}
				s.stand(c.at)
				config := config(l, s)
				config.FarBehind, config.MaxOutcomes, config.Every = 100, 50, time.Second
				r := start(t, config)
				synctest.Wait()
				require.Equal(t, c.want, s.whole)
				if c.want != nil {
					require.EqualValues(t, 300, r.WholeAt(), "while it is being filled")
				}
				pass(time.Minute)
				requireSum(t, s, 300)
				require.Zero(t, r.WholeAt())
				require.NoError(t, r.Stop())
			})
		})
	}
}

func TestWhatItCannotGoOnForIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, s := newLedger(3), &sum{}
		broken := errors.New("broken")
		var trouble error
		s.trouble = func() (error, bool) { return trouble, false }
		r := start(t, config(l, s))
		pass(time.Second)
		require.NoError(t, r.Trouble())
		s.mu.Lock()
		trouble = broken
		s.mu.Unlock()
		l.grow(1)
		pass(time.Minute)
		require.ErrorIs(t, r.Trouble(), broken)
		s.mu.Lock()
		trouble = nil
		s.mu.Unlock()
		pass(time.Minute)
		require.NoError(t, r.Trouble())
		require.NoError(t, r.Stop())
	})
}
