package postgres_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// The connection breaks around COMMIT. What came of it is read, never guessed: whoever has acquired the
// lane again knows that nothing of it is still under way.

func TestACommitWhoseReplyIsLostIsFoundLanded(t *testing.T) {
	t.Parallel()
	b, p := newBench(t), newProxy(t)
	s := b.through(p)
	w := newWriter(t, s, 0)
	committing := false
	p.onRequest(func(m message) fate {
		if m.isCommit() {
			committing = true
			p.onReply(func(m message) fate {
				if m.kind == 'Z' { // ready for the next query: it has committed
					return cut
				}
				return swallow
			})
		}
		return pass
	})
	batch := w.landings(2)
	_, err := w.commit(batch)
	require.True(t, committing)
	require.ErrorIs(t, err, store.ErrFateUnknown)

	p.onRequest(nil)
	p.onReply(nil)
	again := newWriter(t, s, 0)
	for _, o := range batch.Outcomes {
		require.Equal(t, aggregate.Landed, standing(t, s, o.ID))
	}
	_, err = again.commit(again.landings(2))
	require.NoError(t, err)
	readThrough(t, s)
}

func TestACommitThatIsKilledUnheardIsFoundMissing(t *testing.T) {
	t.Parallel()
	b, p := newBench(t), newProxy(t)
	s := b.through(p)
	w := newWriter(t, s, 0)
	p.onRequest(func(m message) fate {
		if m.isCommit() {
			p.onReply(func(message) fate { return swallow })
		}
		return pass
	})
	b.exec("begin")
	b.exec("select from counter for update")
	batch := w.landings(2)
	committing := w.begin(batch)
	b.awaitWaiting(1)
	b.exec(endWaiting, "doorman "+b.config.Schema)
	require.ErrorIs(t, (<-committing).err, store.ErrFateUnknown)
	b.exec("rollback")

	p.onRequest(nil)
	p.onReply(nil)
	again := newWriter(t, s, 0)
	requireNothingOf(t, s, batch)
	again.landUnderSameIDs(batch)
}

const endWaiting = `select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1 and wait_event_type = 'Lock'`

// When the server itself says that it gave up, nothing was committed.
func TestACommitThatIsKilledAndSaysSoIsUnavailable(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open()
	w := newWriter(t, s, 0)
	b.exec("begin")
	b.exec("select from counter for update")
	batch := w.landings(2)
	committing := w.begin(batch)
	b.awaitWaiting(1)
	b.exec(endWaiting, "doorman "+b.config.Schema)
	require.ErrorIs(t, (<-committing).err, store.ErrUnavailable)
	b.exec("rollback")
	requireNothingOf(t, s, batch)
	w.landUnderSameIDs(batch)
}

// The server was told everything but to commit, and ended the session then: from here that looks like a
// commit whose reply was lost.
func TestACommitThatIsKilledAtTheEndIsOfUnknownFate(t *testing.T) {
	t.Parallel()
	b, p := newBench(t), newProxy(t)
	s := b.through(p)
	w := newWriter(t, s, 0)
	batch := w.landings(1)
	release := holdSync(t, b, p, batch)
	defer release()
	committing := w.begin(batch)
	b.await(1, `select count(*) from pg_stat_activity where application_name = $1 and backend_xid is not null
	            and wait_event = 'ClientRead'`, "doorman "+b.config.Schema)
	b.exec(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1 and backend_xid is not null`,
		"doorman "+b.config.Schema)
	require.ErrorIs(t, (<-committing).err, store.ErrFateUnknown)
	requireNothingOf(t, b.open(), batch)
}

// A caller that gives up while the commit is under way has to ask what came of it.
func TestACommitWhoseCallerGivesUpIsOfUnknownFate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open()
	w := newWriter(t, s, 0)
	b.exec("begin")
	b.exec("select from counter for update")
	ctx, cancel := context.WithCancel(context.Background())
	batch := w.landings(1)
	done := make(chan error, 1)
	go func() {
		_, err := s.Commit(ctx, batch)
		done <- err
	}()
	b.awaitWaiting(1)
	cancel()
	require.ErrorIs(t, <-done, store.ErrFateUnknown)
	b.exec("rollback")
	newWriter(t, s, 0)
	require.Contains(t, []aggregate.Standing{aggregate.Landed, aggregate.Unheard}, standing(t, s, batch.Outcomes[0].ID))

	_, err := s.Commit(ctx, &store.Batch{Claims: w.claims})
	require.ErrorIs(t, err, store.ErrUnavailable, "nothing was sent")
}

// landUnderSameIDs lands a batch's commands anew, which shows that nothing of them was kept.
func (w *writer) landUnderSameIDs(batch *store.Batch) {
	w.t.Helper()
	var ids []commands.ID
	for _, o := range batch.Outcomes {
		ids = append(ids, o.ID)
	}
	covered, err := w.commit(w.landings(len(ids), ids...))
	require.NoError(w.t, err)
	require.EqualValues(w.t, 1, covered.First)
}
