package postgres

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/ticketed/doorman/aggregate/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migration is one step of the schema.
type Migration struct {
	Version   int64
	Name      string // of its file
	Applied   bool
	AppliedAt time.Time // zero when it is not applied
}

// Migrate brings the schema up to what this program needs, and makes the store when there is none. Any
// number of processes may do so at once: one does the work while the others wait.
func Migrate(ctx context.Context, config Config) error {
	s, err := config.withDefaults().openSchema()
	if err != nil {
		return err
	}
	defer s.close()
	return s.migrate(ctx)
}

// MigrationStatus lists all steps that this program knows, in order, and whether they were applied.
func MigrationStatus(ctx context.Context, config Config) ([]Migration, error) {
	s, err := config.withDefaults().openSchema()
	if err != nil {
		return nil, err
	}
	defer s.close()
	applied, err := appliedAt(ctx, s.db)
	if err != nil {
		return nil, failure("read the migrations", err)
	}
	var all []Migration
	for _, source := range s.provider.ListSources() {
		at, ok := applied[source.Version]
		all = append(all, Migration{Version: source.Version, Name: source.Path, Applied: ok, AppliedAt: at})
	}
	return all, nil
}

// schema is what a program looks at and brings up to date before it uses a store.
type schema struct {
	config   Config
	db       *sql.DB
	provider *goose.Provider
}

// openSchema makes a connection once something is asked, with the session's schema and without its time-outs: a
// migration may take long.
func (c Config) openSchema() (*schema, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	pool, err := c.pool(1)
	if err != nil {
		return nil, err
	}
	conn := pool.ConnConfig
	conn.RuntimeParams = map[string]string{"search_path": conn.RuntimeParams["search_path"],
		"application_name": "doorman migrations"}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	// The lock is asked for once a second, for five minutes.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(lockID(c.Schema)), lock.WithLockTimeout(1, 300))
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	db := stdlib.OpenDB(*conn)
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(locker),
		goose.WithDisableGlobalRegistry(true), goose.WithSlog(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("postgres: %w", err), db.Close())
	}
	return &schema{c, db, provider}, nil
}

// close ends the connection, which has nothing left to say.
func (s *schema) close() { _ = s.db.Close() }

func (s *schema) migrate(ctx context.Context) error {
	if err := makeSchema(ctx, s.db, s.config.Schema); err != nil {
		return failure("make the schema", err)
	}
	if _, err := s.provider.Up(ctx); err != nil {
		return failure("migrate", err)
	}
	if err := makeStore(ctx, s.db, s.config.Lanes); err != nil {
		return failure("make the store", err)
	}
	return nil
}

// lockID is of the schema, so that stores in one database do not wait for each other.
func lockID(schema string) int64 {
	hash := fnv.New64a()
	hash.Write([]byte("doorman " + schema))
	return int64(hash.Sum64())
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

// makeStore fills the tables that have their rows from the beginning, unless somebody else has.
func makeStore(ctx context.Context, db *sql.DB, lanes int) error {
	if lanes == 0 {
		lanes = DefaultLanes
	}
	var epoch [8]byte
	if _, err := rand.Read(epoch[:]); err != nil {
		return err
	}
	_, err := db.ExecContext(ctx, `
with made as (
    insert into meta (epoch, lanes) values ($1, $2) on conflict do nothing returning lanes
), counted as (
    insert into counter (position) select 0 from made
)
insert into lanes (lane) select generate_series(0, made.lanes - 1) from made`, hex.EncodeToString(epoch[:]), lanes)
	return err
}

// appliedAt tells which migrations have been applied and when; none when there is no such table.
func appliedAt(ctx context.Context, db *sql.DB) (map[int64]time.Time, error) {
	rows, err := db.QueryContext(ctx, `select version_id, tstamp from goose_db_version where is_applied and version_id > 0`)
	if state(err) == stateUndefinedTable {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // what went wrong, rows.Err says
	applied := map[int64]time.Time{}
	for rows.Next() {
		var (
			version int64
			at      time.Time
		)
		if err := rows.Scan(&version, &at); err != nil {
			return nil, err
		}
		applied[version] = at
	}
	return applied, rows.Err()
}

// check compares what is in the database with what this program needs, and reads the identity.
func (s *schema) check(ctx context.Context) (identity, error) {
	applied, err := appliedAt(ctx, s.db)
	if err != nil {
		return identity{}, failure("read the migrations", err)
	}
	if err := compare(s.config.Schema, s.provider.ListSources(), applied); err != nil {
		return identity{}, err
	}
	var known identity
	err = s.db.QueryRowContext(ctx, `select epoch, lanes, generation from meta`).
		Scan(&known.Epoch, &known.Lanes, &known.generation)
	if errors.Is(err, sql.ErrNoRows) {
		return identity{}, fmt.Errorf("%w: schema %q was not filled to the end: run doorman migrate up again",
			store.ErrSchema, s.config.Schema)
	}
	if err != nil {
		return identity{}, failure("read the identity", err)
	}
	if s.config.Lanes != 0 && s.config.Lanes != known.Lanes {
		return identity{}, fmt.Errorf("%w: schema %q has %d lanes and %d are configured: configure %d, "+
			"or change the number with 'doorman lanes set'",
			store.ErrSchema, s.config.Schema, known.Lanes, s.config.Lanes, known.Lanes)
	}
	return known, nil
}

func compare(schema string, known []*goose.Source, applied map[int64]time.Time) error {
	missing := 0
	newest := int64(0)
	for _, source := range known {
		newest = max(newest, source.Version)
		if _, ok := applied[source.Version]; !ok {
			missing++
		}
	}
	if at := slices.Max(append(slices.Collect(maps.Keys(applied)), 0)); at > newest {
		return fmt.Errorf("%w: schema %q is at version %d and this program knows %d at most: use a newer program",
			store.ErrSchema, schema, at, newest)
	}
	switch missing {
	case 0:
		return nil
	case len(known):
		return fmt.Errorf("%w: there is no store in schema %q: run doorman migrate up", store.ErrSchema, schema)
	}
	return fmt.Errorf("%w: schema %q lacks %d of %d migrations: run doorman migrate up", store.ErrSchema, schema, missing, len(known))
}
