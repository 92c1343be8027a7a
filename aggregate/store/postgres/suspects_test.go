package postgres_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

func TestASuspectIsCountedOnceAProcess(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open()
	suspect := func(id commands.ID, process string) int {
		n, err := s.Suspect(context.Background(), id, process)
		require.NoError(t, err)
		return n
	}
	id, other := commands.NewID(), commands.NewID()
	require.Equal(t, 1, suspect(id, "a"))
	require.Equal(t, 1, suspect(id, "a"))
	require.Equal(t, 1, suspect(other, "a"))
	require.Equal(t, 2, suspect(id, "b"))
	require.Equal(t, 3, suspect(id, "c"))
	b.exec("update suspects set at = now() - interval '25 hours'")
	require.Equal(t, 2, suspect(other, "b"))
	require.Equal(t, 1, suspect(id, "d"), "it was forgotten")
}
