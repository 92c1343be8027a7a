package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Drop removes the schema with everything in it, for ever; none at all is fine. It is for stores that
// were made to be thrown away: those of tests and of measurements.
func Drop(ctx context.Context, config Config) error {
	config = config.withDefaults()
	_, db, err := config.goose()
	if err != nil {
		return err
	}
	defer closeDB(db)
	if _, err := db.ExecContext(ctx, `drop schema if exists `+pgx.Identifier{config.Schema}.Sanitize()+` cascade`); err != nil {
		return failure("drop the schema", err)
	}
	return nil
}
