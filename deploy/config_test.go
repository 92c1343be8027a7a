package deploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// load reads a configuration from a command line, an environment and the text of a file.
func load(t *testing.T, args, environ []string, yaml string) (*Config, error) {
	t.Helper()
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(set)
	if yaml != "" {
		args = append(args, "--config", write(t, "doorman.yaml", yaml))
	}
	require.NoError(t, set.Parse(args))
	return Load(set, environ)
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	c := Defaults()
	require.NoError(t, c.Validate())
	require.Equal(t, "127.0.0.1:8080", c.Listen)
	require.Equal(t, 16, c.Lanes)
	require.Equal(t, []string{"gateway", "worker", "projector"}, c.Roles)
	for _, e := range c.Effective() {
		require.Equal(t, "default", e.Source, e.Key)
	}
}

func TestEverySettingReadsBackWhatItShows(t *testing.T) {
	t.Parallel()
	for i := range settings {
		s := &settings[i]
		c := Defaults()
		require.Equal(t, s.fallback, s.text(c), s.key)
		require.NotEmpty(t, s.doc, s.key)
		require.NoError(t, s.set(c, s.text(c)), s.key)
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	const yaml = "listen: 127.0.0.1:1\nlanes: 4\nmigrate: false\nroles: [gateway, worker, projector]\n"
	tests := []struct {
		name         string
		args         []string
		environ      []string
		yaml         string
		wantListen   string
		wantSource   string
		wantLanes    int
		lanesSource  string
		wantMigrates bool
	}{
		{name: "defaults", wantListen: "127.0.0.1:8080", wantSource: "default",
			wantLanes: 16, lanesSource: "default", wantMigrates: true},
		{name: "file over defaults", yaml: yaml, wantListen: "127.0.0.1:1", wantSource: "file doorman.yaml",
			wantLanes: 4, lanesSource: "file doorman.yaml"},
		{name: "environment over file", yaml: yaml, environ: []string{"DOORMAN_LISTEN=127.0.0.1:2", "DOORMAN_MIGRATE=true"},
			wantListen: "127.0.0.1:2", wantSource: "environment DOORMAN_LISTEN",
			wantLanes: 4, lanesSource: "file doorman.yaml", wantMigrates: true},
		{name: "flag over environment", yaml: yaml, environ: []string{"DOORMAN_LISTEN=127.0.0.1:2"},
			args: []string{"--listen", "127.0.0.1:3", "--migrate"}, wantListen: "127.0.0.1:3", wantSource: "flag --listen",
			wantLanes: 4, lanesSource: "file doorman.yaml", wantMigrates: true},
		{name: "an empty variable is not set", environ: []string{"DOORMAN_LISTEN=", "DOORMAN_LANES=2"},
			wantListen: "127.0.0.1:8080", wantSource: "default",
			wantLanes: 2, lanesSource: "environment DOORMAN_LANES", wantMigrates: true},
		{name: "an empty file says nothing", yaml: "# nothing\n", wantListen: "127.0.0.1:8080", wantSource: "default",
			wantLanes: 16, lanesSource: "default", wantMigrates: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := load(t, tt.args, tt.environ, tt.yaml)
			require.NoError(t, err)
			require.Equal(t, tt.wantListen, c.Listen)
			require.Equal(t, tt.wantSource, shortSource(c.source("listen")))
			require.Equal(t, tt.wantLanes, c.Lanes)
			require.Equal(t, tt.lanesSource, shortSource(c.source("lanes")))
			require.Equal(t, tt.wantMigrates, c.Migrate)
		})
	}
}

// shortSource leaves out the folder of a temporary file.
func shortSource(source string) string {
	if rest, ok := strings.CutPrefix(source, "file "); ok {
		return "file " + filepath.Base(rest)
	}
	return source
}

func TestTheFileCanBeNamedByTheEnvironment(t *testing.T) {
	t.Parallel()
	path := write(t, "d.yaml", "lanes: 3\nhttp_idle_timeout: 90s\n")
	c, err := Load(nil, []string{"DOORMAN_CONFIG=" + path})
	require.NoError(t, err)
	require.Equal(t, 3, c.Lanes)
	require.Equal(t, 90*time.Second, c.HTTPIdleTimeout)
	require.Equal(t, "file "+path, c.source("lanes"))
}

func TestSecretsAreReadFromMountedFilesAndMasked(t *testing.T) {
	t.Parallel()
	path := write(t, "url", "postgres://doorman:geheim@db:5432/doorman?sslmode=disable\n")
	c, err := Load(nil, []string{"DOORMAN_POSTGRES_URL_FILE=" + path})
	require.NoError(t, err)
	require.Equal(t, "postgres://doorman:geheim@db:5432/doorman?sslmode=disable", c.PostgresURL)
	for _, format := range ConfigFormats {
		var out strings.Builder
		require.NoError(t, c.Print(&out, format))
		require.NotContains(t, out.String(), "geheim", format)
		require.Contains(t, out.String(), "postgres://doorman:xxxxx@db:5432/doorman?sslmode=disable", format)
		require.Contains(t, out.String(), "named by DOORMAN_POSTGRES_URL_FILE", format)
	}
}

func TestTheBrokersPasswordIsReadFromAFileAndMasked(t *testing.T) {
	t.Parallel()
	path := write(t, "url", "amqp://doorman:geheim@a:5672,amqp://doorman:geheim@b:5672\n")
	c, err := Load(nil, []string{"DOORMAN_POSTGRES_URL=postgres://db/x", "DOORMAN_RABBITMQ_URL_FILE=" + path})
	require.NoError(t, err)
	require.Equal(t, "amqp://doorman:geheim@a:5672,amqp://doorman:geheim@b:5672", c.RabbitMQURL)
	for _, format := range ConfigFormats {
		var out strings.Builder
		require.NoError(t, c.Print(&out, format))
		require.NotContains(t, out.String(), "geheim", format)
		require.Contains(t, out.String(), "amqp://doorman:xxxxx@a:5672,amqp://doorman:xxxxx@b:5672", format)
	}
}

func TestMask(t *testing.T) {
	t.Parallel()
	for secret, want := range map[string]string{
		"":                                           "",
		"postgres://db/doorman":                      "postgres://db/doorman",
		"postgres://u:p@db/doorman":                  "postgres://u:xxxxx@db/doorman",
		"postgres://u@db/doorman?password=p&x=y":     "postgres://u@db/doorman?xxxxx",
		"host=db user=u password=p":                  "xxxxx",
		"postgres://u:p%zz@db/doorman":               "xxxxx",
		"postgres://db/doorman?sslpassword=p&user=u": "postgres://db/doorman?xxxxx",
		"amqp://u:p@mq:5672/vhost":                   "amqp://u:xxxxx@mq:5672/vhost",
		"amqp://u:p@a,amqps://v:q@b:5671/x":          "amqp://u:xxxxx@a,amqps://v:xxxxx@b:5671/x",
		"amqp://u:1,2@mq":                            "xxxxx",
	} {
		require.Equal(t, want, mask(secret), secret)
	}
}

func TestWhatIsPrintedAsYAMLIsReadBack(t *testing.T) {
	t.Parallel()
	first, err := load(t, []string{"--cors-origins", "https://a.example,https://b.example", "--lanes=7", "--migrate=false"}, nil, "")
	require.NoError(t, err)
	var out strings.Builder
	require.NoError(t, first.Print(&out, "yaml"))
	second, err := load(t, nil, nil, out.String())
	require.NoError(t, err)
	first.sources, second.sources = nil, nil
	require.Equal(t, first, second)
}

func TestEveryProblemIsToldAtOnceWithKeyAndSource(t *testing.T) {
	t.Parallel()
	_, err := load(t,
		[]string{"--lanes", "many", "--log-level", "loud"},
		[]string{"DOORMAN_LISTN=127.0.0.1:2", "DOORMAN_STORE_WAIT=5", "PATH=/bin"},
		"http: {idle_timeout: 5s}\nadmin_listen: 127.0.0.1:99999\ndata-dir: /tmp\n")
	require.ErrorIs(t, err, ErrConfig)
	var told []string
	var config *ConfigError
	require.ErrorAs(t, err, &config)
	for _, p := range config.Problems {
		p.Source = shortSource(p.Source)
		told = append(told, p.String())
	}
	require.Equal(t, []string{
		`DOORMAN_LISTN (environment): there is no such setting; did you mean DOORMAN_LISTEN?`,
		`data-dir (file doorman.yaml): there is no such setting; did you mean data_dir?`,
		`http.idle_timeout (file doorman.yaml): there is no such setting; did you mean http_idle_timeout?`,
		`store_wait (environment DOORMAN_STORE_WAIT): "5" is not a duration such as 30s or 2m`,
		`lanes (flag --lanes): "many" is not a whole number`,
		`admin_listen (file doorman.yaml): "99999" is not a port from 0 to 65535`,
		`log_level (flag --log-level): "loud" is none of debug, info, warn, error`,
	}, told)
	require.Contains(t, err.Error(), "configuration: 7 problems\n  DOORMAN_LISTN")
}

func TestValidation(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		set  func(*Config)
		want string // empty: it is fine
	}{
		{"no port", func(c *Config) { c.Listen = "localhost" }, `listen (code): "localhost" is not an address such as 127.0.0.1:8080`},
		{"all interfaces", func(c *Config) { c.Listen = ":8080" }, ""},
		{"ports of the system's choice", func(c *Config) { c.Listen, c.AdminListen = "127.0.0.1:0", "127.0.0.1:0" }, ""},
		{"a port in a name", func(c *Config) { c.AdminHosts = []string{"ok.example.org", "ops.example.org:8081"} },
			`admin_hosts (code): "ops.example.org:8081" is not a name such as doorman.example.org (small letters, no port)`},
		{"one address for both", func(c *Config) { c.AdminListen = c.Listen }, "admin_listen (code): 127.0.0.1:8080 is the address of listen too; each needs its own"},
		{"no folder", func(c *Config) { c.DataDir = "" }, "data_dir (code): a folder is needed unless postgres_url is given"},
		{"no folder with Postgres", func(c *Config) { c.DataDir, c.PostgresURL = "", "postgres://db/x" }, ""},
		{"another database", func(c *Config) { c.PostgresURL = "mysql://u:geheim@db/x" }, "postgres_url (code): it is not of the form postgres://user:password@host:5432/database"},
		{"keywords and values", func(c *Config) { c.PostgresURL = "host=db password=geheim" }, ""},
		{"neither URL nor keywords", func(c *Config) { c.PostgresURL = "geheim" }, "postgres_url (code): it is not of the form postgres://user:password@host:5432/database"},
		{"a URL that cannot be parsed", func(c *Config) { c.PostgresURL = "postgres://u:geheim%zz@db/x" }, "postgres_url (code): it is not of the form postgres://user:password@host:5432/database"},
		{"a schema to be quoted", func(c *Config) { c.PostgresURL, c.PostgresSchema = "postgres://db/x", "My-Schema" },
			`postgres_schema (code): "My-Schema" is not a name of small letters, digits and underscores, 63 at most`},
		{"no lanes", func(c *Config) { c.Lanes = 0 }, "lanes (code): 0 is not between 1 and 1024"},
		{"as many lanes as without a broker", func(c *Config) { c.Lanes = 1024 }, ""},
		{"more lanes than that", func(c *Config) { c.Lanes = 1025 }, "lanes (code): 1025 is not between 1 and 1024"},
		{"as many lanes as over RabbitMQ", func(c *Config) {
			c.PostgresURL, c.RabbitMQURL, c.Lanes = "postgres://db/x", "amqp://mq", 128
		}, ""},
		{"more lanes than a broker has files for", func(c *Config) {
			c.PostgresURL, c.RabbitMQURL, c.Lanes = "postgres://db/x", "amqp://mq", 129
		}, "lanes (code): 129 is not between 1 and 128: over RabbitMQ each takes three of the files that the broker may open, " +
			"also beside those of another number, and a broker that runs out of them lets nobody connect"},
		{"an unknown role", func(c *Config) { c.Roles = []string{"gateway", "projectr"} }, `roles (code): "projectr" is none of gateway, worker, projector; did you mean projector?`},
		{"a role twice", func(c *Config) { c.Roles = []string{"gateway", "gateway"} }, `roles (code): "gateway" is given twice`},
		{"a gateway alone", func(c *Config) { c.Roles = []string{"gateway"} }, "roles (code): worker is missing: without a message broker between processes (rabbitmq_url), one process has all of gateway, worker, projector"},
		{"no roles", func(c *Config) { c.Roles = nil }, "roles (code): gateway is missing: without a message broker between processes (rabbitmq_url), one process has all of gateway, worker, projector"},
		{"a gateway alone over RabbitMQ", func(c *Config) {
			c.PostgresURL, c.RabbitMQURL, c.Roles = "postgres://db/x", "amqp://u:geheim@mq", []string{"gateway"}
		}, ""},
		{"no roles over RabbitMQ", func(c *Config) {
			c.PostgresURL, c.RabbitMQURL, c.Roles = "postgres://db/x", "amqp://mq", nil
		}, "roles (code): none is given; there are gateway, worker, projector"},
		{"RabbitMQ without Postgres", func(c *Config) { c.RabbitMQURL = "amqp://u:geheim@mq" },
			"rabbitmq_url (code): it needs postgres_url: processes cannot share a SQLite file"},
		{"no URL of RabbitMQ", func(c *Config) { c.PostgresURL, c.RabbitMQURL = "postgres://db/x", "amqp://u:geheim%zz@mq" },
			"rabbitmq_url (code): it is not of the form amqp://user:password@host:5672/vhost, or several such of one virtual host, with commas"},
		{"two virtual hosts of RabbitMQ", func(c *Config) {
			c.PostgresURL, c.RabbitMQURL = "postgres://db/x", "amqp://one,amqp://two/x"
		}, "rabbitmq_url (code): it is not of the form amqp://user:password@host:5672/vhost, or several such of one virtual host, with commas"},
		{"a prefix of the broker's", func(c *Config) {
			c.PostgresURL, c.RabbitMQURL, c.RabbitMQPrefix = "postgres://db/x", "amqp://mq", "amq.x"
		}, `rabbitmq_prefix (code): "amq.x" is not a name of letters, digits, dots, dashes and underscores, 100 at most, that is not amq and does not begin with amq.`},
		{"a prefix that with a dot after it is the broker's", func(c *Config) {
			c.PostgresURL, c.RabbitMQURL, c.RabbitMQPrefix = "postgres://db/x", "amqp://mq", "amq"
		}, `rabbitmq_prefix (code): "amq" is not a name of letters, digits, dots, dashes and underscores, 100 at most, that is not amq and does not begin with amq.`},
		{"roles in any order", func(c *Config) { c.Roles = []string{"projector", "worker", "gateway"} }, ""},
		{"every origin", func(c *Config) { c.CORSOrigins = []string{"*"} }, ""},
		{"an origin", func(c *Config) { c.CORSOrigins = []string{"https://app.example.org:8443"} }, ""},
		{"an origin with a slash", func(c *Config) { c.CORSOrigins = []string{"https://app.example.org/"} },
			`cors_origins (code): "https://app.example.org/" is not an origin such as https://app.example.org (no path, no slash at the end)`},
		{"an origin with capitals", func(c *Config) { c.CORSOrigins = []string{"https://App.example.org"} }, `cors_origins (code): "https://App.example.org" has capitals, which browsers never send`},
		{"no grace", func(c *Config) { c.ShutdownGrace = 0 }, ""},
		{"negative grace", func(c *Config) { c.ShutdownGrace = -time.Second }, "shutdown_grace (code): -1s is too short"},
		{"no time for a head", func(c *Config) { c.HTTPReadHeaderTimeout = 0 }, "http_read_header_timeout (code): 0s is too short"},
		{"log format", func(c *Config) { c.LogFormat = "xml" }, `log_format (code): "xml" is neither text nor json`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := Defaults()
			tt.set(c)
			err := c.Validate()
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, "configuration: "+tt.want)
		})
	}
}

func TestTheFile(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ yaml, want string }{
		"not YAML":       {"listen: [", "yaml: line 1"},
		"no value":       {"listen:\n", "listen (file doorman.yaml): it has no value"},
		"list for one":   {"listen: [a, b]\n", "listen (file doorman.yaml): a list was given where one value belongs"},
		"a key twice":    {"lanes: 1\nlanes: 2\n", "already defined"},
		"a bare seconds": {"shutdown_grace: 30\n", `shutdown_grace (file doorman.yaml): "30" is not a duration`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, nil, nil, tt.yaml)
			require.ErrorIs(t, err, ErrConfig)
			dir := err.Error()
			if at := strings.Index(dir, "file /"); at >= 0 {
				end := strings.Index(dir, "/doorman.yaml")
				dir = dir[:at+5] + dir[end+1:]
			}
			require.Contains(t, dir, tt.want)
		})
	}
	_, err := Load(nil, []string{"DOORMAN_CONFIG=/nowhere/doorman.yaml"})
	require.EqualError(t, err, "configuration: config (environment DOORMAN_CONFIG): open /nowhere/doorman.yaml: no such file or directory")
}

func TestVariablesThatAreNotOursAreLeftAlone(t *testing.T) {
	t.Parallel()
	_, err := Load(nil, []string{
		"DOORMAN_SERVICE_HOST=10.0.0.1", "DOORMAN_SERVICE_PORT=80", "DOORMAN_SERVICE_PORT_HTTP=80", "DOORMAN_PORT=tcp://10.0.0.1:80",
		"DOORMAN_PORT_80_TCP=tcp://10.0.0.1:80", "DOORMAN_PORT_80_TCP_ADDR=10.0.0.1", "DOORMAN_ADMIN_SERVICE_HOST=10.0.0.2",
		"DOORMAN_ADMIN_PORT_8081_TCP_PROTO=tcp", "DOORMAN_URL=http://x", "DOORMAN_DATA=/data", "DOORMAN_TEST_POSTGRES_URL=x",
	})
	require.NoError(t, err)
}

func TestASecretGivenTwiceIsAnError(t *testing.T) {
	t.Parallel()
	_, err := Load(nil, []string{"DOORMAN_POSTGRES_URL=postgres://a/b", "DOORMAN_POSTGRES_URL_FILE=/nowhere"})
	require.EqualError(t, err, "configuration: postgres_url (environment DOORMAN_POSTGRES_URL_FILE): "+
		"DOORMAN_POSTGRES_URL is set as well; only one of them can be meant")
	_, err = Load(nil, []string{"DOORMAN_POSTGRES_URL_FILE=/nowhere/url"})
	require.ErrorContains(t, err, "open /nowhere/url: no such file")
}

func TestEditDistance(t *testing.T) {
	t.Parallel()
	require.Equal(t, 0, editDistance("lanes", "lanes"))
	require.Equal(t, 1, editDistance("lane", "lanes"))
	require.Equal(t, 2, editDistance("lnaes", "lanes"))
	require.Equal(t, 3, editDistance("kitten", "sitting"))
	require.Equal(t, 5, editDistance("", "lanes"))
}
