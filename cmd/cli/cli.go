package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands/client"
)

// The exit codes of every subcommand.
const (
	ExitOK    = 0
	ExitError = 1 // it was asked for correctly and failed
	ExitUsage = 2 // it was asked for wrongly
)

// Streams are what a command line reads from and writes to. Environ holds KEY=value pairs. Name is what
// the binary is called, doorman when it is empty.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Environ  []string
	Name     string
}

// app is what every subcommand is built from.
type app struct {
	types   []aggregate.Type // what this binary serves
	stdin   io.Reader
	stdout  io.Writer // results
	stderr  io.Writer // progress, logs and errors
	environ []string
	name    string // of the binary

	running bool // a subcommand's own work has begun, so errors are no longer about usage
}

// subcommands are all of them, in the order of the help text.
var subcommands = []func(*app) *cobra.Command{
	newServe,
	newSend,
	newTail,
	newBench,
	newConfig,
	newMigrate,
	newLanes,
	newDead,
	newParked,
	newVersion,
}

// Main runs the command line of this process with the given aggregate types, and exits.
func Main(types ...aggregate.Type) {
	streams := Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ(), Name: nameOf(os.Args[0])}
	os.Exit(Run(context.Background(), streams, os.Args[1:], types...))
}

// Run runs one command line and returns its exit code. The context ends a command early; signals are
// handled by the commands that live long enough to need it.
func Run(ctx context.Context, streams Streams, args []string, types ...aggregate.Type) int {
	a := &app{types: types, stdin: streams.In, stdout: streams.Out, stderr: streams.Err, environ: streams.Environ,
		name: cmp.Or(streams.Name, product)}
	root := newRoot(a)
	root.SetArgs(append([]string{}, args...)) // for nil cobra takes those of the process
	asked, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	var usage *usageError
	if !a.running || errors.As(err, &usage) {
		fmt.Fprintf(a.stderr, "%s: %s\nRun '%s --help' for usage.\n", a.name, a.inItsName(err.Error()), asked.CommandPath())
		return ExitUsage
	}
	fmt.Fprintln(a.stderr, a.name+": "+a.inItsName(sentence(err)))
	return ExitError
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   a.name,
		Short: "An event-sourced command processor with ticketed ordering",
		Long: `Doorman takes commands over HTTP. With each comes a ticket: the id of the action that the sender
believes came last. The doorman lets it in when that is so, makes it wait when that action has not
arrived yet, and turns it away when somebody else got in between.`,
		Example: `  doorman serve                               serve on 127.0.0.1:8080, data in ./.doorman
  doorman send -f commands.jsonl              send commands and follow each to its outcome
  doorman tail                                follow what happens
  doorman config                              show the settings and where each comes from`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(flagError)
	for _, build := range subcommands {
		root.AddCommand(build(a))
	}
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		needSubcommand(cmd)
	}
	markRunning(a, root)
	a.callByName(root)
	return root
}

// markRunning notes when a subcommand's own work begins: cobra reports wrong flags and arguments before
// that, with plain errors that cannot be told from any other.
func markRunning(a *app, cmd *cobra.Command) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			a.running = true
			return run(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		markRunning(a, sub)
	}
}

// needSubcommand makes a command that only has others below it tell of a word that names none of them: cobra
// would give help, as if that had been asked for.
func needSubcommand(cmd *cobra.Command) {
	if cmd.HasSubCommands() && !cmd.Runnable() {
		cmd.Args = cobra.NoArgs
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
}

// sentence is an error on one line, whatever drivers and joined errors make of it.
func sentence(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// usageError marks an error of a running subcommand as one of usage.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// isTerminal tells whether a person is watching.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// getenv reads a variable from the environment that the app was given.
func (a *app) getenv(key string) string {
	for _, pair := range a.environ {
		if name, value, ok := strings.Cut(pair, "="); ok && name == key {
			return value
		}
	}
	return ""
}

// clientOf is a client of the server that --url names.
func clientOf(url string) (*client.Client, error) {
	if err := checkScheme("url", url); err != nil {
		return nil, err
	}
	c, err := client.New(client.Config{BaseURL: url})
	if err != nil {
		return nil, &usageError{fmt.Errorf("--url: %w", err)}
	}
	return c, nil
}

// checkScheme finds an address without its http://, which a URL's rules take for something else.
func checkScheme(flag, url string) error {
	if strings.Contains(url, "://") {
		return nil
	}
	example := "http://127.0.0.1:8080"
	if flag == adminURLFlag {
		example = "http://127.0.0.1:8081"
	}
	return usagef("--%s: %q lacks http:// or https:// before it, as in %s", flag, url, example)
}
