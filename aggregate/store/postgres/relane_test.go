package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
)

func laning(t *testing.T, s *postgres.Store) store.Laning {
	t.Helper()
	l, err := s.Laning(context.Background())
	require.NoError(t, err)
	return l
}

// Every process asks twice a second: for a plan of parallel workers the server would start two processes each time.
func TestTheNumberOfLanesIsReadByTheConnectionsOwnProcess(t *testing.T) {
	t.Parallel()
	plan, err := newBench(t).open().PlanOfLaning(context.Background())
	require.NoError(t, err)
	require.Contains(t, plan, "past_lanes")
	require.NotContains(t, plan, "Gather")
}

func TestOneChangeOfTheNumberOfLanesAtATime(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s, ctx := b.open(), context.Background()
	before := laning(t, s)
	require.Nil(t, before.Change)
	id, err := s.BeginLaneChange(ctx, 9, "Ann", time.Minute)
	require.NoError(t, err)
	_, err = s.BeginLaneChange(ctx, 7, "Bob", time.Minute)
	require.ErrorIs(t, err, store.ErrLanesChanging)
	change := laning(t, s).Change
	require.Equal(t, store.LaneChange{ID: id, Lanes: 9, By: "Ann", Began: change.Began, Left: change.Left}, *change)
	require.Greater(t, change.Left, 50*time.Second)
	require.NoError(t, s.CloseLanes(ctx, id, true))
	require.True(t, laning(t, s).Change.Closing)

	undone, err := s.AbortLaneChange(ctx)
	require.NoError(t, err)
	require.True(t, undone)
	require.Equal(t, before, laning(t, s))
	require.ErrorIs(t, s.CloseLanes(ctx, id, true), store.ErrNoLaneChange)
	require.ErrorIs(t, s.FinishLaneChange(ctx, id), store.ErrNoLaneChange)
	undone, err = s.AbortLaneChange(ctx)
	require.NoError(t, err)
	require.False(t, undone)
}

// Whoever began it may have been killed: its end needs nobody.
func TestAChangeOfTheNumberOfLanesEndsWithItsTime(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s, ctx := b.open(), context.Background()
	id, err := s.BeginLaneChange(ctx, 9, "Ann", time.Minute)
	require.NoError(t, err)
	b.exec("update lane_change set until = now()")
	require.Nil(t, laning(t, s).Change)
	require.ErrorIs(t, s.FinishLaneChange(ctx, id), store.ErrNoLaneChange)
	next, err := s.BeginLaneChange(ctx, 7, "Bob", time.Minute)
	require.NoError(t, err)
	require.ErrorIs(t, s.FinishLaneChange(ctx, id), store.ErrNoLaneChange, "that of somebody else")
	require.NoError(t, s.FinishLaneChange(ctx, next))
	require.Equal(t, 7, laning(t, s).Lanes)
}

// A process that has not heard of it would work streams on the wrong lanes.
func TestLanesAreTakenByNobodyWhoGoesByAnotherNumber(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s, ctx := b.open(), context.Background()
	old := b.open()
	before := laning(t, s)
	id, err := s.BeginLaneChange(ctx, before.Lanes, t.Name(), time.Minute) // the same, but another generation
	require.NoError(t, err)
	require.NoError(t, s.FinishLaneChange(ctx, id))
	_, err = old.Acquire(ctx, []int{0}, "asleep")
	require.ErrorIs(t, err, store.ErrLanesChanged)
	now := laning(t, s)
	require.Equal(t, before.Generation+1, now.Generation)
	require.Equal(t, before.Lanes, now.Past[0].Lanes)
	old.Adopt(now)
	require.Equal(t, now.Generation, old.LaneGeneration())
	_, err = old.Acquire(ctx, []int{0}, "awake")
	require.NoError(t, err)
	require.NoError(t, s.RetireLanes(ctx, before.Generation))
	require.Empty(t, laning(t, s).Past)
}

// A commit under way is waited for, so it is either before the change or fenced by it.
func TestAChangeOfTheNumberOfLanesWaitsForCommits(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s, ctx := b.open(), context.Background()
	held, err := b.conn.Begin(ctx)
	require.NoError(t, err)
	_, err = held.Exec(ctx, "update "+b.config.Schema+".lanes set worked = worked where lane = 2")
	require.NoError(t, err)
	id, err := s.BeginLaneChange(ctx, 9, t.Name(), time.Minute)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- s.FinishLaneChange(ctx, id) }()
	require.Eventually(t, func() bool {
		var waits bool
		err := b.watch.QueryRow(ctx, `select exists (select from pg_stat_activity
			where wait_event_type = 'Lock' and query like 'select from lanes%' and application_name = $1)`, "doorman "+b.config.Schema).Scan(&waits)
		return err == nil && waits
	}, 10*time.Second, 5*time.Millisecond)
	require.Empty(t, done)
	require.NoError(t, held.Commit(ctx))
	require.NoError(t, <-done)
}

func TestProcessesAreListedUntilTheyEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s, ctx := b.open(), context.Background()
	one := store.LaneUser{ID: "1", Name: "one", Roles: "gateway", Bus: "rabbitmq", Generation: 3, Change: "c", Quiet: store.LanesUnsent}
	two := store.LaneUser{ID: "2", Name: "two", Roles: "worker", Bus: "rabbitmq"}
	require.NoError(t, s.NoteLaneUser(ctx, one))
	require.NoError(t, s.NoteLaneUser(ctx, two))
	two.Quiet = store.LanesUnused
	require.NoError(t, s.NoteLaneUser(ctx, two))
	all, err := s.LaneUsers(ctx)
	require.NoError(t, err)
	for i := range all {
		require.Less(t, all[i].Seen, store.LaneLapse)
		all[i].Seen = 0
	}
	require.Equal(t, []store.LaneUser{one, two}, all)
	b.exec("update processes set seen = now() - interval '2 minutes' where id = '2'")
	require.NoError(t, s.NoteLaneUser(ctx, one))
	all, err = s.LaneUsers(ctx)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.NoError(t, s.RemoveLaneUser(ctx, "1"))
	all, err = s.LaneUsers(ctx)
	require.NoError(t, err)
	require.Empty(t, all)

	claims, err := s.Acquire(ctx, []int{1}, "one")
	require.NoError(t, err)
	lanes, err := s.LaneStates(ctx)
	require.NoError(t, err)
	require.Len(t, lanes, s.Identity().Lanes)
	require.Equal(t, "one", lanes[1].Owner)
	require.Equal(t, claims[0].Epoch, lanes[1].Epoch)
	require.NotZero(t, lanes[1].Acquired)
	require.Zero(t, lanes[0].WorkedAt)
}
