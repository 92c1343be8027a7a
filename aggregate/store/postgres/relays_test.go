package postgres_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/commands"
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

// Dead letters from before anybody was told of any are kept, open, and nobody is told of them after the upgrade.
func TestLettersThatWereThereBeforeCountAsTold(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open()
	old := store.DeadLetter{Reason: commands.Failed, Cause: "boom", Envelope: &commands.Envelope{Command: commands.Command{
		ID: commands.NewID(), Stream: commands.Stream{Type: "order", ID: "1"}, Type: "add", Data: []byte("{}")}}}
	_, err := s.Bury(context.Background(), []store.DeadLetter{old})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, postgres.MigrateTo(context.Background(), b.config, 9))

	s = b.open()
	untold, err := s.Untold(context.Background(), 10)
	require.NoError(t, err)
	require.Empty(t, untold)
	letters, err := s.DeadLetters(context.Background(), store.DeadQuery{Origin: store.OriginWorker, Resolution: store.Open, Limit: 10})
	require.NoError(t, err)
	require.Len(t, letters, 1)
	require.Equal(t, old.Envelope.ID, letters[0].Envelope.ID)
	require.True(t, letters[0].Told)
}
