package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/pressly/goose/v3"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/projections/runner"
)

//go:embed migrations/*.sql
var migrations embed.FS

// file is the one that everything is in.
const file = "projections.db"

// readers is how many reads go on at once.
const readers = 4

// Config says where the projections are.
type Config struct {
	// Dir is the data directory, made when it is missing. One process at a time uses it.
	Dir string
	// Log is told of a damaged file that was put aside; nobody is without it.
	Log *slog.Logger
}

// Projections is the open file. All methods may be called from many goroutines.
type Projections struct {
	path string
	log  *slog.Logger

	// Transactions hold it to read; who opens, replaces and closes the file holds it to write.
	mu      sync.RWMutex
	writing *sql.DB // one connection; nil while the file could not be opened again
	reading *sql.DB
	era     int // how often the file was replaced
	closed  bool
}

// Open opens the file, makes it when there is none, and brings its schema up to date. One that is damaged is
// put aside and made anew. It fails with store.ErrSchema when a newer program wrote the file; the error says
// what to do.
func Open(ctx context.Context, config Config) (*Projections, error) {
	if config.Dir == "" {
		return nil, errors.New("open projections: the data directory is missing")
	}
	p := &Projections{path: filepath.Join(config.Dir, file), log: config.Log}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.mu.Lock()
	err := p.openWhole(ctx)
	p.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("open projections: %w", err)
	}
	return p, nil
}

// open leaves either both handles or none.
func (p *Projections) open(ctx context.Context) (err error) {
	if err := os.MkdirAll(filepath.Dir(p.path), 0o700); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	if info, err := os.Stat(p.path); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a directory, and the projections are kept in a file of that name: move it away", p.path)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.shut())
		}
	}()
	if p.writing, err = p.connect("_pragma=journal_mode(WAL)&_txlock=immediate"); err != nil {
		return err
	}
	p.writing.SetMaxOpenConns(1)
	if err := p.migrate(ctx); err != nil {
		return p.unopened(ctx, err)
	}
	if p.reading, err = p.connect("_pragma=query_only(1)"); err != nil {
		return err
	}
	p.reading.SetMaxOpenConns(readers)
	p.reading.SetMaxIdleConns(readers)
	return nil
}

func (p *Projections) connect(options string) (*sql.DB, error) {
	escaped := (&url.URL{Path: p.path}).EscapedPath()
	return sql.Open("sqlite", "file:"+escaped+"?_pragma=busy_timeout(5000)&_pragma=synchronous(NORMAL)&"+options)
}

func (p *Projections) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, p.writing, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return err
	}
	if current > target {
		return fmt.Errorf("%w: its version is %d and this program knows %d; use the newer program that wrote it, "+
			"or delete it: it is made anew from the log", store.ErrSchema, current, target)
	}
	_, err = provider.Up(ctx)
	return err
}

// Close waits for what is under way and closes the file. It is safe to call twice.
func (p *Projections) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return p.shut()
}

// shut lets go of the file.
func (p *Projections) shut() error {
	var errs []error
	for _, db := range []*sql.DB{p.reading, p.writing} { // the last one to go moves the write-ahead log into the file
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	p.reading, p.writing = nil, nil
	return errors.Join(errs...)
}

// change runs in one transaction that writes.
func (p *Projections) change(ctx context.Context, operation string, run func(*sql.Tx) error) error {
	return p.use(ctx, operation, func() *sql.DB { return p.writing }, run)
}

// read runs in one transaction that reads: all it sees is of one moment.
func (p *Projections) read(ctx context.Context, operation string, run func(*sql.Tx) error) error {
	return p.use(ctx, operation, func() *sql.DB { return p.reading }, run)
}

// use runs in one transaction. Whoever meets damage replaces the file before it is told of it.
func (p *Projections) use(ctx context.Context, operation string, handle func() *sql.DB, run func(*sql.Tx) error) error {
	p.mu.RLock()
	era, db := p.era, handle()
	var err error
	if db == nil {
		err = errNotOpen
	} else {
		err = within(ctx, db, run)
	}
	p.mu.RUnlock()
	err = p.failed(operation, err)
	if errors.Is(err, ErrDamaged) || errors.Is(err, errNotOpen) {
		// Whoever asked may go away; the file is everybody's.
		return errors.Join(err, p.replace(context.WithoutCancel(ctx), era, err))
	}
	return err
}

func within(ctx context.Context, db *sql.DB, run func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := run(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

const (
	sqlCheckpoint     = `SELECT epoch, position FROM checkpoints WHERE projection = ?`
	sqlMoveCheckpoint = `UPDATE checkpoints SET epoch = ?, position = ? WHERE projection = ? AND epoch = ? AND position = ?`
	sqlSetCheckpoint  = `INSERT INTO checkpoints (projection, epoch, position) VALUES (?1, ?2, 0)
		ON CONFLICT (projection) DO UPDATE SET epoch = ?2, position = 0`
)

// checkpoint reads that of a projection; the zero one when it has none.
func checkpoint(ctx context.Context, tx *sql.Tx, projection string) (at runner.Checkpoint, err error) {
	err = tx.QueryRowContext(ctx, sqlCheckpoint, projection).Scan(&at.Epoch, &at.Position)
	if errors.Is(err, sql.ErrNoRows) {
		return at, nil
	}
	return at, unread(ctx, err)
}

func moveCheckpoint(ctx context.Context, tx *sql.Tx, projection string, from, to runner.Checkpoint) error {
	result, err := tx.ExecContext(ctx, sqlMoveCheckpoint, to.Epoch, to.Position, projection, from.Epoch, from.Position)
	if err != nil {
		return err
	}
	if moved, err := result.RowsAffected(); err != nil || moved == 0 {
		return errors.Join(err, fmt.Errorf("%w: %s does not stand at %d of %q", runner.ErrMoved, projection, from.Position, from.Epoch))
	}
	return nil
}

// resetCheckpoint has a projection stand at the beginning of an epoch.
func resetCheckpoint(ctx context.Context, tx *sql.Tx, projection, epoch string) error {
	_, err := tx.ExecContext(ctx, sqlSetCheckpoint, projection, epoch)
	return err
}
