package sqlite_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/sqlite"
	"github.com/ticketed/doorman/aggregate/store/storetest"
)

func config(dir string) sqlite.Config {
	return sqlite.Config{Dir: dir, Lanes: storetest.Lanes, Migrate: true}.
		KeepingRefused(storetest.MostRefused, storetest.MostRefusedBytes)
}

func open(t testing.TB, c sqlite.Config) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(context.Background(), c)
	require.NoError(t, err)
	return s
}

// settling is a backend whose sweeps are this many positions apart.
func settling(every uint64) storetest.Backend {
	return storetest.Backend{
		Fresh: func(t testing.TB) func() store.Store {
			dir := t.TempDir()
			return func() store.Store { return open(t, config(dir).SettlingEvery(every)) }
		},
		Crashed: func(t testing.TB, s store.Store) store.Store {
			return open(t, config(copied(t, s.(*sqlite.Store).Dir())).SettlingEvery(every))
		},
		Relane: func(t testing.TB, s store.Store, lanes int) store.Store {
			t.Helper()
			c := config(s.(*sqlite.Store).Dir()).SettlingEvery(every)
			_, err := sqlite.SetLanes(context.Background(), c, lanes)
			require.ErrorIs(t, err, store.ErrUnavailable, "it is in use")
			require.ErrorContains(t, err, "in use by another doorman (process ")
			before := s.Identity().Lanes
			require.NoError(t, s.Close())
			was, err := sqlite.SetLanes(context.Background(), c, lanes)
			require.NoError(t, err)
			require.Equal(t, before, was)
			c.Lanes = lanes
			return open(t, c)
		},
	}
}

// copied copies the data directory while the store is open, which is what a power failure leaves: every
// commit has been flushed when it returns.
func copied(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	for _, name := range []string{"doorman.db", "doorman.db-wal"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(to, name), data, 0o600))
	}
	return to
}

func TestStoreKeepsItsContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, settling(0))
}

func TestStoreKeepsItsContractWhileSweeping(t *testing.T) {
	t.Parallel()
	for name, every := range map[string]uint64{"at every commit": 1, "now and then": 9} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, settling(every), "Positions", "Streams", "Keeping", "Crashing", "Histories")
		})
	}
}

func BenchmarkCommit(b *testing.B) { storetest.Benchmark(b, settling(0)) }
