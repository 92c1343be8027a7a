package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// statement is an SQL text with the name under which each connection prepares it at first use.
type statement struct{ name, sql string }

// pool runs prepared statements with parameters and results in the binary format.
type pool struct {
	*pgxpool.Pool
	wait time.Duration // for an answer
}

func (c Config) open(ctx context.Context, conns int) (*pool, error) {
	config, err := c.pool(conns)
	if err != nil {
		return nil, err
	}
	config.AfterConnect = insistOnDurability
	p, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, failure("open", err)
	}
	return &pool{Pool: p, wait: c.patience()}, nil
}

// insistOnDurability overrides a server whose default is not to wait for its log. Settings that wait for
// more than that, such as for a standby, are left alone.
func insistOnDurability(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `
select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'`)
	return err
}

var binaryFormat = []int16{1}

// query calls each for every row of the result. What went wrong before the statement was sent comes as
// a notSentError, an error of each as a rowError.
func (p *pool) query(ctx context.Context, st *statement, each func(row) error, params ...[]byte) error {
	ctx, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	conn, err := p.Acquire(ctx)
	if err != nil {
		return &notSentError{err}
	}
	defer conn.Release()
	prepared, err := conn.Conn().Prepare(ctx, st.name, st.sql)
	if err != nil {
		return &notSentError{err}
	}
	result := conn.Conn().PgConn().ExecStatement(ctx, prepared, params, binaryFormat, binaryFormat)
	for result.NextRow() {
		if err == nil {
			err = each(result.Values())
		}
	}
	if _, broken := result.Close(); broken != nil {
		return broken
	}
	if err != nil {
		return &rowError{err}
	}
	return nil
}
