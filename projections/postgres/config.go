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
)

// Config says which database and how to use it.
type Config struct {
	// URL is a connection string as libpq knows it.
	URL string
	// Schema is that of the store; "doorman" by default.
	Schema string
	// Migrate brings the tables up to what this program needs. Otherwise they are only checked.
	Migrate bool
	// MaxConns bounds the connections; 4 by default.
	MaxConns int
	// Timeout bounds every statement on the server; 10 s by default. A client waits half as long for a
	// connection, and half as long again for an answer.
	Timeout time.Duration
}

// The defaults of Config.
const (
	DefaultSchema   = "doorman"
	DefaultMaxConns = 4
	DefaultTimeout  = 10 * time.Second
)

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
	if c.MaxConns < 0 {
		problems = append(problems, fmt.Errorf("postgres: max conns must not be below 0, it is %d", c.MaxConns))
	}
	if c.Timeout < 0 {
		problems = append(problems, fmt.Errorf("postgres: the time-out must not be below 0, it is %s", c.Timeout))
	}
	return errors.Join(problems...)
}

// pool configures a pool of connections, which are made as they are needed.
func (c Config) pool() (*pgxpool.Config, error) {
	pool, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("postgres: URL: %w", err)
	}
	milliseconds := strconv.FormatInt(c.Timeout.Milliseconds(), 10)
	maps.Copy(pool.ConnConfig.RuntimeParams, map[string]string{
		"search_path":                         pgx.Identifier{c.Schema}.Sanitize(),
		"application_name":                    "doorman projections",
		"client_encoding":                     "UTF8",
		"default_transaction_isolation":       "read committed",
		"statement_timeout":                   milliseconds,
		"idle_in_transaction_session_timeout": milliseconds,
		"synchronous_commit":                  "off",

		// Pages are read by index, whatever was known of the table when the statement was planned.
		"enable_seqscan":    "off",
		"enable_bitmapscan": "off",
		"jit":               "off",
		// Tables without statistics are taken for large; starting processes for a page costs more than reading it.
		"max_parallel_workers_per_gather": "0",
	})
	if pool.ConnConfig.ConnectTimeout == 0 {
		pool.ConnConfig.ConnectTimeout = c.Timeout / 2
	}
	pool.MaxConns, pool.MinConns, pool.MinIdleConns = int32(c.MaxConns), 0, 0 //nolint:gosec // a few
	return pool, nil
}
