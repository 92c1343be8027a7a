package postgres_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
)

func refused(t *testing.T, config postgres.Config) error {
	t.Helper()
	s, err := postgres.Open(context.Background(), config)
	require.Nil(t, s)
	require.ErrorIs(t, err, store.ErrSchema)
	return err
}

func TestAStoreThatIsNotThereIsNotMadeUnasked(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.config.Migrate = false
	require.ErrorContains(t, refused(t, b.config), "there is no store in schema")
	require.Zero(t, b.count("select count(*) from pg_namespace where nspname = $1", b.config.Schema))
	status, err := postgres.MigrationStatus(context.Background(), b.config)
	require.NoError(t, err)
	require.NotEmpty(t, status)
	for _, step := range status {
		require.False(t, step.Applied)
		require.Zero(t, step.AppliedAt)
	}
}

func TestMigratingMakesAStoreThatOpensWithout(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	require.NoError(t, postgres.Migrate(context.Background(), b.config))
	b.config.Migrate = false
	identity := b.open().Identity()
	require.Equal(t, lanes, identity.Lanes)
	require.NoError(t, postgres.Migrate(context.Background(), b.config), "again changes nothing")
	require.Equal(t, identity, b.open().Identity())

	b.config.Lanes = 0
	require.Equal(t, identity, b.open().Identity(), "no number of lanes takes what is there")
	status, err := postgres.MigrationStatus(context.Background(), b.config)
	require.NoError(t, err)
	newest := int64(0)
	for _, step := range status {
		require.Greater(t, step.Version, newest)
		newest = step.Version
		require.Regexp(t, `^000\d\d_[a-z_]+\.sql$`, step.Name)
		require.True(t, step.Applied)
		require.NotZero(t, step.AppliedAt)
	}
}

func TestAnotherNumberOfLanesIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.open()
	b.config.Lanes = lanes + 1
	require.ErrorContains(t, refused(t, b.config), "has 4 lanes and 5 are configured: configure 4")
}

func TestASchemaOfAnotherVersionIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.open()
	b.config.Migrate = false
	b.exec("insert into goose_db_version (version_id, is_applied) select n, true from generate_series(889, 900) n")
	require.ErrorContains(t, refused(t, b.config), "is at version 900 and this program knows")
	require.ErrorContains(t, refused(t, b.config), "use a newer program")
	b.config.Migrate = true
	require.ErrorContains(t, refused(t, b.config), "use a newer program")
	b.exec("delete from goose_db_version where version_id >= 889 or version_id = 5")
	b.config.Migrate = false
	require.Regexp(t, `lacks 1 of \d+ migrations: run doorman migrate up`, refused(t, b.config).Error())
}

func TestManyProcessesStartAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var starting errgroup.Group
	identities := make(chan store.Identity, 3)
	for range cap(identities) {
		starting.Go(func() error {
			s, err := postgres.Open(context.Background(), b.config)
			if err != nil {
				return err
			}
			identities <- s.Identity()
			return s.Close()
		})
	}
	require.NoError(t, starting.Wait())
	first := <-identities
	require.Equal(t, first, <-identities)
	require.Equal(t, first, <-identities)
	require.Equal(t, lanes, b.count("select count(*) from lanes"))
}

func TestAServerThatDoesNotAnswerAtTheStartIsUnavailable(t *testing.T) {
	t.Parallel()
	b, p := newBench(t), newProxy(t)
	b.config.URL = p.url()
	p.leave()
	for _, migrate := range []bool{true, false} {
		b.config.Migrate = migrate
		_, err := postgres.Open(context.Background(), b.config)
		require.ErrorIs(t, err, store.ErrUnavailable)
	}
}

func TestMigrationsCanBeTakenBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.open()
	require.NoError(t, postgres.Unmake(context.Background(), b.config))
	require.Equal(t, 1, b.count(`select count(*) from pg_class c join pg_namespace n on n.oid = relnamespace
	                              where nspname = $1 and relkind = 'r'`, b.config.Schema), "the table of migrations stays")
	b.open()
}
