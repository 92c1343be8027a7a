package sqlite

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/ticketed/doorman/aggregate/store"
)

// Config says where a store is and how it is opened. The zero value of everything but Dir is a default.
type Config struct {
	// Dir is the data directory, made when it is missing. One process at a time uses it.
	Dir string
	// Lanes is how many lanes a new store has, 16 by default. A store keeps the number it was made with;
	// opening it with another one is store.ErrSchema. Zero takes what it has.
	Lanes int
	// Migrate brings an older schema, or none, up to date. Otherwise such a file is store.ErrSchema.
	Migrate bool
	// CacheBytes bounds the page cache of the connection that writes; 64 MiB by default.
	CacheBytes int
	// Readers is how many reads go on at once, each with a page cache of 4 MiB; 4 by default.
	Readers int
	// Log is told of what goes wrong in the background.
	Log *slog.Logger

	settleEvery uint64 // positions between two sweeps, see settling

	maxRefused, maxRefusedBytes int64 // see store.MaxRefused
}

const (
	defaultLanes      = 16
	maxLanes          = 1 << 12
	defaultCacheBytes = 64 << 20
	defaultReaders    = 4
	readerCacheBytes  = 4 << 20
)

func (c Config) withDefaults() Config {
	if c.CacheBytes == 0 {
		c.CacheBytes = defaultCacheBytes
	}
	if c.Readers == 0 {
		c.Readers = defaultReaders
	}
	if c.settleEvery == 0 {
		c.settleEvery = defaultSettleEvery
	}
	if c.maxRefused == 0 {
		c.maxRefused, c.maxRefusedBytes = store.MaxRefused, store.MaxRefusedBytes
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate reports everything that is wrong at once.
func (c Config) Validate() error {
	var problems []error
	if c.Dir == "" {
		problems = append(problems, errors.New("sqlite: the data directory is missing"))
	}
	if c.Lanes < 0 || c.Lanes > maxLanes {
		problems = append(problems, fmt.Errorf("sqlite: the number of lanes is %d, not 1 to %d", c.Lanes, maxLanes))
	}
	if c.CacheBytes < 0 {
		problems = append(problems, fmt.Errorf("sqlite: the page cache is %d bytes", c.CacheBytes))
	}
	if c.Readers < 0 {
		problems = append(problems, fmt.Errorf("sqlite: the number of readers is %d", c.Readers))
	}
	return errors.Join(problems...)
}
