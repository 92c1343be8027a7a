package sqlite_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/sqlite"
	"github.com/ticketed/doorman/commands"
)

// A file from before anything was passed on does not have its whole history passed on after the upgrade.
func TestWhatWasThereBeforeCountsAsPassedOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, open(t, config(dir)).Close())
	change(t, dir, "INSERT INTO log (position, id, stream, version, body) VALUES (1, randomblob(16), 'order/1', 0, x'00')")
	change(t, dir, "UPDATE meta SET value = 1 WHERE key = 'settled'")
	require.NoError(t, sqlite.MigrateTo(config(dir), 2))
	s := open(t, config(dir))
	claims, err := s.Acquire(context.Background(), []int{2, 0}, "upgraded")
	require.NoError(t, err)
	for _, claim := range claims {
		require.EqualValues(t, 1, claim.Relayed)
	}
	require.NoError(t, s.Close())
}

// Dead letters from before anybody was told of any are kept, open, and nobody is told of them after the upgrade.
func TestLettersThatWereThereBeforeCountAsTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, config(dir))
	old := store.DeadLetter{Reason: commands.Failed, Cause: "boom", Envelope: &commands.Envelope{Command: commands.Command{
		ID: commands.NewID(), Stream: commands.Stream{Type: "order", ID: "1"}, Type: "add", Data: []byte("{}")}}}
	_, err := s.Bury(context.Background(), []store.DeadLetter{old})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, sqlite.MigrateTo(config(dir), 3))

	s = open(t, config(dir))
	untold, err := s.Untold(context.Background(), 10)
	require.NoError(t, err)
	require.Empty(t, untold)
	letters, err := s.DeadLetters(context.Background(), store.DeadQuery{Origin: store.OriginWorker, Resolution: store.Open, Limit: 10})
	require.NoError(t, err)
	require.Len(t, letters, 1)
	require.Equal(t, old.Envelope.ID, letters[0].Envelope.ID)
	require.True(t, letters[0].Told)
	require.NoError(t, s.Close())
}
