package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/projections/catalog"
	"github.com/ticketed/doorman/projections/runner"
	"github.com/ticketed/doorman/projections/sqlite"
)

func openFails(t *testing.T, dir string) error {
	t.Helper()
	p, err := sqlite.Open(context.Background(), sqlite.Config{Dir: dir})
	require.Nil(t, p)
	require.Error(t, err)
	return err
}

func fileIn(dir string) string { return filepath.Join(dir, "projections.db") }

// fill applies one row for each of so many streams.
func fill(t *testing.T, p *sqlite.Projections, streams int) {
	t.Helper()
	require.NoError(t, p.Catalog().Reset(context.Background(), "e1"))
	var rows []catalog.Row
	for n := range uint64(streams) { //nolint:gosec // a few
		rows = append(rows, catalog.Row{Stream: commands.Stream{Type: "order", ID: fmt.Sprint(n)}, Version: 1,
			Ticket: commands.NewID(), At: time.UnixMicro(1).UTC(), Position: n + 1})
	}
	require.NoError(t, p.Catalog().Apply(context.Background(), rows, runner.Checkpoint{Epoch: "e1"},
		runner.Checkpoint{Epoch: "e1", Position: uint64(streams)})) //nolint:gosec // a few
}

func TestTheDirectoryIsMadeWhateverItIsCalled(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "with ? and # and % in it", "deep")
	p := open(t, dir)
	require.FileExists(t, fileIn(dir))
	require.NoError(t, p.Close())
	require.NoError(t, p.Close())
	require.NoFileExists(t, fileIn(dir)+"-wal", "an orderly end leaves one file")
	require.ErrorContains(t, openFails(t, ""), "data directory is missing")
}

func TestAFileOfANewerProgramIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, open(t, dir).Close())
	db, err := sql.Open("sqlite", fileIn(dir))
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	err = openFails(t, dir)
	require.ErrorIs(t, err, store.ErrSchema)
	require.ErrorContains(t, err, "9999")
	require.ErrorContains(t, err, fileIn(dir))
	require.ErrorContains(t, err, "delete it")
}

func TestADirectoryThatCannotBeMadeIsUnavailable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	require.ErrorIs(t, openFails(t, filepath.Join(dir, "file", "below")), store.ErrUnavailable)
}

func TestADirectoryInTheFilesPlaceIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(fileIn(dir), 0o700))
	err := openFails(t, dir)
	require.ErrorContains(t, err, fileIn(dir)+" is a directory")
	require.NotErrorIs(t, err, sqlite.ErrDamaged)
	require.DirExists(t, fileIn(dir), "it is left alone")
}
