package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/sqlite"
	"github.com/ticketed/doorman/aggregate/store/sqlite/engine"
)

func openFails(t *testing.T, c sqlite.Config, want error) string {
	t.Helper()
	_, err := sqlite.Open(context.Background(), c)
	require.ErrorIs(t, err, want)
	return err.Error()
}

// DESIGN section 7: one file under the data directory, one process.
func TestASecondProcessIsRefusedByName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, config(dir))
	text := openFails(t, config(dir), store.ErrUnavailable)
	require.Contains(t, text, dir)
	require.Contains(t, text, "process "+strconv.Itoa(os.Getpid()))
	_, err := sqlite.Migrate(context.Background(), config(dir))
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.NoError(t, s.Close())
	require.NoError(t, open(t, config(dir)).Close())
}

// DESIGN section 7: the number of lanes is kept in the store; a process configured otherwise refuses to start.
func TestAnotherNumberOfLanesIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, open(t, config(dir)).Close())
	c := config(dir)
	c.Lanes = 32
	text := openFails(t, c, store.ErrSchema)
	require.Contains(t, text, "4 lanes")
	require.Contains(t, text, "32")
	c.Lanes = 0
	s := open(t, c)
	require.Equal(t, 4, s.Identity().Lanes, "zero takes what the store has")
	require.NoError(t, s.Close())
}

func TestWithoutMigrateAMissingSchemaIsRefusedAndNothingIsMade(t *testing.T) {
	t.Parallel()
	c := config(filepath.Join(t.TempDir(), "data"))
	c.Migrate = false
	require.Contains(t, openFails(t, c, store.ErrSchema), "doorman migrate up")
	require.NoFileExists(t, filepath.Join(c.Dir, "doorman.db"))
}

func TestASchemaOfANewerProgramIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, open(t, config(dir)).Close())
	change(t, dir, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)")
	require.Contains(t, openFails(t, config(dir), store.ErrSchema), "9999")
}

func TestASchemaOfAnOlderProgramIsRefusedUnlessItMayMigrate(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir())
	require.NoError(t, open(t, c).Close())
	for _, table := range []string{"asks", "dead_letters", "lanes", "parked", "snapshots", "stream_pages", "streams", "log", "meta"} {
		change(t, c.Dir, "DROP TABLE "+table)
	}
	change(t, c.Dir, "DELETE FROM goose_db_version WHERE version_id > 0")
	c.Migrate = false
	require.Contains(t, openFails(t, c, store.ErrSchema), "doorman migrate up")
	c.Migrate = true
	require.NoError(t, open(t, c).Close())
}

func TestAFileThatIsNoDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "doorman.db"), []byte("this is a text, and long enough to be looked at as a header of a hundred bytes, which it is not, of course"), 0o600))
	_, err := sqlite.Open(context.Background(), config(dir))
	require.Error(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, "doorman.db")))
	require.NoError(t, open(t, config(dir)).Close(), "a failed opening holds no lock")
}

func TestMigrationsAreListedAndApplied(t *testing.T) {
	t.Parallel()
	ctx, c := context.Background(), config(filepath.Join(t.TempDir(), "with ? and # in it"))
	before, err := sqlite.MigrationStatus(ctx, c)
	require.NoError(t, err)
	require.NotEmpty(t, before)
	for _, step := range before {
		require.Zero(t, step.At)
		require.NotEmpty(t, step.Name)
	}
	require.NoDirExists(t, c.Dir, "asking makes nothing")

	applied, err := sqlite.Migrate(ctx, c)
	require.NoError(t, err)
	require.Len(t, applied, len(before))
	again, err := sqlite.Migrate(ctx, c)
	require.NoError(t, err)
	require.Empty(t, again)
	after, err := sqlite.MigrationStatus(ctx, c)
	require.NoError(t, err)
	for i, step := range after {
		require.Equal(t, before[i].Version, step.Version)
		require.NotZero(t, step.At)
	}
	c.Migrate = false
	s := open(t, c)
	during, err := sqlite.MigrationStatus(ctx, c)
	require.NoError(t, err, "one may ask while a process uses the directory")
	require.Equal(t, after, during)
	require.NoError(t, s.Close())
}

func TestAskingForMigrationsWritesNothing(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir())
	require.NoError(t, open(t, c).Close())
	change(t, c.Dir, "DROP TABLE goose_db_version")
	list := func() map[string]int64 {
		sizes := map[string]int64{}
		entries, err := os.ReadDir(c.Dir)
		require.NoError(t, err)
		for _, entry := range entries {
			info, err := entry.Info()
			require.NoError(t, err)
			sizes[entry.Name()] = info.Size()
		}
		return sizes
	}
	before := list()
	steps, err := sqlite.MigrationStatus(context.Background(), c)
	require.NoError(t, err)
	for _, step := range steps {
		require.Zero(t, step.At)
	}
	require.Equal(t, before, list())
}

func TestConfigTellsEverythingThatIsWrong(t *testing.T) {
	t.Parallel()
	err := sqlite.Config{Lanes: -1, CacheBytes: -1, Readers: -1}.Validate()
	for _, part := range []string{"data directory", "lanes", "cache", "readers"} {
		require.ErrorContains(t, err, part)
	}
	require.NoError(t, sqlite.Config{Dir: "x"}.Validate())
}

// change runs a statement on the file of a closed store.
func change(t *testing.T, dir, sql string) {
	t.Helper()
	conn, err := engine.Open(filepath.Join(dir, "doorman.db"), engine.Options{})
	require.NoError(t, err)
	require.NoError(t, conn.Exec(sql))
	require.NoError(t, conn.Close())
}

func ExampleOpen() {
	dir, _ := os.MkdirTemp("", "doorman")
	defer os.RemoveAll(dir)
	s, err := sqlite.Open(context.Background(), sqlite.Config{Dir: dir, Lanes: 16, Migrate: true})
	if err != nil {
		panic(err)
	}
	claims, err := s.Acquire(context.Background(), []int{0, 1}, "example")
	if err != nil {
		panic(err)
	}
	fmt.Println(len(claims), "of", s.Identity().Lanes, "lanes")
	if err := s.Close(); err != nil {
		panic(err)
	}
	// Output: 2 of 16 lanes
}
