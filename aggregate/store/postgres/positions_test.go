package postgres_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
)

// step is a place inside a commit at which it can be held.
type step struct {
	name string
	hold func(t *testing.T, b *bench, p *proxy, batch *store.Batch) (release func())
	// counted: the commit has its positions, so that everybody else waits for it.
	counted bool
}

func locking(lock string) func(*testing.T, *bench, *proxy, *store.Batch) func() {
	return func(_ *testing.T, b *bench, _ *proxy, batch *store.Batch) func() {
		b.exec("begin")
		if lock != "" {
			b.exec(lock)
		} else {
			// A row with the same id, whose fate the commit has to wait for.
			b.exec("insert into log (position, version, quiet, id, name, body) values (1000000, 1, 0, $1, '', '')",
				batch.Outcomes[0].ID.String())
		}
		return func() { b.exec("rollback") }
	}
}

// holdSync keeps back the last message of a commit.
func holdSync(_ *testing.T, _ *bench, p *proxy, _ *store.Batch) func() {
	released := make(chan struct{})
	committing := false
	p.onRequest(func(m message) fate {
		if m.isCommit() {
			committing = true
		} else if committing && m.kind == 'S' {
			<-released
		}
		return pass
	})
	return func() { close(released) }
}

var steps = []step{
	{"at the fence", locking("select from lanes where lane = 0 for update"), false},
	{"at a new stream", locking("insert into streams (stream, state_version, name) values (0, 0, '" + streamOn(0, 0).String() + "')"), false},
	{"at the counter", locking("select from counter for update"), false},
	{"in the log", locking(""), true},
	{"before it commits", holdSync, true},
}

// TestPositionsAreDenseWhileACommitIsHeld: DESIGN section 5, promise 6.
func TestPositionsAreDenseWhileACommitIsHeld(t *testing.T) {
	t.Parallel()
	for _, held := range steps {
		t.Run(held.name, func(t *testing.T) {
			t.Parallel()
			b, p := newBench(t), newProxy(t)
			direct := b.open()
			slow, quick := newWriter(t, b.through(p), 0), newWriter(t, direct, 1)
			_, err := quick.commit(quick.landings(3))
			require.NoError(t, err)
			tail := follow(direct, 3+2+3)

			batch := slow.landings(2)
			release := held.hold(t, b, p, batch)
			first := slow.begin(batch)
			b.await(1, `select count(*) from pg_stat_activity where application_name = $1 and backend_xid is not null
			            and wait_event_type in ('Lock', 'Client')`, "doorman "+b.config.Schema)
			second := quick.begin(quick.landings(3))
			if held.counted || held.name == "at the counter" {
				b.awaitWaiting(1)
			} else {
				got := <-second
				require.NoError(t, got.err)
				require.Equal(t, store.Range{First: 4, Last: 6}, got.covered)
				second <- got
			}
			readThrough(t, direct)

			release()
			one, two := <-first, <-second
			require.NoError(t, one.err)
			require.NoError(t, two.err)
			if held.counted {
				require.Equal(t, store.Range{First: 4, Last: 5}, one.covered)
				require.Equal(t, store.Range{First: 6, Last: 8}, two.covered)
			}
			require.NoError(t, <-tail)
			readThrough(t, direct)
		})
	}
}

// follow tails the log until it has seen as many outcomes, and fails when one was skipped.
func follow(s *postgres.Store, want int) <-chan error {
	done := make(chan error, 1)
	go func() {
		seen := uint64(0)
		for seen < uint64(want) {
			page, err := s.Log(context.Background(), seen, 2)
			if err != nil {
				done <- err
				return
			}
			for _, o := range page {
				if seen++; o.Position != seen {
					done <- &skipped{seen, o.Position}
					return
				}
			}
		}
		done <- nil
	}()
	return done
}

type skipped struct{ want, got uint64 }

func (e *skipped) Error() string {
	return fmt.Sprintf("position %d comes where %d was due", e.got, e.want)
}

// readThrough reads everything there is, which must not wait for anybody, and checks that it is dense.
func readThrough(t *testing.T, s *postgres.Store) {
	t.Helper()
	end, err := s.End(context.Background())
	require.NoError(t, err)
	page, err := s.Log(context.Background(), 0, 1000)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(page), int(end))
	for i, o := range page {
		require.EqualValues(t, i+1, o.Position)
		if !o.Landed() {
			continue
		}
		found, err := s.Changes(context.Background(), o.Stream, o.Version-1, 1)
		require.NoError(t, err)
		require.Equal(t, o.Position, found[0].Position)
	}
}
