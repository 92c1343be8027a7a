package postgres_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// TestSessionsAreKilledWhileTheyCommit has the server end all sessions of a store again and again, each
// time just as a batch is on its way. After each error the writer does what the contract says, and in the
// end the log is what it was told, or found out, to be there.
func TestSessionsAreKilledWhileTheyCommit(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open()
	w := newWriter(t, s, 0)
	sent, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for range sent {
			_, err := b.conn.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1`,
				"doorman "+b.config.Schema)
			if err != nil {
				t.Error(err)
			}
		}
	}()
	stop := sync.OnceFunc(func() {
		close(sent)
		<-stopped
	})
	defer stop()
	var want []commands.ID
	for range 60 {
		batch := w.patiently(3)
		sent <- struct{}{}
		_, err := w.commit(batch)
		landed := err == nil
		if errors.Is(err, store.ErrFateUnknown) {
			landed = w.findOut(batch)
		} else if err != nil {
			require.ErrorIs(t, err, store.ErrUnavailable)
		}
		if landed {
			for _, o := range batch.Outcomes {
				want = append(want, o.ID)
			}
		}
	}
	stop()

	page, err := s.Log(t.Context(), 0, 1000)
	for errors.Is(err, store.ErrUnavailable) {
		page, err = s.Log(t.Context(), 0, 1000)
	}
	require.NoError(t, err)
	var got []commands.ID
	for i, o := range page {
		require.EqualValues(t, i+1, o.Position)
		got = append(got, o.ID)
	}
	require.Equal(t, want, got)
}

// patiently makes a batch as soon as the store answers.
func (w *writer) patiently(n int) *store.Batch {
	for {
		batch, err := w.tryLandings(n)
		if err == nil {
			return batch
		}
		require.ErrorIs(w.t, err, store.ErrUnavailable)
	}
}

// findOut acquires the lane again and looks whether a batch is there, which it is as a whole or not at all.
func (w *writer) findOut(batch *store.Batch) bool {
	for {
		claims, err := w.store.Acquire(w.t.Context(), []int{w.lane}, "again")
		if err == nil {
			w.claims = claims
			var facts []aggregate.Fact
			first, last := batch.Outcomes[0], batch.Outcomes[len(batch.Outcomes)-1]
			if facts, err = w.store.Lookup(w.t.Context(), []commands.ID{first.ID, last.ID}); err == nil {
				require.Equal(w.t, facts[0].Standing, facts[1].Standing)
				return facts[0].Standing == aggregate.Landed
			}
		}
		require.ErrorIs(w.t, err, store.ErrUnavailable)
	}
}
