package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Drop removes the schema with everything in it, for ever; none at all is fine. It is for stores that
// were made to be thrown away: those of tests and of measurements.
func Drop(ctx context.Context, config Config) error {
	s, err := config.withDefaults().openSchema()
	if err != nil {
		return err
	}
	defer s.close()
	if _, err := s.db.ExecContext(ctx, `drop schema if exists `+pgx.Identifier{s.config.Schema}.Sanitize()+` cascade`); err != nil {
		return failure("drop the schema", err)
	}
	return nil
}
