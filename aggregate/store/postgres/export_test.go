package postgres

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
)

// KeepingRefused is the configuration with bounds on refused messages.
func (c Config) KeepingRefused(letters, bytes uint64) Config {
	c.maxRefused, c.maxRefusedBytes = letters, bytes
	return c
}

// Unmake takes all migrations back.
func Unmake(ctx context.Context, config Config) error {
	s, err := config.withDefaults().openSchema()
	if err != nil {
		return err
	}
	defer s.close()
	_, err = s.provider.DownTo(ctx, 0)
	return err
}

// MigrateTo takes migrations back, or applies them, until the schema is of a version.
func MigrateTo(ctx context.Context, config Config, version int64) error {
	s, err := config.withDefaults().openSchema()
	if err != nil {
		return err
	}
	defer s.close()
	if _, err = s.provider.DownTo(ctx, version); err == nil {
		_, err = s.provider.UpTo(ctx, version)
	}
	return err
}

// LoseSession is how a connection ends of which the server does not notice: it goes on holding.
func (h *Hold) LoseSession() *pgx.Conn {
	lost := h.conn
	h.conn = nil
	return lost
}

// PlanOfLaning is how the server finds out how many lanes there are.
func (s *Store) PlanOfLaning(ctx context.Context) (plan string, err error) {
	rows, err := s.commits.Query(ctx, "explain "+readLaning.sql)
	if err != nil {
		return "", err
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return strings.Join(lines, "\n"), err
}
