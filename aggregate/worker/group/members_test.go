package group_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/aggregate/worker/group"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long anything may take that is bound to happen, on a busy machine.
const patience = 2 * time.Minute

// clocked is a list whose clock stands still until a test puts it forward.
type clocked struct {
	group.Members
	pass   func(time.Duration)
	still  func(renew func()) // renews by that clock
	config postgres.Config    // of the list in a database
}

// lists are the implementations, all of which the tests below are run over.
var lists = map[string]func(*testing.T) clocked{
	"memory": func(*testing.T) clocked {
		var mu sync.Mutex
		now := time.Now()
		m := &group.Memory{Now: func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return now
		}}
		return clocked{Members: m, pass: func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			now = now.Add(d)
		}, still: func(renew func()) { renew() }}
	},
	"postgres": func(t *testing.T) clocked {
		config := postgresConfig(t)
		config.Timeout = patience
		members := openPostgres(t, config).Members()
		// This prepares the statement, which would wait for the table too.
		_, err := members.Renew(t.Context(), group.Member{ID: "nobody"})
		require.NoError(t, err)
		require.NoError(t, members.Leave(t.Context(), "nobody"))
		w := &stopwatch{t: t, conn: postgrestest.Connect(t), table: pgx.Identifier{config.Schema, "members"}.Sanitize()}
		require.NoError(t, w.conn.QueryRow(t.Context(), "select now()").Scan(&w.now))
		return clocked{Members: members, pass: w.pass, still: w.still, config: config}
	},
}

// stopwatch is the clock of a list in a database, whose own goes on. Who was seen after the stopwatch's time counts as seen at
// it. A renewal finds everybody seen as long before its own beginning as before the stopwatch's time.
type stopwatch struct {
	t     *testing.T
	conn  *pgx.Conn
	table string
	now   time.Time
}

func (w *stopwatch) pass(d time.Duration) {
	_, err := w.conn.Exec(w.t.Context(), "update "+w.table+" set seen = least(seen, $1) - $2::interval", w.now, d)
	require.NoError(w.t, err)
}

// still has a renewal that has begun wait for the table until that is so.
func (w *stopwatch) still(renew func()) {
	ctx := w.t.Context()
	tx, err := w.conn.Begin(ctx)
	require.NoError(w.t, err)
	_, err = tx.Exec(ctx, "lock table "+w.table)
	require.NoError(w.t, err)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		renew()
	}()
	var began time.Time
	require.Eventually(w.t, func() bool {
		_, err := tx.Exec(ctx, "select pg_stat_clear_snapshot()") // a transaction sees the same activity otherwise
		return err == nil && tx.QueryRow(ctx, `
select xact_start from pg_stat_activity where pg_backend_pid() = any(pg_blocking_pids(pid))`).Scan(&began) == nil
	}, patience, time.Millisecond)
	_, err = tx.Exec(ctx, "update "+w.table+" set seen = least(seen, $1) + ($2::timestamptz - $1)", w.now, began)
	require.NoError(w.t, err)
	require.NoError(w.t, tx.Commit(ctx))
	w.now = began
	<-renewed
}

func postgresConfig(t *testing.T) postgres.Config {
	return postgres.Config{URL: postgrestest.URL(), Schema: postgrestest.Schema(t), Migrate: true}
}

func openPostgres(t *testing.T, config postgres.Config) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(context.Background(), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func forEachList(t *testing.T, test func(t *testing.T, list clocked)) {
	t.Parallel()
	for name, open := range lists {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// renew is who lives, as names in order.
func (c clocked) renew(t *testing.T, id string) (names string) {
	t.Helper()
	var living []group.Member
	var err error
	c.still(func() { living, err = c.Renew(t.Context(), group.Member{ID: id, Name: "of " + id}) })
	require.NoError(t, err)
	for _, m := range living {
		require.Equal(t, "of "+m.ID, m.Name)
		names += m.ID
	}
	return names
}

func TestMembersAreListedInOrderOfJoining(t *testing.T) {
	forEachList(t, func(t *testing.T, list clocked) {
		require.Equal(t, "z", list.renew(t, "z"))
		require.Equal(t, "zm", list.renew(t, "m"))
		require.Equal(t, "zma", list.renew(t, "a"))
		require.Equal(t, "zma", list.renew(t, "z"), "to be seen again changes no place")
		require.Equal(t, "zma", list.renew(t, "m"))
	})
}

func TestAMemberThatIsNotSeenLapses(t *testing.T) {
	forEachList(t, func(t *testing.T, list clocked) {
		list.renew(t, "a")
		list.renew(t, "b")
		list.pass(group.Lapse * 3 / 4)
		require.Equal(t, "ab", list.renew(t, "b"))
		list.pass(group.Lapse / 4)
		require.Equal(t, "b", list.renew(t, "b"))
		require.Equal(t, "ba", list.renew(t, "a"), "who comes back is the newest")
	})
}

// A process that is killed takes its connections with it, and the database knows at once.
func TestAMemberWhoseProcessEndedIsGoneSoon(t *testing.T) {
	t.Parallel()
	config := lists["postgres"](t).config
	conn := postgrestest.Connect(t)
	lives := func(seen, session string) (lives bool) {
		function := pgx.Identifier{config.Schema, "member_lives"}.Sanitize()
		require.NoError(t, conn.QueryRow(t.Context(),
			"select "+function+"("+seen+", "+session+", interval '1000 years', interval '1 s')").Scan(&lives))
		return lives
	}
	const nobody = "2147483647"
	require.True(t, lives("clock_timestamp()", nobody), "it may be seen over another connection")
	require.False(t, lives("now() - interval '2 s'", nobody))
	require.True(t, lives("now() - interval '2 s'", "pg_backend_pid()"))
	require.True(t, lives("now() - interval '2 s'", "null"), "of an earlier program it is not known")
	require.True(t, lives("pg_postmaster_start_time() - interval '1 s'", nobody), "it was the database that ended")

	for _, closed := range []bool{false, true} {
		list := lists["postgres"](t)
		other, err := postgres.Open(t.Context(), list.config)
		require.NoError(t, err)
		_, err = other.Members().Renew(t.Context(), group.Member{ID: "b", Name: "of b"})
		require.NoError(t, err)
		require.Equal(t, "ba", list.renew(t, "a"))
		if closed {
			require.NoError(t, other.Close())
			require.Eventually(t, func() (ended bool) {
				err := conn.QueryRow(t.Context(), "select not exists (select from pg_stat_get_activity(session)) from "+
					pgx.Identifier{list.config.Schema, "members"}.Sanitize()+" where id = 'b'").Scan(&ended)
				return err == nil && ended
			}, patience, time.Millisecond)
		}
		list.pass(group.Cut / 2)
		require.Equal(t, "ba", list.renew(t, "a"))
		list.pass(group.Cut)
		if closed {
			require.Equal(t, "a", list.renew(t, "a"))
			continue
		}
		require.Equal(t, "ba", list.renew(t, "a"), "it stands still, and may go on")
		require.NoError(t, other.Close())
	}
}

// Whether somebody else has noticed meanwhile or not.
func TestAMemberThatLapsedUnnoticedIsTheNewestToo(t *testing.T) {
	forEachList(t, func(t *testing.T, list clocked) {
		list.renew(t, "a")
		list.renew(t, "b")
		list.pass(group.Lapse + time.Millisecond)
		require.Equal(t, "b", list.renew(t, "b"), "all had lapsed")
		list.pass(group.Lapse + time.Millisecond)
		require.Equal(t, "a", list.renew(t, "a"))
		require.Equal(t, "ab", list.renew(t, "b"))
	})
}

func TestAMemberThatLeftIsGone(t *testing.T) {
	forEachList(t, func(t *testing.T, list clocked) {
		list.renew(t, "a")
		list.renew(t, "b")
		require.NoError(t, list.Leave(t.Context(), "a"))
		require.NoError(t, list.Leave(t.Context(), "a"), "twice")
		require.NoError(t, list.Leave(t.Context(), "nobody"))
		require.Equal(t, "b", list.renew(t, "b"))
		require.Equal(t, "ba", list.renew(t, "a"))
	})
}

func TestManyRenewAndLapseAtOnce(t *testing.T) {
	forEachList(t, func(t *testing.T, list clocked) {
		const most = 8
		for rounds := 0; rounds < 5; list.pass(group.Lapse + time.Second) {
			var all errgroup.Group
			began := time.Now()
			for n := range most {
				all.Go(func() error {
					_, err := list.Renew(t.Context(), group.Member{ID: fmt.Sprint(n), Name: fmt.Sprint("of ", n)})
					return err
				})
			}
			require.NoError(t, all.Wait())
			if time.Since(began) >= group.Lapse {
				continue // whoever came last may not have seen the first any more
			}
			agreed := list.renew(t, "0")
			require.Len(t, agreed, most)
			for n := range most {
				require.Equal(t, agreed, list.renew(t, fmt.Sprint(n)), "all hear the same list")
			}
			rounds++
		}
	})
}

func TestAListIsNotWaitedForWhenTheContextEnds(t *testing.T) {
	forEachList(t, func(t *testing.T, list clocked) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := list.Renew(ctx, group.Member{ID: "a"})
		require.Error(t, err)
		require.Error(t, list.Leave(ctx, "a"))
		require.Equal(t, "b", list.renew(t, "b"))
	})
}

func TestADatabaseThatIsAwayIsUnavailable(t *testing.T) {
	t.Parallel()
	s, err := postgres.Open(t.Context(), postgresConfig(t))
	require.NoError(t, err)
	require.NoError(t, s.Close())
	_, err = s.Members().Renew(t.Context(), group.Member{ID: "a"})
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.ErrorIs(t, s.Members().Leave(t.Context(), "a"), store.ErrUnavailable)
}
