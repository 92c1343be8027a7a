package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // goose goes through database/sql

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/sqlite/engine"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// file is the one that everything is in.
const file = "doorman.db"

// Migration is one step of the schema.
type Migration struct {
	Version int64
	Name    string    // of its file
	At      time.Time // when it was applied; zero while it was not
}

// Migrate brings the schema in the data directory up to date, and tells what it applied. No process may be
// using the directory.
func Migrate(ctx context.Context, config Config) ([]Migration, error) {
	var applied []Migration
	err := alone(config, func(path string) error {
		if err := create(path); err != nil {
			return err
		}
		return withProvider(path, func(p *goose.Provider) error {
			var err error
			applied, err = migrateUp(ctx, p)
			return err
		})
	})
	return applied, err
}

// MigrationStatus lists all steps, applied or not. It reads alone: another process may be using the directory,
// and none is made.
func MigrationStatus(ctx context.Context, config Config) ([]Migration, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	path := filepath.Join(config.Dir, file)
	applied, err := appliedAt(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("read the migrations of %s: %w", path, err)
	}
	var all []Migration
	err = withProvider(":memory:", func(p *goose.Provider) error {
		for _, source := range p.ListSources() {
			all = append(all, Migration{Version: source.Version, Name: filepath.Base(source.Path), At: applied[source.Version]})
		}
		return nil
	})
	return all, err
}

// appliedAt reads which steps were applied, and when; none where there is no database yet.
func appliedAt(ctx context.Context, path string) (map[int64]time.Time, error) {
	if info, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	db, err := openToRead(path)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	var made bool
	err = db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE name = 'goose_db_version'`).Scan(&made)
	if err != nil || !made {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, `SELECT version_id, tstamp FROM goose_db_version WHERE is_applied ORDER BY id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	applied := map[int64]time.Time{}
	for rows.Next() {
		var version int64
		var at time.Time
		if err := rows.Scan(&version, &at); err != nil {
			return nil, err
		}
		applied[version] = at.UTC()
	}
	return applied, rows.Err()
}

// openToRead opens the file for reading alone, beside a process that may be using it.
func openToRead(path string) (*sql.DB, error) {
	how := "?mode=ro&_pragma=busy_timeout(5000)&_pragma=query_only(1)"
	if _, err := os.Stat(path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		// Nobody has it open. Otherwise SQLite would make the files of a log beside it, and leave them.
		how += "&immutable=1"
	}
	return sql.Open("sqlite", address(path)+how)
}

// address is the file as a URI, whatever characters its path has.
func address(path string) string { return "file:" + (&url.URL{Path: path}).EscapedPath() }

// alone runs while this process holds the data directory.
func alone(config Config, run func(path string) error) error {
	if err := config.Validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	held, err := lockDir(config.Dir)
	if err != nil {
		return err
	}
	defer held.Close()
	return run(filepath.Join(config.Dir, file))
}

// create makes an empty file with what cannot be changed later: the size of its pages.
func create(path string) error {
	conn, err := engine.Open(path, engine.Options{Create: true, Pragmas: []string{
		"busy_timeout = 5000", "page_size = 8192", "journal_mode = WAL"}})
	if err != nil {
		return failed("create", err)
	}
	return failed("create", conn.Close())
}

func withProvider(path string, run func(*goose.Provider) error) error {
	db, err := sql.Open("sqlite", address(path)+"?_pragma=busy_timeout(5000)&_pragma=synchronous(FULL)")
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	defer db.Close()
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if err := run(provider); err != nil {
		return fmt.Errorf("migrate %s: %w", path, err)
	}
	return nil
}

func migrateUp(ctx context.Context, p *goose.Provider) ([]Migration, error) {
	results, err := p.Up(ctx)
	var applied []Migration
	for _, r := range results {
		applied = append(applied, Migration{Version: r.Source.Version, Name: filepath.Base(r.Source.Path),
			At: time.Now().UTC()})
	}
	return applied, err
}

// fit makes the schema fit this program, or says why it does not.
func fit(ctx context.Context, path string, migrate bool) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if !migrate {
			return fmt.Errorf("%w: there is no store in %s yet; run doorman migrate up", store.ErrSchema, path)
		}
		if err := create(path); err != nil {
			return err
		}
	}
	return withProvider(path, func(p *goose.Provider) error {
		current, target, err := p.GetVersions(ctx)
		if err != nil {
			return err
		}
		switch {
		case current > target:
			return fmt.Errorf("%w: its version is %d and this program knows %d; use the newer program that wrote it",
				store.ErrSchema, current, target)
		case current == target:
			return nil
		case !migrate:
			return fmt.Errorf("%w: its version is %d and this program needs %d; run doorman migrate up",
				store.ErrSchema, current, target)
		}
		_, err = migrateUp(ctx, p)
		return err
	})
}
