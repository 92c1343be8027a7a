package sqlite_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file from before anything was passed on does not have its whole history passed on after the upgrade.
func TestWhatWasThereBeforeCountsAsPassedOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, open(t, config(dir)).Close())
	change(t, dir, "INSERT INTO log (position, id, stream, version, body) VALUES (1, randomblob(16), 'order/1', 0, x'00')")
	change(t, dir, "UPDATE meta SET value = 1 WHERE key = 'settled'")
	change(t, dir, "ALTER TABLE lanes DROP COLUMN relayed")
	change(t, dir, "DELETE FROM goose_db_version WHERE version_id = 3")
	s := open(t, config(dir))
	claims, err := s.Acquire(context.Background(), []int{2, 0}, "upgraded")
	require.NoError(t, err)
	for _, claim := range claims {
		require.EqualValues(t, 1, claim.Relayed)
	}
	require.NoError(t, s.Close())
}
