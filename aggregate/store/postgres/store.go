package postgres

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/ticketed/doorman/aggregate/store"
)

// Store is a store in one schema of a Postgres database.
type Store struct {
	config   Config
	identity atomic.Pointer[identity]
	commits  *pool // for what workers do to keep their lanes and commit alone, so that readers never keep them waiting
	reads    *pool
	bodies   *bodies
	numbers  *numbers
}

var _ store.Store = (*Store)(nil)

// Open connects to a database and checks, or brings about, the schema that this program needs. It fails
// with store.ErrUnavailable when the database does not answer and with store.ErrSchema when what is there
// does not fit, or there is no such database.
func Open(ctx context.Context, config Config) (*Store, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	s, err := open(ctx, config.withDefaults())
	if state(err) == stateNoDatabase {
		// To wait for it, as for a server that does not answer, would only hide what has to be done.
		return nil, fmt.Errorf("%w: postgres: the database does not exist; create it, or name another one: %s",
			store.ErrSchema, err.Error())
	}
	return s, err
}

func open(ctx context.Context, config Config) (*Store, error) {
	known, err := prepare(ctx, config)
	if err != nil {
		return nil, err
	}
	s := &Store{config: config, bodies: newBodies()}
	s.identity.Store(&known)
	if s.commits, err = config.open(ctx, commitConns); err != nil {
		return nil, err
	}
	if s.reads, err = config.open(ctx, config.MaxConns); err != nil {
		s.commits.Close()
		return nil, err
	}
	s.numbers = &numbers{pool: s.reads}
	return s, nil
}

// prepare migrates the schema if it is to, and says what store is in it.
func prepare(ctx context.Context, config Config) (identity, error) {
	s, err := config.openSchema()
	if err != nil {
		return identity{}, err
	}
	defer s.close()
	if config.Migrate {
		if err := s.migrate(ctx); err != nil {
			return identity{}, err
		}
	}
	return s.check(ctx)
}

// identity is what this process goes by.
type identity struct {
	store.Identity
	generation uint64 // of the lanes
}

// Identity tells the epoch of the log and the number of lanes: those it had when the store was opened, or that
// were adopted since.
func (s *Store) Identity() store.Identity { return s.identity.Load().Identity }

// Ping asks the database for an answer.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.reads.Ping(ctx); err != nil {
		return fmt.Errorf("%w: postgres: %w", store.ErrUnavailable, err)
	}
	return nil
}

// Close waits for what is under way and closes all connections.
func (s *Store) Close() error {
	s.commits.Close()
	s.reads.Close()
	return nil
}
