package postgres

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ticketed/doorman/aggregate/store"
)

// Config says which database and how to use it.
type Config struct {
	// URL is a connection string as libpq knows it: postgres://user:password@host:port/database?…, or
	// keyword=value pairs. Several hosts are tried in turn; target_session_attrs=read-write picks the
	// primary.
	URL string
	// Schema holds all of the store's tables; "doorman" by default. It is made when it is missing.
	Schema string
	// Lanes is the number of lanes. A new store is made with it, 16 by default; a store that is there
	// must have been made with it. 0 takes whatever is there.
	Lanes int
	// Migrate brings the schema up to what this program needs. Otherwise it is only checked.
	Migrate bool
	// MaxConns bounds the connections for reading; 8 by default. Commits have four of their own, so
	// that neither waits for the other.
	MaxConns int
	// Timeout bounds every statement on the server; 10 s by default. A client waits half as long for a
	// connection, and a fifth longer for an answer: with the default it has left a connection that went dead,
	// and its lanes, before the 15 s are over after which a frozen worker's lanes must be worked again.
	Timeout time.Duration

	maxRefused, maxRefusedBytes uint64 // see store.MaxRefused
}

// The defaults of Config.
const (
	DefaultSchema   = "doorman"
	DefaultLanes    = 16
	DefaultMaxConns = 8
	DefaultTimeout  = 10 * time.Second
)

const (
	commitConns = 4
	maxLanes    = 4096
)

// patience is how long a client waits for an answer: longer than the server works on it.
func (c Config) patience() time.Duration { return c.Timeout + c.Timeout/5 }

func (c Config) withDefaults() Config {
	if c.Schema == "" {
		c.Schema = DefaultSchema
	}
	if c.MaxConns == 0 {
		c.MaxConns = DefaultMaxConns
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.maxRefused == 0 {
		c.maxRefused, c.maxRefusedBytes = store.MaxRefused, store.MaxRefusedBytes
	}
	return c
}

// Validate reports everything that is wrong with a configuration.
func (c Config) Validate() error {
	var problems []error
	if c.URL == "" {
		problems = append(problems, errors.New("postgres: a URL is needed"))
	} else if _, err := pgxpool.ParseConfig(c.URL); err != nil {
		problems = append(problems, fmt.Errorf("postgres: URL: %w", err))
	}
	if len(c.Schema) > 63 || strings.ContainsRune(c.Schema, 0) {
		problems = append(problems, fmt.Errorf("postgres: schema %q must be a name of 63 bytes at most", c.Schema))
	}
	if c.Lanes < 0 || c.Lanes > maxLanes {
		problems = append(problems, fmt.Errorf("postgres: lanes must be between 1 and %d, not %d", maxLanes, c.Lanes))
	}
	if c.MaxConns < 0 {
		problems = append(problems, fmt.Errorf("postgres: max conns must not be below 0, it is %d", c.MaxConns))
	}
	if c.Timeout < 0 {
		problems = append(problems, fmt.Errorf("postgres: the time-out must not be below 0, it is %s", c.Timeout))
	}
	return errors.Join(problems...)
}

// session is what every connection is told when it begins.
func (c Config) session() map[string]string {
	return map[string]string{
		"search_path":      pgx.Identifier{c.Schema}.Sanitize(),
		"application_name": c.application(),
		"client_encoding":  "UTF8",

		"default_transaction_isolation":       "read committed",
		"statement_timeout":                   strconv.FormatInt(c.Timeout.Milliseconds(), 10),
		"idle_in_transaction_session_timeout": strconv.FormatInt(c.Timeout.Milliseconds(), 10),

		// Each statement probes an index once per element of its arrays. A plan that was made while a
		// table was empty, or before statistics were taken, must not be another one.
		"plan_cache_mode":   "force_generic_plan",
		"enable_seqscan":    "off",
		"enable_bitmapscan": "off",
		"enable_hashjoin":   "off",
		"enable_mergejoin":  "off",
		"enable_material":   "off",
		"jit":               "off",
		// Tables without statistics are taken for large: two processes were started to read two rows.
		"max_parallel_workers_per_gather": "0",
	}
}

// application names this store's connections, by which Acquire finds one that got stuck.
func (c Config) application() string {
	name := "doorman " + c.Schema
	return name[:min(len(name), 63)]
}

// pool configures a pool of connections, which are made as they are needed.
func (c Config) pool(conns int) (*pgxpool.Config, error) {
	pool, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("postgres: URL: %w", err)
	}
	maps.Copy(pool.ConnConfig.RuntimeParams, c.session())
	if pool.ConnConfig.ConnectTimeout == 0 {
		pool.ConnConfig.ConnectTimeout = c.Timeout / 2
	}
	pool.MaxConns, pool.MinConns, pool.MinIdleConns = int32(conns), 0, 0
	return pool, nil
}
