package postgres_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
)

func TestDropLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	config := postgres.Config{URL: postgrestest.URL(), Schema: postgrestest.Schema(t), Migrate: true}
	require.NoError(t, postgres.Drop(t.Context(), config), "none at all is fine")
	require.NoError(t, postgres.Migrate(t.Context(), config))
	require.NoError(t, postgres.Drop(t.Context(), config))
	var left int
	row := postgrestest.Connect(t).QueryRow(t.Context(), `select count(*) from pg_namespace where nspname = $1`, config.Schema)
	require.NoError(t, row.Scan(&left))
	require.Zero(t, left)
}
