package postgres_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/projections/catalog/catalogtest"
	"github.com/ticketed/doorman/projections/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(t testing.TB) postgres.Config {
	t.Helper()
	return postgres.Config{URL: postgrestest.URL(), Schema: postgrestest.Schema(t), Migrate: true}
}

func open(t testing.TB, c postgres.Config) *postgres.Projections {
	t.Helper()
	p, err := postgres.Open(context.Background(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func TestCatalogKeepsItsContract(t *testing.T) {
	t.Parallel()
	catalogtest.Run(t, func(t testing.TB) func() catalogtest.Opened {
		c := config(t)
		return func() catalogtest.Opened {
			p := open(t, c)
			return catalogtest.Opened{Backend: p.Catalog(), Close: p.Close}
		}
	})
}
