package postgres_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ticketed/doorman/aggregate/store"
	storepostgres "github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/projections/postgres"
)

func openFails(t *testing.T, c postgres.Config) error {
	t.Helper()
	p, err := postgres.Open(context.Background(), c)
	require.Nil(t, p)
	require.Error(t, err)
	return err
}

func TestTablesAreNotMadeUnasked(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Migrate = false
	err := openFails(t, c)
	require.ErrorIs(t, err, store.ErrSchema)
	require.ErrorContains(t, err, "run doorman migrate up")
	require.NoError(t, postgres.Migrate(context.Background(), c))
	require.NoError(t, postgres.Migrate(context.Background(), c), "again changes nothing")
	open(t, c)
}

func TestTablesOfANewerProgramAreRefused(t *testing.T) {
	t.Parallel()
	c := config(t)
	open(t, c)
	_, err := postgrestest.Connect(t).Exec(context.Background(),
		"insert into "+c.Schema+".projections_goose_version (version_id, is_applied) values (900, true)")
	require.NoError(t, err)
	for _, c.Migrate = range []bool{false, true} {
		err := openFails(t, c)
		require.ErrorIs(t, err, store.ErrSchema)
		require.ErrorContains(t, err, "version 900")
		require.ErrorContains(t, err, "use a newer program")
	}
}

func TestManyProcessesStartAtOnce(t *testing.T) {
	t.Parallel()
	c := config(t)
	var starting errgroup.Group
	for range 3 {
		starting.Go(func() error {
			p, err := postgres.Open(context.Background(), c)
			if err != nil {
				return err
			}
			return p.Close()
		})
	}
	require.NoError(t, starting.Wait())
}

// The tables share a schema with the store's: neither is in the other's way.
func TestAStoreAndItsProjectionsShareASchema(t *testing.T) {
	t.Parallel()
	c := config(t)
	stored := storepostgres.Config{URL: c.URL, Schema: c.Schema, Migrate: true}
	for range 2 {
		open(t, c)
		s, err := storepostgres.Open(context.Background(), stored)
		require.NoError(t, err)
		require.NoError(t, s.Close())
		stored.Migrate, c.Migrate = false, false
	}
}

func TestAServerThatIsNotThereIsUnavailable(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.URL = "postgres://postgres@127.0.0.1:1/postgres?sslmode=disable"
	for _, c.Migrate = range []bool{false, true} {
		require.ErrorIs(t, openFails(t, c), store.ErrUnavailable)
	}
}

func TestAConfigurationTellsEverythingThatIsWrong(t *testing.T) {
	t.Parallel()
	err := openFails(t, postgres.Config{Schema: strings.Repeat("s", 64), MaxConns: -1, Timeout: -1})
	for _, part := range []string{"a URL is needed", "must be a name", "max conns", "time-out"} {
		require.ErrorContains(t, err, part)
	}
	require.ErrorContains(t, openFails(t, postgres.Config{URL: "postgres://[::1"}), "URL")
}
