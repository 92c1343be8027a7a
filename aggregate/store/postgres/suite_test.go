package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/aggregate/store/storetest"
)

func backend() storetest.Backend {
	return storetest.Backend{Shared: true, Relane: relane, Fresh: func(t testing.TB) func() store.Store {
		config := postgres.Config{URL: postgrestest.URL(), Schema: postgrestest.Schema(t), Lanes: storetest.Lanes, Migrate: true}.
			KeepingRefused(storetest.MostRefused, storetest.MostRefusedBytes)
		return func() store.Store { return open(t, config) }
	}}
}

func open(t testing.TB, config postgres.Config) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(context.Background(), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// relane changes the number of lanes while nobody else is there.
func relane(t testing.TB, s store.Store, lanes int) store.Store {
	t.Helper()
	p := s.(*postgres.Store)
	id, err := p.BeginLaneChange(context.Background(), lanes, t.Name(), time.Minute)
	require.NoError(t, err)
	require.NoError(t, p.FinishLaneChange(context.Background(), id))
	next, err := p.Laning(context.Background())
	require.NoError(t, err)
	p.Adopt(next)
	return p
}

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, backend())
}

func BenchmarkStore(b *testing.B) { storetest.Benchmark(b, backend()) }
