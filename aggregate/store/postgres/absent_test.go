package postgres_test

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
)

// store.ErrUnavailable asks for patience, and no patience makes a database.
func TestADatabaseThatDoesNotExistIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	address, err := url.Parse(postgrestest.URL())
	require.NoError(t, err)
	address.Path = "/doorman_no_such_database"
	for _, migrate := range []bool{false, true} {
		_, err = postgres.Open(t.Context(), postgres.Config{URL: address.String(), Schema: "public", Lanes: 16, Migrate: migrate})
		require.ErrorIs(t, err, store.ErrSchema)
		require.NotErrorIs(t, err, store.ErrUnavailable)
		require.ErrorContains(t, err, "the database does not exist; create it")
		require.ErrorContains(t, err, `"doorman_no_such_database"`)
	}
}
