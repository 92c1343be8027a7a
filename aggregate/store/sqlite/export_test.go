package sqlite

import (
	"context"
	"fmt"

	"github.com/pressly/goose/v3"
)

// MigrateTo takes migrations back until the schema is of a version. No process may be using the directory.
func MigrateTo(config Config, version int64) error {
	return alone(config, func(path string) error {
		return withProvider(path, func(p *goose.Provider) error {
			_, err := p.DownTo(context.Background(), version)
			return err
		})
	})
}

// SettlingEvery is the configuration with sweeps this many positions apart, so that few commits see many.
func (c Config) SettlingEvery(positions uint64) Config {
	c.settleEvery = positions
	return c
}

// KeepingRefused is the configuration with bounds on refused messages.
func (c Config) KeepingRefused(letters, bytes int64) Config {
	c.maxRefused, c.maxRefusedBytes = letters, bytes
	return c
}

// Dir is where the store is.
func (s *Store) Dir() string { return s.config.Dir }

// LimitPages makes the disk look as if it had room for so many pages.
func (s *Store) LimitPages(n int) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.writer.conn.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", n))
}

// Settled is the position up to which nothing is read again after a crash.
func (s *Store) Settled() uint64 {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.settling.settled
}

// Unsettled is how many streams' rows lag behind.
func (s *Store) Unsettled() int {
	s.view.mu.RLock()
	defer s.view.mu.RUnlock()
	return len(s.view.unsettled)
}

// HeldStates is the size of the states that are held in memory until their rows are written.
func (s *Store) HeldStates() int {
	s.view.mu.RLock()
	defer s.view.mu.RUnlock()
	bytes := 0
	for _, held := range s.view.unsettled {
		bytes += len(held.head.state)
	}
	return bytes
}
