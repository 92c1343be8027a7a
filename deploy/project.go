package deploy

import (
	"context"
	"errors"
	"fmt"

	"github.com/ticketed/doorman/aggregate/store/feed"
	"github.com/ticketed/doorman/projections/catalog"
	"github.com/ticketed/doorman/projections/postgres"
	"github.com/ticketed/doorman/projections/runner"
	"github.com/ticketed/doorman/projections/sqlite"
)

func (c *Config) projections() postgres.Config {
	return postgres.Config{URL: c.PostgresURL, Schema: c.PostgresSchema, Migrate: c.Migrate}
}

// openProjections opens what projections are kept in, beside the store.
func (p *Program) openProjections(ctx context.Context) (catalog.Backend, error) {
	const closing = "closing the projections"
	if p.config.PostgresURL == "" {
		opened, err := sqlite.Open(ctx, sqlite.Config{Dir: p.config.DataDir, Log: p.log})
		if err != nil {
			return nil, err
		}
		p.onStop(closing, func(context.Context) error { return opened.Close() })
		return opened.Catalog(), nil
	}
	opened, err := postgres.Open(ctx, p.config.projections())
	if err != nil {
		return nil, err
	}
	p.onStop(closing, func(context.Context) error { return opened.Close() })
	return opened.Catalog(), nil
}

// startCatalog keeps the catalog of streams up to date.
func (p *Program) startCatalog(ctx context.Context, f *feed.Feed) (*catalog.Catalog, error) {
	backend, err := p.openProjections(ctx)
	if err != nil {
		return nil, err
	}
	c := catalog.New(backend)
	r, err := runner.New(runner.Config{Log: f, Epoch: p.store.Identity().Epoch, End: p.store.End, Projection: c, Logger: p.log})
	if err != nil {
		return nil, err
	}
	p.onStop("ending the projections", func(context.Context) error { return r.Stop() })
	if err := r.Start(ctx); err != nil {
		return nil, err
	}
	p.metrics.read("doorman_catalog_behind", "Positions of the log that the catalog of streams lacks.",
		func() int { return int(r.Behind(f.End())) }) //nolint:gosec // no log is that long
	p.metrics.read("doorman_catalog_degraded", "1 while the catalog of streams cannot be read or filled, or is being made anew.",
		func() int {
			if catalogTrouble(r) != nil {
				return 1
			}
			return 0
		})
	p.health.aside = append(p.health.aside, check{"catalog", func(context.Context) error { return catalogTrouble(r) }})
	return c, nil
}

// catalogTrouble tells, without asking anybody, why GET /v1/streams may not be answered at the moment; nil when
// it is. Commands are taken all the same.
func catalogTrouble(r *runner.Runner) error {
	if r.Trouble() != nil { // what it is names files and servers
		return errors.New("it cannot be read or filled now; the program's log says why")
	}
	if of := r.WholeAt(); of > 0 {
		return fmt.Errorf("it is being made anew: %d of %d outcomes", r.Applied(), of)
	}
	return nil
}
