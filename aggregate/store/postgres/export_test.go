package postgres

import "context"

// Unmake takes all migrations back.
func Unmake(ctx context.Context, config Config) error {
	provider, db, err := config.withDefaults().goose()
	if err != nil {
		return err
	}
	defer closeDB(db)
	_, err = provider.DownTo(ctx, 0)
	return err
}
