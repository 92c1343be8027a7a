package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/projections/catalog"
	"github.com/ticketed/doorman/projections/runner"
	"github.com/ticketed/doorman/projections/sqlite"
)

// openTelling opens with a log to look at.
func openTelling(t *testing.T, dir string) (*sqlite.Projections, *bytes.Buffer) {
	t.Helper()
	told := &bytes.Buffer{}
	p, err := sqlite.Open(context.Background(), sqlite.Config{Dir: dir, Log: slog.New(slog.NewTextHandler(told, nil))})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p, told
}

// aside lists the damaged files that were put aside, without those beside them.
func aside(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(fileIn(dir) + ".damaged-*Z")
	require.NoError(t, err)
	return found
}

// requireAnew requires a projection that has never been filled, and that can be.
func requireAnew(t *testing.T, p *sqlite.Projections) {
	t.Helper()
	at, err := p.Catalog().Checkpoint(t.Context())
	require.NoError(t, err)
	require.Zero(t, at)
	fill(t, p, 5)
	page, err := p.Catalog().Page(t.Context(), catalog.Ask{Limit: 10})
	require.NoError(t, err)
	require.Len(t, page.Rows, 5)
}

// noise is the same in each run.
func noise(bytes int) []byte {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // no secret
	text := make([]byte, bytes)
	for i := range text {
		text[i] = byte(random.Uint32()) //nolint:gosec // its lowest byte
	}
	return text
}

// overwrite puts bytes into the file from a place on, to its end without them.
func overwrite(t *testing.T, dir string, from int64) {
	t.Helper()
	f, err := os.OpenFile(fileIn(dir), os.O_RDWR, 0)
	require.NoError(t, err)
	info, err := f.Stat()
	require.NoError(t, err)
	_, err = f.WriteAt(noise(int(info.Size()-from)), from)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// beyondTheSchema is where the pages with the tables' names and the migrations have ended.
const beyondTheSchema = 64 << 10

// DESIGN section 6: read models follow from the log, and commands do not wait for them: a damaged file is put
// aside and made anew.
func TestAFileThatIsDamagedAtTheStartIsPutAsideAndMadeAnew(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, dir string){
		"a text": func(t *testing.T, dir string) {
			text := strings.Repeat("this is a text and no database. ", 10)
			require.NoError(t, os.WriteFile(fileIn(dir), []byte(text), 0o600))
		},
		"cut off in its first page": func(t *testing.T, dir string) { require.NoError(t, os.Truncate(fileIn(dir), 1000)) },
		"cut off after it":          func(t *testing.T, dir string) { require.NoError(t, os.Truncate(fileIn(dir), 4096)) },
		"noise after the header":    func(t *testing.T, dir string) { overwrite(t, dir, 100) },
		"noise after the schema":    func(t *testing.T, dir string) { overwrite(t, dir, 4096) },
		"another program's database": func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(fileIn(dir)))
			db, err := sql.Open("sqlite", fileIn(dir))
			require.NoError(t, err)
			_, err = db.ExecContext(t.Context(), "CREATE TABLE catalog (thing TEXT)")
			require.NoError(t, err)
			require.NoError(t, db.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p := open(t, dir)
			fill(t, p, 1000)
			require.NoError(t, p.Close())
			for _, old := range []string{".damaged-20200101T000000Z", ".damaged-20200101T000000Z-wal"} {
				require.NoError(t, os.WriteFile(fileIn(dir)+old, nil, 0o600))
			}
			damage(t, dir)

			p, told := openTelling(t, dir)
			requireAnew(t, p)
			require.Len(t, aside(t, dir), 1, "those put aside before are deleted")
			require.NoFileExists(t, fileIn(dir)+".damaged-20200101T000000Z-wal")
			require.Contains(t, told.String(), "level=WARN")
			require.Contains(t, told.String(), aside(t, dir)[0])
		})
	}
}

func TestDamageThatIsMetLaterIsMendedWithoutARestart(t *testing.T) {
	t.Parallel()
	for name, meet := range map[string]func(ctx context.Context, b catalog.Backend) error{
		"by a reader": func(ctx context.Context, b catalog.Backend) error {
			_, err := b.Page(ctx, catalog.Ask{Type: "order", Limit: 1000})
			return err
		},
		"by a reader of all types": func(ctx context.Context, b catalog.Backend) error {
			_, err := b.Page(ctx, catalog.Ask{Limit: 1000})
			return err
		},
		"by the runner": func(ctx context.Context, b catalog.Backend) error {
			return b.Reset(ctx, "e2")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p := open(t, dir)
			fill(t, p, 5000)
			require.NoError(t, p.Close())
			overwrite(t, dir, beyondTheSchema)

			p, told := openTelling(t, dir)
			require.Empty(t, told.String(), "the beginning of the file is whole")
			err := meet(t.Context(), p.Catalog())
			require.ErrorIs(t, err, sqlite.ErrDamaged)
			require.ErrorIs(t, err, store.ErrUnavailable, "it passes by itself")
			require.ErrorContains(t, err, fileIn(dir))
			require.Len(t, aside(t, dir), 1)
			require.Contains(t, told.String(), aside(t, dir)[0])
			err = p.Catalog().Apply(t.Context(), nil, runner.Checkpoint{Epoch: "e1", Position: 5000},
				runner.Checkpoint{Epoch: "e1", Position: 5001})
			require.ErrorIs(t, err, runner.ErrMoved, "the runner begins anew")
			requireAnew(t, p)
		})
	}
}

// Who meets the damage together replaces the file once.
func TestDamageThatManyMeetIsMendedOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := open(t, dir)
	fill(t, p, 5000)
	require.NoError(t, p.Close())
	overwrite(t, dir, beyondTheSchema)
	p, told := openTelling(t, dir)
	const readers = 16
	done := make(chan error, readers)
	for range readers {
		go func() {
			_, err := p.Catalog().Page(context.Background(), catalog.Ask{Type: "order", Limit: 1000})
			done <- err
		}()
	}
	for range readers {
		if err := <-done; err != nil {
			require.ErrorIs(t, err, store.ErrUnavailable)
		}
	}
	require.Equal(t, 1, strings.Count(told.String(), "level=WARN"), told.String())
	requireAnew(t, p)
}

// While nothing can be opened in its place, it is unavailable; the next one who asks tries again.
func TestAFileThatCannotBeReplacedIsTriedAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	p := open(t, dir)
	fill(t, p, 5000)
	require.NoError(t, p.Close())
	overwrite(t, dir, beyondTheSchema)
	p, _ = openTelling(t, dir)
	ask := func() error {
		_, err := p.Catalog().Page(t.Context(), catalog.Ask{Type: "order", Limit: 1000})
		return err
	}
	require.NoError(t, os.Rename(dir, dir+" away"))
	require.NoError(t, os.WriteFile(dir, nil, 0o600)) // no directory can be made there
	for range 3 {
		require.ErrorIs(t, ask(), store.ErrUnavailable)
	}
	require.NoError(t, os.Remove(dir))
	require.NoError(t, os.Rename(dir+" away", dir))
	for ask() != nil { // the damaged one is found again, and replaced
		require.NoError(t, t.Context().Err())
	}
	requireAnew(t, p)
}
