package postgres_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store/postgres"
)

// A schema from before anything was passed on does not have its whole history passed on after the upgrade.
func TestWhatWasThereBeforeCountsAsPassedOn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open()
	require.NoError(t, s.Close())
	require.NoError(t, postgres.MigrateTo(context.Background(), b.config, 6))
	b.exec("update lanes set epoch = 3")
	b.exec("update counter set position = 77")
	claims, err := b.open().Acquire(context.Background(), []int{2, 0}, "upgraded")
	require.NoError(t, err)
	for _, claim := range claims {
		require.EqualValues(t, 77, claim.Relayed)
		require.EqualValues(t, 4, claim.Epoch)
	}
}

// Who saves neither waits for a commit on its lanes nor keeps one waiting.
func TestSavingWhatWasPassedOnNeedsNoLane(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open()
	claims, err := s.Acquire(context.Background(), []int{0, 1}, "one")
	require.NoError(t, err)
	tx, err := b.conn.Begin(context.Background())
	require.NoError(t, err)
	_, err = tx.Exec(context.Background(), "update lanes set worked = worked + 1")
	require.NoError(t, err)
	claims[0].Relayed, claims[1].Relayed = 5, 6
	require.NoError(t, s.SaveRelayed(context.Background(), claims))
	require.NoError(t, tx.Rollback(context.Background()))
	claims, err = s.Acquire(context.Background(), []int{0, 1}, "two")
	require.NoError(t, err)
	require.Equal(t, []uint64{5, 6}, []uint64{claims[0].Relayed, claims[1].Relayed})
}
