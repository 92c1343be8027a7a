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
