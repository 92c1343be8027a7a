package postgres_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// DESIGN section 7: a worker that froze and wakes up commits nothing.

func TestAcquireWaitsForACommitThatTheServerIsCarryingOut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open()
	old := newWriter(t, s, 0)
	b.exec("begin")
	b.exec("select from counter for update")
	batch := old.landings(1)
	committing := old.begin(batch)
	b.awaitWaiting(1)

	type taken struct {
		claims []store.Claim
		err    error
	}
	acquiring := make(chan taken, 1)
	go func() {
		claims, err := s.Acquire(context.Background(), []int{0}, "next")
		acquiring <- taken{claims, err}
	}()
	b.awaitWaiting(2)
	b.exec("rollback")

	require.NoError(t, (<-committing).err)
	next := <-acquiring
	require.NoError(t, next.err)
	require.Equal(t, old.claims[0].Epoch+1, next.claims[0].Epoch)
	require.Equal(t, aggregate.Landed, standing(t, s, batch.Outcomes[0].ID))
	_, err := old.commit(old.landings(1))
	require.ErrorIs(t, err, store.ErrFenced)
}

// The transaction was opened before the lane was taken over, but had not reached the fence.
func TestACommitThatReachesTheFenceLateIsFenced(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open()
	old := newWriter(t, s, 0)
	// Somebody else, who has the lane's row when the commit comes to it, takes the lane over.
	b.exec("begin")
	b.exec("update lanes set epoch = epoch + 1 where lane = 0")
	batch := old.landings(2)
	committing := old.begin(batch)
	b.awaitWaiting(1)
	b.exec("commit")
	require.ErrorIs(t, (<-committing).err, store.ErrFenced)
	requireNothingOf(t, s, batch)
}

// The client froze while it sent the batch: the server has not got all of it.
func TestACommitThatArrivesAfterTheLaneWasTakenOverIsFenced(t *testing.T) {
	t.Parallel()
	b, p := newBench(t), newProxy(t)
	s := b.open()
	old := newWriter(t, b.through(p), 0)
	frozen, woken := make(chan struct{}), make(chan struct{})
	p.onRequest(func(m message) fate {
		if m.isCommit() {
			close(frozen)
			<-woken
		}
		return pass
	})
	batch := old.landings(2)
	committing := old.begin(batch)
	<-frozen

	b.exec("select from lanes where lane = 0 for update nowait") // nobody holds it
	next := newWriter(t, s, 0)
	_, err := next.commit(next.landings(1))
	require.NoError(t, err)
	close(woken)
	require.ErrorIs(t, (<-committing).err, store.ErrFenced)
	requireNothingOf(t, s, &store.Batch{Outcomes: batch.Outcomes, Heads: batch.Heads[1:]})
}

// The client froze just before the last few bytes of a commit, so that the server holds everything and
// waits: no time-out of the server covers that before Postgres 17.
func TestAcquireEndsACommitWhoseClientFroze(t *testing.T) {
	t.Parallel()
	b, p := newBench(t), newProxy(t)
	s := b.open()
	old, other := newWriter(t, b.through(p), 0), newWriter(t, s, 1)
	batch := old.landings(2)
	thaw := holdSync(t, b, p, batch)
	defer thaw()
	committing := old.begin(batch)
	b.await(1, `select count(*) from pg_stat_activity where application_name = $1 and backend_xid is not null
	            and wait_event = 'ClientRead'`, "doorman "+b.config.Schema)
	waiting := other.begin(other.landings(1))
	b.awaitWaiting(1)

	next := newWriter(t, s, 0)
	require.NoError(t, (<-waiting).err, "the other lane goes on too")
	requireNothingOf(t, s, batch)
	_, err := next.commit(next.landings(2))
	require.NoError(t, err)
	require.ErrorIs(t, (<-committing).err, store.ErrFateUnknown)
}

func requireNothingOf(t *testing.T, s store.Store, batch *store.Batch) {
	t.Helper()
	for _, o := range batch.Outcomes {
		facts, err := s.Lookup(context.Background(), []commands.ID{o.ID})
		require.NoError(t, err)
		require.Equal(t, aggregate.Unheard, facts[0].Standing)
	}
	for _, h := range batch.Heads {
		_, ok, err := s.Head(context.Background(), h.Stream)
		require.NoError(t, err)
		require.False(t, ok)
	}
}
