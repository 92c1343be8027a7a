package deploy

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ticketed/doorman/bus/rabbitmq"
)

// Validate says everything that is wrong with the configuration, as a [ConfigError]; nil when nothing is.
func (c *Config) Validate() error { return configError(c.check()) }

// checker collects problems, each under the key and source of its setting.
type checker struct {
	config   *Config
	problems []Problem
}

func (k *checker) wrong(key, format string, args ...any) {
	k.problems = append(k.problems, Problem{key, k.config.source(key), fmt.Sprintf(format, args...)})
}

func (c *Config) check() []Problem {
	k := &checker{config: c}
	k.addresses()
	k.hosts()
	k.storage()
	k.broker()
	k.roles()
	k.lanes(c.Lanes)
	k.between("parked_per_stream", c.ParkedPerStream, 1, 100_000)
	k.between("parked_per_session", c.ParkedPerSession, 1, 10_000_000)
	k.between("parked", c.Parked, 1, 10_000_000)
	k.between("cached_streams", c.CachedStreams, 1, 100_000_000)
	k.between("cache_mb", c.CacheMB, 1, 1<<20)
	k.between("sqlite_cache_mb", c.SQLiteCacheMB, 1, 1<<20)
	k.between("postgres_connections", c.PostgresConnections, 1, 1000)
	k.origins()
	k.lasts("http_read_header_timeout", c.HTTPReadHeaderTimeout, time.Millisecond)
	k.lasts("http_read_body_timeout", c.HTTPReadBodyTimeout, time.Millisecond)
	k.lasts("http_idle_timeout", c.HTTPIdleTimeout, time.Millisecond)
	k.between("http_max_header_bytes", c.HTTPMaxHeaderBytes, 4<<10, 16<<20)
	k.between("http_max_connections", c.HTTPMaxConnections, 1, 10_000_000)
	k.between("notify_max_connections", c.NotifyMaxConnections, 1, 10_000_000)
	k.lasts("shutdown_grace", c.ShutdownGrace, 0)
	k.lasts("store_wait", c.StoreWait, 0)
	if _, ok := logLevels[c.LogLevel]; !ok {
		k.wrong("log_level", "%q is none of debug, info, warn, error", c.LogLevel)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		k.wrong("log_format", "%q is neither text nor json", c.LogFormat)
	}
	return k.problems
}

var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

func (k *checker) between(key string, value, low, high int) {
	if value < low || value > high {
		k.wrong(key, "%d is not between %d and %d", value, low, high)
	}
}

const (
	mostLanes = 1024
	// A broker that may open 1,024 files, as Debian's package has it, keeps some 900 for queues and connections. A
	// quorum queue takes three, and while the number of lanes changes the queues of both numbers are there: two times
	// 128 lanes leave it some for connections. One that has run out accepts none any more.
	mostLanesOverRabbitMQ = 128
)

func (k *checker) lanes(n int) {
	most, why := mostLanes, ""
	if k.config.RabbitMQURL != "" {
		most, why = mostLanesOverRabbitMQ, ": over RabbitMQ each takes three of the files that the broker may open, "+
			"also beside those of another number, and a broker that runs out of them lets nobody connect"
	}
	if n < 1 || n > most {
		k.wrong("lanes", "%d is not between 1 and %d%s", n, most, why)
	}
}

func (k *checker) lasts(key string, d, atLeast time.Duration) {
	if d < atLeast {
		k.wrong(key, "%s is too short", durationText(d))
	}
}

func (k *checker) addresses() {
	c := k.config
	good := k.address("listen", c.Listen)
	same := c.Listen == c.AdminListen && !strings.HasSuffix(c.Listen, ":0")
	if k.address("admin_listen", c.AdminListen) && good && same {
		k.wrong("admin_listen", "%s is the address of listen too; each needs its own", c.AdminListen)
	}
}

func (k *checker) address(key, text string) bool {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		k.wrong(key, "%q is not an address such as 127.0.0.1:8080", text)
		return false
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		k.wrong(key, "%q is not a port from 0 to 65535", port)
		return false
	}
	return true
}

// A host is compared with what a client asks for, which is in small letters and names a port besides.
var hostName = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)*$`)

func (k *checker) hosts() {
	for _, host := range k.config.AdminHosts {
		if !hostName.MatchString(host) {
			k.wrong("admin_hosts", "%q is not a name such as doorman.example.org (small letters, no port)", host)
		}
	}
}

// Postgres folds and truncates other names, so that what is asked for and what is made would differ.
var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

func (k *checker) storage() {
	c := k.config
	if c.PostgresURL == "" {
		if c.DataDir == "" {
			k.wrong("data_dir", "a folder is needed unless postgres_url is given")
		}
		return
	}
	if !postgresURL(c.PostgresURL) {
		// What cannot be read is not shown either: it holds a password.
		k.wrong("postgres_url", "it is not of the form postgres://user:password@host:5432/database")
	}
	if !schemaName.MatchString(c.PostgresSchema) {
		k.wrong("postgres_schema", "%q is not a name of small letters, digits and underscores, 63 at most", c.PostgresSchema)
	}
}

// postgresURL tells whether a text can be a connection string, of either form that libpq knows.
func postgresURL(text string) bool {
	if !strings.Contains(text, "://") {
		return strings.Contains(text, "=")
	}
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql")
}

// A prefix is part of the names of queues and exchanges, of which amq. is the broker's own.
var brokerPrefix = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

func (k *checker) broker() {
	c := k.config
	if c.RabbitMQURL == "" {
		return
	}
	if (rabbitmq.Config{URL: c.RabbitMQURL}).Validate() != nil {
		// What cannot be read is not shown either: it holds a password.
		k.wrong("rabbitmq_url",
			"it is not of the form amqp://user:password@host:5672/vhost, or several such of one virtual host, with commas")
	}
	if c.PostgresURL == "" {
		k.wrong("rabbitmq_url", "it needs postgres_url: processes cannot share a SQLite file")
	}
	if !brokerPrefix.MatchString(c.RabbitMQPrefix) || strings.HasPrefix(c.RabbitMQPrefix+".", "amq.") {
		k.wrong("rabbitmq_prefix", "%q is not a name of letters, digits, dots, dashes and underscores, 100 at most, "+
			"that is not amq and does not begin with amq.", c.RabbitMQPrefix)
	}
}

func (k *checker) roles() {
	all := []string{RoleGateway, RoleWorker, RoleProjector}
	seen := map[string]bool{}
	for _, role := range k.config.Roles {
		switch {
		case !slices.Contains(all, role):
			k.wrong("roles", "%q is none of %s%s", role, strings.Join(all, ", "), didYouMean(role, all))
			return
		case seen[role]:
			k.wrong("roles", "%q is given twice", role)
			return
		}
		seen[role] = true
	}
	if k.config.RabbitMQURL != "" {
		if len(seen) == 0 {
			k.wrong("roles", "none is given; there are %s", strings.Join(all, ", "))
		}
		return
	}
	for _, role := range all {
		if !seen[role] {
			k.wrong("roles", "%s is missing: without a message broker between processes (rabbitmq_url), "+
				"one process has all of %s", role, strings.Join(all, ", "))
			return
		}
	}
}

func (k *checker) origins() {
	for _, origin := range k.config.CORSOrigins {
		if origin == "*" {
			continue
		}
		u, err := url.Parse(origin)
		if err != nil || u.Scheme == "" || u.Host == "" || origin != u.Scheme+"://"+u.Host {
			k.wrong("cors_origins",
				"%q is not an origin such as https://app.example.org (no path, no slash at the end)", origin)
		} else if origin != strings.ToLower(origin) {
			k.wrong("cors_origins", "%q has capitals, which browsers never send", origin)
		}
	}
}
