package deploy

import (
	"context"
	"time"

	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/aggregate/store/sqlite"
	projections "github.com/ticketed/doorman/projections/postgres"
)

// Migration is one step of a store's schema.
type Migration struct {
	Version   int64
	Name      string
	Applied   bool
	AppliedAt time.Time // zero when it was not applied, or that is not known
}

// Migrate brings the configured store up to what this program needs, and makes it when there is none; the
// projections beside it too, unless they are in a file, which is brought up to date whenever it is opened.
func Migrate(ctx context.Context, c *Config) error {
	if c.PostgresURL == "" {
		_, err := sqlite.Migrate(ctx, c.sqlite())
		return err
	}
	if err := postgres.Migrate(ctx, c.postgres()); err != nil {
		return err
	}
	return projections.Migrate(ctx, c.projections())
}

// Migrations lists the steps that this program knows, in order, and whether they were applied.
func Migrations(ctx context.Context, c *Config) ([]Migration, error) {
	var all []Migration
	if c.PostgresURL != "" {
		steps, err := postgres.MigrationStatus(ctx, c.postgres())
		for _, step := range steps {
			all = append(all, Migration(step))
		}
		return all, err
	}
	steps, err := sqlite.MigrationStatus(ctx, c.sqlite())
	for _, step := range steps {
		all = append(all, Migration{step.Version, step.Name, !step.At.IsZero(), step.At})
	}
	return all, err
}
