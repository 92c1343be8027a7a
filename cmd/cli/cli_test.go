package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/document"
	"github.com/ticketed/doorman/aggregate/order"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func builtIn() []aggregate.Type { return []aggregate.Type{document.Type(), order.Type()} }

// result is what a command line came to.
type result struct {
	code     int
	out, err string
}

// run runs a command line with an environment and standard input of its own.
func run(t *testing.T, environ []string, stdin string, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	streams := Streams{In: strings.NewReader(stdin), Out: &out, Err: &err, Environ: environ}
	code := Run(t.Context(), streams, args, builtIn()...)
	return result{code, out.String(), err.String()}
}

// golden compares a text with the file of that name; -update writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o750))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run with -update to write it")
	require.Equal(t, string(want), got, "run with -update and read the difference")
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"", "serve", "send", "tail", "config", "migrate", "migrate up", "migrate status", "lanes", "lanes set", "lanes abort",
		"dead", "dead list", "dead show", "dead retry", "dead discard", "parked", "parked list", "parked show", "parked reject", "version"} {
		t.Run("doorman "+command, func(t *testing.T) {
			t.Parallel()
			got := run(t, nil, "", append(strings.Fields(command), "--help")...)
			require.Equal(t, ExitOK, got.code)
			require.Empty(t, got.err)
			golden(t, "help"+strings.ReplaceAll(" "+command, " ", "_")+".txt", got.out)
		})
	}
}

func TestWithoutACommandHelpIsGiven(t *testing.T) {
	t.Parallel()
	got := run(t, nil, "")
	require.Equal(t, ExitOK, got.code)
	require.Contains(t, got.out, "doorman serve")
}

func TestConfigShowsWhatStandsAndWhy(t *testing.T) {
	t.Parallel()
	environ := []string{"DOORMAN_LANES=8", "DOORMAN_POSTGRES_URL=postgres://u:geheim@db/doorman", "HOME=/"}
	for _, format := range []string{"text", "yaml", "json"} {
		got := run(t, environ, "", "config", "--listen", ":9000", "-o", format)
		require.Equal(t, ExitOK, got.code, got.err)
		require.NotContains(t, got.out, "geheim")
		golden(t, "config."+format, got.out)
	}
}

func TestWhatIsAskedForWronglyEndsWithTwo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		args    []string
		environ []string
		want    string
	}{
		{name: "command", args: []string{"srve"}, want: "doorman: unknown command \"srve\" for \"doorman\"\n\nDid you mean this?\n\tserve\n\n"},
		{name: "flag", args: []string{"serve", "--lans", "3"}, want: "doorman: unknown flag: --lans\n"},
		{name: "argument", args: []string{"version", "x"}, want: "doorman: unknown command \"x\" for \"doorman version\"\n"},
		{name: "format", args: []string{"config", "-o", "xml"}, want: "doorman: --output: \"xml\" is none of text, yaml, json\n"},
		{name: "settings", args: []string{"serve", "--lanes", "0"}, environ: []string{"DOORMAN_LISTN=x"},
			want: "doorman: configuration: 2 problems\n" +
				"  DOORMAN_LISTN (environment): there is no such setting; did you mean DOORMAN_LISTEN?\n" +
				"  lanes (flag --lanes): 0 is not between 1 and 1024\n"},
		{name: "file", args: []string{"send"}, want: "doorman: --file is required; - is standard input\n"},
		{name: "share", args: []string{"send", "-f", "-", "--duplicate", "200%"},
			want: "doorman: --duplicate: \"200%\" is not a share such as 5% or 0.05\n"},
		{name: "number", args: []string{"bench", "--count", "x"}, want: "doorman: --count: \"x\" is not a whole number\n"},
		{name: "large number", args: []string{"bench", "--count", "99999999999999999999"},
			want: "doorman: --count: \"99999999999999999999\" is out of range\n"},
		{name: "rate", args: []string{"bench", "--rate", "x"}, want: "doorman: --rate: \"x\" is not a number\n"},
		{name: "duration", args: []string{"bench", "--duration", "x"},
			want: "doorman: --duration: \"x\" is not a duration such as 30s or 2m\n"},
		{name: "yes or no", args: []string{"bench", "--table=x"}, want: "doorman: --table: \"x\" is not true or false\n"},
		{name: "memory of a server", args: []string{"bench", "--idle", "1"}, environ: []string{"DOORMAN_ADMIN_LISTEN=9081"},
			want: "doorman: configuration: admin_listen (environment DOORMAN_ADMIN_LISTEN): \"9081\" is not an address such as 127.0.0.1:8080\n"},
		{name: "window", args: []string{"send", "-f", "-", "--shuffle", "-1"}, want: "doorman: --shuffle: -1 is below 0\n"},
		{name: "connections", args: []string{"send", "-f", "-", "--parallel", "0"}, want: "doorman: --parallel: 0 is not between 1 and 4096\n"},
		{name: "array", args: []string{"send", "-f", "-", "--array", "257"}, want: "doorman: --array: 257 is not between 1 and 256\n"},
		{name: "streams", args: []string{"bench", "--streams", "0"}, want: "doorman: --streams: 0 is below 1\n"},
		{name: "connections of bench", args: []string{"bench", "--connections", "-1"}, want: "doorman: --connections: -1 is below 1\n"},
		{name: "no commands", args: []string{"bench", "--count", "0"}, want: "doorman: --count: 0 is below 1\n"},
		{name: "no time", args: []string{"bench", "--duration", "0s"}, want: "doorman: --duration: 0s is too short\n"},
		{name: "no process", args: []string{"bench", "--pid", "0"}, want: "doorman: --pid: 0 is below 1\n"},
		{name: "process", args: []string{"bench", "--pid", "2147483646"}, want: "doorman: pid 2147483646 is no process on this machine\n"},
		{name: "parked", args: []string{"bench", "--watch-parked", "5%"}, want: "doorman: --watch-parked has no effect without --out-of-order\n"},
		{name: "watched", args: []string{"bench", "--watch-streams", "5", "--watchers", "0"},
			want: "doorman: --watch-streams has no effect without --watchers\n"},
		{name: "two servers", args: []string{"bench", "--serve", "sqlite", "--pid", "1"},
			want: "doorman: a server of its own is started: leave out --pid\n"},
		{name: "table", args: []string{"bench", "--table"}, want: "doorman: --table measures on Postgres too: " +
			"give --postgres-url or DOORMAN_POSTGRES_URL, or --serve sqlite for its rows alone\n"},
		{name: "shell", args: []string{"completion", "nosuch"}, want: "doorman: unknown command \"nosuch\" for \"doorman completion\"\n"},
		{name: "migration", args: []string{"migrate", "nosuch"}, want: "doorman: unknown command \"nosuch\" for \"doorman migrate\"\n"},
		{name: "twice", args: []string{"tail", "document/plan", "document/plan@3"}, want: "doorman: document/plan is named twice\n"},
		{name: "scheme of tail", args: []string{"tail", "--url", "127.0.0.1:28080"},
			want: "doorman: --url: \"127.0.0.1:28080\" lacks http:// or https:// before it, as in http://127.0.0.1:8080\n"},
		{name: "scheme of bench", args: []string{"bench", "--idle", "1", "--admin-url", "localhost:1"},
			want: "doorman: --admin-url: \"localhost:1\" lacks http:// or https:// before it, as in http://127.0.0.1:8081\n"},
		{name: "patience", args: []string{"send", "-f", "-", "--wait", "0s"}, want: "doorman: --wait: 0s is too short\n"},
		{name: "url", args: []string{"send", "-f", "-", "--url", "ftp://x"},
			want: "doorman: --url: client: BaseURL \"ftp://x\" is not http://host or https://host\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := run(t, tt.environ, "", tt.args...)
			require.Equal(t, ExitUsage, got.code)
			require.Empty(t, got.out)
			asked := "doorman " + tt.args[0]
			if tt.name == "command" {
				asked = "doorman"
			}
			require.Equal(t, tt.want+"Run '"+asked+" --help' for usage.\n", got.err)
		})
	}
}

func TestVersionTellsWhatTheBinaryWasMadeOf(t *testing.T) {
	t.Parallel()
	on := fmt.Sprintf(" %s %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	require.Equal(t, "doorman (unknown)"+on, versionText("doorman", nil))
	info := &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef0123"}, {Key: "vcs.time", Value: "2026-11-22T00:00:00Z"},
		{Key: "vcs.modified", Value: "true"},
	}}
	require.Equal(t, "doorman v1.2.3 (commit 0123456789ab of 2026-11-22T00:00:00Z, with uncommitted changes)"+on, versionText("doorman", info))
	got := run(t, nil, "", "version")
	require.Equal(t, ExitOK, got.code)
	require.Regexp(t, `^doorman .*go1.*\n$`, got.out)
}

// A team's own binary is called by its own name wherever it tells what to run.
func TestABinaryCallsItselfByItsName(t *testing.T) {
	t.Parallel()
	for path, name := range map[string]string{
		"/usr/local/bin/permits": "permits", "permits.exe": "permits", "./doorman": "doorman", "": "doorman",
		"/tmp/go-build123/b001/exe/permits": "doorman", "/work/cli.test": "doorman",
	} {
		require.Equal(t, name, nameOf(path), path)
	}
	call := func(args ...string) result {
		var out, err bytes.Buffer
		streams := Streams{In: strings.NewReader(""), Out: &out, Err: &err, Name: "permits"}
		return result{Run(t.Context(), streams, args, builtIn()...), out.String(), err.String()}
	}
	for _, command := range []string{"", "serve", "send", "tail", "bench", "config", "migrate", "migrate up", "migrate status", "lanes", "lanes set", "lanes abort",
		"dead", "dead list", "dead show", "dead retry", "dead discard", "parked", "parked list", "parked show", "parked reject", "version"} {
		got := call(append(strings.Fields(command), "--help")...)
		require.NotRegexp(t, `\bdoorman (serve|send|tail|bench|config|migrate|lanes|dead|parked|version|\[)`, got.out, command)
		require.Contains(t, got.out, "permits "+command)
	}
	require.Equal(t, "permits: unknown flag: --x\nRun 'permits serve --help' for usage.\n", call("serve", "--x").err)
	require.Contains(t, call("send", "-f", "-", "--url", "http://127.0.0.1:1").err, "start a server with 'permits serve'")
	require.Regexp(t, "^permits ", call("version").out)
}

func TestShellsCanComplete(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		got := run(t, nil, "", "completion", shell)
		require.Equal(t, ExitOK, got.code)
		require.Contains(t, got.out, "doorman", shell)
	}
}

func TestErrorsAreOneLine(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a b c", sentence(fmt.Errorf("a\n\tb\nc")))
}

// A team's own binary, with its own types and every subcommand, calls [Main] in its main:
//
//	func main() { cli.Main(document.Type(), order.Type()) }
//
// Run does the same with streams of the caller's.
func ExampleRun() {
	streams := Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stdout}
	code := Run(context.Background(), streams, []string{"config", "--lanes", "many"}, document.Type(), order.Type())
	fmt.Println("exit code", code)
	// Output:
	// doorman: configuration: lanes (flag --lanes): "many" is not a whole number
	// Run 'doorman config --help' for usage.
	// exit code 2
}
