package sqlite_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/projections/catalog/catalogtest"
	"github.com/ticketed/doorman/projections/sqlite"
)

func open(t testing.TB, dir string) *sqlite.Projections {
	t.Helper()
	p, err := sqlite.Open(context.Background(), sqlite.Config{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func TestCatalogKeepsItsContract(t *testing.T) {
	t.Parallel()
	catalogtest.Run(t, func(t testing.TB) func() catalogtest.Opened {
		dir := t.TempDir()
		return func() catalogtest.Opened {
			p := open(t, dir)
			return catalogtest.Opened{Backend: p.Catalog(), Close: p.Close}
		}
	})
}
