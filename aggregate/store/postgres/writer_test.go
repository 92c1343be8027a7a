package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/commands"
)

const lanes = 4

// bench is a schema of its own with a connection to hold locks in it, and another one to look at sessions
// with: within a transaction their list does not change.
type bench struct {
	t      testing.TB
	config postgres.Config
	conn   *pgx.Conn
	watch  *pgx.Conn
}

func newBench(t testing.TB) *bench {
	t.Helper()
	schema := postgrestest.Schema(t)
	b := &bench{t: t, conn: postgrestest.Connect(t), watch: postgrestest.Connect(t),
		config: postgres.Config{URL: postgrestest.URL(), Schema: schema, Lanes: lanes, Migrate: true}}
	for _, conn := range []*pgx.Conn{b.conn, b.watch} {
		_, err := conn.Exec(context.Background(), "set search_path to "+schema)
		require.NoError(t, err)
	}
	return b
}

func (b *bench) open() *postgres.Store { return open(b.t, b.config) }

// through opens a store that reaches the server by way of the proxy.
func (b *bench) through(p *proxy) *postgres.Store {
	config := b.config
	config.URL = p.url()
	return open(b.t, config)
}

func (b *bench) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.conn.Exec(context.Background(), sql, args...)
	require.NoError(b.t, err)
}

func (b *bench) count(sql string, args ...any) (n int) {
	b.t.Helper()
	require.NoError(b.t, b.watch.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

// await asks the server until the query counts as many, or more.
func (b *bench) await(want int, sql string, args ...any) {
	b.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); b.count(sql, args...) < want; {
		require.True(b.t, time.Now().Before(deadline), "still not %d: %s", want, sql)
	}
}

// awaitWaiting waits until as many sessions of the store wait for a lock.
func (b *bench) awaitWaiting(want int) {
	b.t.Helper()
	b.await(want, `select count(*) from pg_stat_activity where application_name = $1 and wait_event_type = 'Lock'`,
		"doorman "+b.config.Schema)
}

// writer commits on one lane.
type writer struct {
	t      testing.TB
	store  *postgres.Store
	lane   int
	claims []store.Claim
}

func newWriter(t testing.TB, s *postgres.Store, lane int) *writer {
	t.Helper()
	claims, err := s.Acquire(context.Background(), []int{lane}, t.Name())
	require.NoError(t, err)
	return &writer{t: t, store: s, lane: lane, claims: claims}
}

// streamOn finds the n-th stream of a lane.
func streamOn(lane, n int) commands.Stream {
	for i := 0; ; i++ {
		if s := (commands.Stream{Type: "order", ID: fmt.Sprintf("%d", i)}); s.Lane(lanes) == lane {
			if n == 0 {
				return s
			}
			n--
		}
	}
}

// landings is a batch of one landing with an event on each of the lane's first n streams, under the ids
// given, or fresh ones.
func (w *writer) landings(n int, ids ...commands.ID) *store.Batch {
	w.t.Helper()
	batch, err := w.tryLandings(n, ids...)
	require.NoError(w.t, err)
	return batch
}

func (w *writer) tryLandings(n int, ids ...commands.ID) (*store.Batch, error) {
	streams := make([]commands.Stream, n)
	for i := range streams {
		streams[i] = streamOn(w.lane, i)
	}
	records, err := w.store.Load(context.Background(), streams)
	if err != nil {
		return nil, err
	}
	batch := &store.Batch{Claims: slices.Clone(w.claims)}
	for i, r := range records {
		o := w.outcome(r.Stream)
		if i < len(ids) {
			o.ID = ids[i]
		}
		o.Version, o.Events = r.Head.Version+1, []commands.Event{{Type: "line_added", Schema: 1, Data: []byte(`{}`)}}
		batch.Outcomes = append(batch.Outcomes, o)
		batch.Heads = append(batch.Heads, &store.HeadChange{Stream: r.Stream, Handle: r.Handle,
			Head: aggregate.Head{Version: o.Version, Action: o.ID, At: o.At}})
	}
	return batch, nil
}

func (w *writer) outcome(stream commands.Stream) *commands.Outcome {
	return &commands.Outcome{ID: commands.NewID(), Stream: stream, Type: "add_line", Ticket: commands.Genesis,
		At: time.Now().UTC().Truncate(time.Microsecond)}
}

func (w *writer) commit(batch *store.Batch) (store.Range, error) {
	return w.store.Commit(context.Background(), batch)
}

// result is what became of a commit that was begun.
type result struct {
	covered store.Range
	err     error
}

// begin commits in the background.
func (w *writer) begin(batch *store.Batch) chan result {
	done := make(chan result, 1)
	go func() {
		covered, err := w.commit(batch)
		done <- result{covered, err}
	}()
	return done
}

func standing(t testing.TB, s *postgres.Store, id commands.ID) aggregate.Standing {
	t.Helper()
	facts, err := s.Lookup(context.Background(), []commands.ID{id})
	require.NoError(t, err)
	return facts[0].Standing
}
