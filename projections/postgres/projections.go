package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ticketed/doorman/projections/runner"
)

// Projections are the tables of one schema.
type Projections struct {
	pool *pgxpool.Pool
	wait time.Duration // for an answer
}

// Open connects to a database and checks, or brings about, the tables that this program needs. It fails with
// store.ErrUnavailable when the database does not answer and with store.ErrSchema when what is there does not
// fit.
func Open(ctx context.Context, config Config) (*Projections, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config = config.withDefaults()
	if config.Migrate {
		if err := Migrate(ctx, config); err != nil {
			return nil, err
		}
	}
	if err := check(ctx, config); err != nil {
		return nil, err
	}
	pool, err := config.pool()
	if err != nil {
		return nil, err
	}
	connected, err := pgxpool.NewWithConfig(ctx, pool)
	if err != nil {
		return nil, failed("open projections", err)
	}
	return &Projections{pool: connected, wait: config.Timeout + config.Timeout/2}, nil
}

// Close waits for what is under way and closes all connections. It is safe to call twice.
func (p *Projections) Close() error {
	p.pool.Close()
	return nil
}

const sqlCheckpoint = `select epoch, position from projection_checkpoints where projection = $1`

// checkpoint reads that of a projection; the zero one when it has none.
func (p *Projections) checkpoint(ctx context.Context, projection string) (at runner.Checkpoint, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	err = p.pool.QueryRow(ctx, sqlCheckpoint, projection).Scan(&at.Epoch, &at.Position)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return at, failed("read the checkpoint of "+projection, err)
	}
	return at, nil
}
