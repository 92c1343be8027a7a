package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/ticketed/doorman/aggregate/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// versions is the table with the migrations that were applied, apart from that of the store.
const versions = "projections_goose_version"

// Migrate brings the tables up to what this program needs, and makes them when there are none. Any number of
// processes may do so at once: one does the work while the others wait.
func Migrate(ctx context.Context, config Config) error {
	config = config.withDefaults()
	provider, db, err := config.goose()
	if err != nil {
		return err
	}
	defer closeDB(db)
	if err := makeSchema(ctx, db, config.Schema); err != nil {
		return failed("make the schema", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return failed("migrate projections", err)
	}
	return nil
}

// check compares what is in the database with what this program needs.
func check(ctx context.Context, config Config) error {
	provider, db, err := config.goose()
	if err != nil {
		return err
	}
	defer closeDB(db)
	var current int64
	err = db.QueryRowContext(ctx, `select coalesce(max(version_id), 0) from `+versions+` where is_applied`).Scan(&current)
	if err != nil && state(err) != stateUndefinedTable {
		return failed("read the migrations", err)
	}
	sources := provider.ListSources()
	switch needed := sources[len(sources)-1].Version; {
	case current > needed:
		return fmt.Errorf("%w: the projections in schema %q are at version %d and this program knows %d at most: "+
			"use a newer program", store.ErrSchema, config.Schema, current, needed)
	case current < needed:
		return fmt.Errorf("%w: the projections in schema %q are at version %d and this program needs %d: run doorman migrate up",
			store.ErrSchema, config.Schema, current, needed)
	}
	return nil
}

// goose opens a connection of its own, without time-outs: a migration may take long.
func (c Config) goose() (*goose.Provider, *sql.DB, error) {
	if err := c.Validate(); err != nil {
		return nil, nil, err
	}
	pool, err := c.pool()
	if err != nil {
		return nil, nil, err
	}
	conn := pool.ConnConfig
	conn.RuntimeParams = map[string]string{"search_path": conn.RuntimeParams["search_path"],
		"application_name": "doorman migrations"}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, nil, fmt.Errorf("postgres: %w", err)
	}
	// The lock is asked for once a second, for five minutes.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(lockID(c.Schema)), lock.WithLockTimeout(1, 300))
	if err != nil {
		return nil, nil, fmt.Errorf("postgres: %w", err)
	}
	db := stdlib.OpenDB(*conn)
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithTableName(versions),
		goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true), goose.WithSlog(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("postgres: %w", err), db.Close())
	}
	return provider, db, nil
}

// closeDB ends the connections of a migration; they have nothing left to say.
func closeDB(db *sql.DB) { _ = db.Close() }

// lockID is of the schema, so that those of one database do not wait for each other.
func lockID(schema string) int64 {
	hash := fnv.New64a()
	hash.Write([]byte("doorman projections " + schema))
	return int64(hash.Sum64()) //nolint:gosec // any number will do
}

// makeSchema asks first: a role that may not create schemas can still use one that is there.
func makeSchema(ctx context.Context, db *sql.DB, schema string) error {
	var there bool
	err := db.QueryRowContext(ctx, `select exists (select from pg_namespace where nspname = $1)`, schema).Scan(&there)
	if err != nil || there {
		return err
	}
	_, err = db.ExecContext(ctx, `create schema if not exists `+pgx.Identifier{schema}.Sanitize())
	if state(err) == stateUniqueViolation {
		return nil // somebody else made it at the same moment
	}
	return err
}
