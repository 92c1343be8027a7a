package postgres_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/projections/catalog"
	"github.com/ticketed/doorman/projections/postgres"
	"github.com/ticketed/doorman/projections/runner"
)

// Where another role migrates, the one that serves has the rights to read and change rows and no more.
func TestARoleThatMayChangeRowsIsEnough(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := config(t)
	require.NoError(t, postgres.Migrate(ctx, c))
	owner := postgrestest.Connect(t)
	role := c.Schema + "_role"
	exec := func(sql string) {
		t.Helper()
		_, err := owner.Exec(ctx, sql)
		require.NoError(t, err)
	}
	exec("create role " + role)
	t.Cleanup(func() { exec("drop owned by " + role + "; drop role " + role) })
	exec("grant usage on schema " + c.Schema + " to " + role)
	exec("grant select, insert, update, delete on all tables in schema " + c.Schema + " to " + role)

	c.Migrate = false
	with, err := url.Parse(c.URL)
	require.NoError(t, err)
	values := with.Query()
	values.Set("role", role)
	with.RawQuery = values.Encode()
	c.URL = with.String()
	served := open(t, c).Catalog()
	for _, epoch := range []string{"e1", "e2"} {
		require.NoError(t, served.Reset(ctx, epoch))
		page, err := served.Page(ctx, catalog.Ask{Limit: 10})
		require.NoError(t, err)
		require.Equal(t, &catalog.Page{At: runner.Checkpoint{Epoch: epoch}}, page)
		row := catalog.Row{Stream: commands.Stream{Type: "order", ID: "1"}, Version: 1, Ticket: commands.NewID(), At: time.UnixMicro(1).UTC(), Position: 1}
		require.NoError(t, served.Apply(ctx, []catalog.Row{row}, page.At, runner.Checkpoint{Epoch: epoch, Position: 1}))
	}
}
