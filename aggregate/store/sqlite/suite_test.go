package sqlite_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/sqlite"
	"github.com/ticketed/doorman/aggregate/store/storetest"
)

var backend = storetest.Backend{
	Fresh: func(t testing.TB) func() store.Store {
		dir := t.TempDir()
		return func() store.Store {
			s, err := sqlite.Open(context.Background(), sqlite.Config{Dir: dir, Lanes: storetest.Lanes, Migrate: true})
			require.NoError(t, err)
			return s
		}
	},
}

func TestStoreKeepsItsContract(t *testing.T) { storetest.Run(t, backend) }

func BenchmarkCommit(b *testing.B) { storetest.Benchmark(b, backend) }
