package deploy

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Config is everything a running program can be told. [Defaults] fills it in, [Load] reads it from flags,
// environment and file, and [Config.Validate] says what is wrong with it. The doc of each setting is in
// the table of settings.go, which is also what --help and `doorman config` show.
type Config struct {
	Listen      string
	AdminListen string
	AdminHosts  []string

	DataDir             string
	SQLiteCacheMB       int
	PostgresURL         string // a secret; empty: SQLite in DataDir
	PostgresSchema      string
	PostgresConnections int
	RabbitMQURL         string // a secret; empty: the bus is in this process
	RabbitMQPrefix      string
	PublishAlways       bool
	Migrate             bool
	StoreWait           time.Duration

	Roles []string
	Lanes int

	ParkedPerStream  int
	ParkedPerSession int
	Parked           int
	CachedStreams    int
	CacheMB          int

	CORSOrigins           []string
	HTTPReadHeaderTimeout time.Duration
	HTTPReadBodyTimeout   time.Duration
	HTTPIdleTimeout       time.Duration
	HTTPMaxHeaderBytes    int
	HTTPMaxConnections    int
	NotifyMaxConnections  int
	ShutdownGrace         time.Duration

	LogLevel  string
	LogFormat string

	// Log, when not nil, is used instead of one made from LogLevel and LogFormat on standard error.
	Log *slog.Logger

	// Demo, when not nil, answers GET /demo/ and what is below it at the public address.
	Demo http.Handler

	pastLanes  time.Duration // see pastLanesFor, which 0 stands for
	answersFor time.Duration // see answerPatience, which 0 stands for

	sources map[string]string // by key, where a value comes from; absent for defaults and for code
}

// The roles a process can have.
const (
	RoleGateway   = "gateway"   // takes commands and answers over HTTP
	RoleWorker    = "worker"    // judges commands and commits
	RoleProjector = "projector" // keeps read models
)

// has tells whether a process has a role.
func (c *Config) has(role string) bool { return slices.Contains(c.Roles, role) }

// Defaults is the configuration of a program that was told nothing.
func Defaults() *Config {
	c := &Config{}
	for i := range settings {
		s := &settings[i]
		if err := s.set(c, s.fallback); err != nil {
			panic(fmt.Sprintf("default of setting %s: %v", s.key, err))
		}
	}
	return c
}

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Key    string // of the setting, or the name that is not one
	Source string // e.g. "flag --lanes", "environment DOORMAN_LANES", "file doorman.yaml"
	Detail string
}

func (p Problem) String() string {
	if p.Source == "" {
		return p.Key + ": " + p.Detail
	}
	return p.Key + " (" + p.Source + "): " + p.Detail
}

// ErrConfig matches every [ConfigError].
var ErrConfig = errors.New("configuration")

// ConfigError lists everything that is wrong with a configuration.
type ConfigError struct{ Problems []Problem }

func (e *ConfigError) Error() string {
	if len(e.Problems) == 1 {
		return "configuration: " + e.Problems[0].String()
	}
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = "  " + p.String()
	}
	return fmt.Sprintf("configuration: %d problems\n%s", len(e.Problems), strings.Join(lines, "\n"))
}

// Is makes the error match [ErrConfig].
func (e *ConfigError) Is(target error) bool { return target == ErrConfig }

func configError(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	return &ConfigError{Problems: problems}
}

// source says where a setting's value comes from.
func (c *Config) source(key string) string {
	if source, ok := c.sources[key]; ok {
		return source
	}
	s, _ := findSetting(key)
	if s != nil && s.text(c) == s.fallback {
		return "default"
	}
	return "code"
}
