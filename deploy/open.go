package deploy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/aggregate/store/sqlite"
	"github.com/ticketed/doorman/bus/rabbitmq"
)

func (c *Config) postgres() postgres.Config {
	return postgres.Config{URL: c.PostgresURL, Schema: c.PostgresSchema, Lanes: c.lanesAsked(), Migrate: c.Migrate,
		MaxConns: c.PostgresConnections}
}

func (c *Config) sqlite() sqlite.Config {
	return sqlite.Config{Dir: c.DataDir, Lanes: c.lanesAsked(), Migrate: c.Migrate, CacheBytes: c.SQLiteCacheMB << 20}
}

func (c *Config) rabbitmq() rabbitmq.Config {
	return rabbitmq.Config{URL: c.RabbitMQURL, Prefix: c.RabbitMQPrefix}
}

// storeName says which store is used, without secrets.
func (c *Config) storeName() string {
	if c.PostgresURL == "" {
		return "SQLite in " + c.DataDir
	}
	return "schema " + c.PostgresSchema + " of " + mask(c.PostgresURL)
}

// openStore opens the store, and waits for a Postgres that does not answer yet, since the processes of a
// deployment start in any order.
func (p *Program) openStore(ctx context.Context) (store.Store, error) {
	if p.config.PostgresURL == "" {
		config := p.config.sqlite()
		config.Log = p.log
		return sqlite.Open(ctx, config)
	}
	patient, cancel := context.WithTimeout(ctx, p.config.StoreWait)
	defer cancel()
	level := slog.LevelWarn // the first time; the same again is no news
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		opened, err := postgres.Open(ctx, p.config.postgres())
		if err == nil {
			return opened, nil
		}
		if !errors.Is(err, store.ErrUnavailable) {
			return nil, err
		}
		p.log.Log(ctx, level, "the store does not answer; trying again for a while", "store", p.config.storeName(),
			"store_wait", durationText(p.config.StoreWait), "err", err)
		level = slog.LevelDebug
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-patient.Done():
			timer.Stop()
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, fmt.Errorf("the store (%s) did not answer within %s: %w",
				p.config.storeName(), durationText(p.config.StoreWait), err)
		}
	}
}
