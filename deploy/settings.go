package deploy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ticketed/doorman/bus/rabbitmq"
)

// setting is one row of the table: a key, which is also the flag (with dashes) and the environment
// variable (in capitals, after DOORMAN_), and how its text becomes a field and back.
type setting struct {
	key      string
	doc      string // one line
	kind     string // as --help names the value
	fallback string
	secret   bool // may be read from the file named by …_FILE, and is masked when shown
	set      func(*Config, string) error
	value    func(*Config) any    // string, int, bool or []string
	text     func(*Config) string // what set reads
}

func (s *setting) flag() string { return strings.ReplaceAll(s.key, "_", "-") }
func (s *setting) env() string  { return envPrefix + strings.ToUpper(s.key) }

var settings = []setting{
	text("listen", "127.0.0.1:8080", "address to serve commands and queries on",
		func(c *Config) *string { return &c.Listen }),
	text("admin_listen", "127.0.0.1:8081", "address to serve operators on: dead letters, metrics, profiles and health",
		func(c *Config) *string { return &c.AdminListen }),
	list("admin_hosts", "", "names with a dot under which operators may ask for it; no page of the web may be served under them",
		func(c *Config) *[]string { return &c.AdminHosts }),
	text("data_dir", ".doorman", "folder of the SQLite file; unused with Postgres",
		func(c *Config) *string { return &c.DataDir }),
	number("sqlite_cache_mb", 64, "page cache of the SQLite file, in MiB",
		func(c *Config) *int { return &c.SQLiteCacheMB }),
	secret("postgres_url", "URL of the Postgres database to use instead of SQLite",
		func(c *Config) *string { return &c.PostgresURL }),
	text("postgres_schema", "doorman", "schema within the Postgres database",
		func(c *Config) *string { return &c.PostgresSchema }),
	number("postgres_connections", 8, "connections for reading; commits have four of their own",
		func(c *Config) *int { return &c.PostgresConnections }),
	secret("rabbitmq_url", "URL of the RabbitMQ that connects the processes of a deployment on Postgres",
		func(c *Config) *string { return &c.RabbitMQURL }),
	text("rabbitmq_prefix", rabbitmq.DefaultPrefix, "beginning of all names on it; deployments that share it differ here",
		func(c *Config) *string { return &c.RabbitMQPrefix }),
	yesNo("rabbitmq_publish_always", false, "publish events also when no queue is found bound to their routing keys, "+
		"for exchanges bound to doorman.events that route by headers",
		func(c *Config) *bool { return &c.PublishAlways }),
	yesNo("migrate", true, "bring the store's schema up to date at start",
		func(c *Config) *bool { return &c.Migrate }),
	duration("store_wait", "30s", "how long to wait at start for a Postgres or RabbitMQ that does not answer",
		func(c *Config) *time.Duration { return &c.StoreWait }),
	list("roles", "gateway,worker,projector", "what this process does; some of it alone with rabbitmq_url",
		func(c *Config) *[]string { return &c.Roles }),
	number("lanes", 16, "partitions of the command traffic of a new store; an older one's are changed by 'doorman lanes set'",
		func(c *Config) *int { return &c.Lanes }),
	number("parked_per_stream", 256, "commands that may wait on one stream",
		func(c *Config) *int { return &c.ParkedPerStream }),
	number("parked_per_session", 1000, "commands of one session that may wait",
		func(c *Config) *int { return &c.ParkedPerSession }),
	number("parked", 50_000, "commands that may wait in all",
		func(c *Config) *int { return &c.Parked }),
	number("cached_streams", 50_000, "streams that the worker keeps in memory, at most",
		func(c *Config) *int { return &c.CachedStreams }),
	number("cache_mb", 64, "memory for them, in MiB",
		func(c *Config) *int { return &c.CacheMB }),
	list("cors_origins", "", "origins whose pages may call, e.g. https://app.example.org, or * for all",
		func(c *Config) *[]string { return &c.CORSOrigins }),
	duration("http_read_header_timeout", "10s", "longest a request's head may take",
		func(c *Config) *time.Duration { return &c.HTTPReadHeaderTimeout }),
	duration("http_read_body_timeout", "30s", "longest a request's body may take",
		func(c *Config) *time.Duration { return &c.HTTPReadBodyTimeout }),
	duration("http_idle_timeout", "2m", "how long an unused connection is kept",
		func(c *Config) *time.Duration { return &c.HTTPIdleTimeout }),
	// 256 streams of 257 characters, as GET /v1/notifications may name, are 68 KB.
	number("http_max_header_bytes", 128<<10, "largest head of a request, in bytes",
		func(c *Config) *int { return &c.HTTPMaxHeaderBytes }),
	number("http_max_connections", 10_000, "connections of clients at once; one more is told 503",
		func(c *Config) *int { return &c.HTTPMaxConnections }),
	number("notify_max_connections", 16_384, "connections that watch at once, beside those; one more is told 503",
		func(c *Config) *int { return &c.NotifyMaxConnections }),
	duration("shutdown_grace", "30s", "longest that requests under way may take once asked to stop",
		func(c *Config) *time.Duration { return &c.ShutdownGrace }),
	text("log_level", "info", "debug, info, warn or error",
		func(c *Config) *string { return &c.LogLevel }),
	text("log_format", "text", "text or json",
		func(c *Config) *string { return &c.LogFormat }),
}

func findSetting(key string) (*setting, bool) {
	for i := range settings {
		if settings[i].key == key {
			return &settings[i], true
		}
	}
	return nil, false
}

func text(key, fallback, doc string, field func(*Config) *string) setting {
	return setting{key: key, doc: doc, kind: "text", fallback: fallback,
		set:   func(c *Config, text string) error { *field(c) = text; return nil },
		value: func(c *Config) any { return *field(c) },
		text:  func(c *Config) string { return *field(c) },
	}
}

func secret(key, doc string, field func(*Config) *string) setting {
	s := text(key, "", doc, field)
	s.secret = true
	return s
}

func number(key string, fallback int, doc string, field func(*Config) *int) setting {
	return setting{key: key, doc: doc, kind: "number", fallback: strconv.Itoa(fallback),
		set: func(c *Config, text string) (err error) {
			if *field(c), err = strconv.Atoi(text); err != nil {
				return fmt.Errorf("%q is not a whole number", text)
			}
			return nil
		},
		value: func(c *Config) any { return *field(c) },
		text:  func(c *Config) string { return strconv.Itoa(*field(c)) },
	}
}

func yesNo(key string, fallback bool, doc string, field func(*Config) *bool) setting {
	return setting{key: key, doc: doc, kind: "bool", fallback: strconv.FormatBool(fallback),
		set: func(c *Config, text string) (err error) {
			if *field(c), err = strconv.ParseBool(text); err != nil {
				return fmt.Errorf("%q is neither true nor false", text)
			}
			return nil
		},
		value: func(c *Config) any { return *field(c) },
		text:  func(c *Config) string { return strconv.FormatBool(*field(c)) },
	}
}

func duration(key, fallback, doc string, field func(*Config) *time.Duration) setting {
	return setting{key: key, doc: doc, kind: "duration", fallback: fallback,
		set: func(c *Config, text string) (err error) {
			if *field(c), err = time.ParseDuration(text); err != nil {
				return fmt.Errorf("%q is not a duration such as 30s or 2m", text)
			}
			return nil
		},
		value: func(c *Config) any { return durationText(*field(c)) },
		text:  func(c *Config) string { return durationText(*field(c)) },
	}
}

// durationText is what a person would write: 2m, not 2m0s.
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func list(key, fallback, doc string, field func(*Config) *[]string) setting {
	return setting{key: key, doc: doc, kind: "list", fallback: fallback,
		set: func(c *Config, text string) error {
			*field(c) = nil
			if strings.TrimSpace(text) == "" {
				return nil
			}
			for item := range strings.SplitSeq(text, ",") {
				item = strings.TrimSpace(item)
				if item == "" {
					return errors.New("it holds an empty item")
				}
				*field(c) = append(*field(c), item)
			}
			return nil
		},
		value: func(c *Config) any { return append([]string{}, *field(c)...) },
		text:  func(c *Config) string { return strings.Join(*field(c), ",") },
	}
}
