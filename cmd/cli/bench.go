package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ticketed/doorman/cmd/cli/load"
)

// benchOptions are the flags of bench.
type benchOptions struct {
	load        load.Config
	serve       string // sqlite, postgres; empty: the server runs already
	postgresURL string
	table       bool
	output      string
}

func newBench(a *app) *cobra.Command {
	var o benchOptions
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a server, and check every outcome that it gave",
		Long: `Send commands to a running server, or to one started for it with --serve, and tell how fast they landed.

Every stream gets a chain of commands, each naming the one before as its ticket. With at least as many
streams as connections each connection works on its own streams. With fewer, --inflight connections share
one stream and send its chain without waiting, so it may arrive out of order: the server parks what is
early. --out-of-order, --duplicate and --stale make more trouble on purpose.

POST→202 is measured on all commands but those of --wait-share, which are posted with Prefer: wait; their
answers measure POST→landed. With --rate both count from the moment at which a command was due, so that a
stalling server does not stop the clock; without, the server sets the pace and they count from sending.

When all is sent, every accepted command is looked up. Unless each has come to exactly one outcome, and the
right one, the exit code is 1. Interrupt once to stop sending and have the checks, twice to stop.`,
		Example: `  doorman bench                                       2,000 streams for 10 s, as fast as it goes
  doorman bench --streams 1                           one hot stream, 64 commands under way
  doorman bench --rate 10000 --duration 1m            latency at 10,000 commands a second
  doorman bench --out-of-order 30% --duplicate 10% --stale 5%
  doorman bench --serve sqlite -o json                start a server on a new data folder, measure, stop it
  doorman bench --table                               the table of README.md, on this machine`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.bench(cmd, &o) },
	}
	o.addFlags(cmd)
	return cmd
}

func (o *benchOptions) addFlags(cmd *cobra.Command) {
	flags, c := cmd.Flags(), &o.load
	*c = load.Config{OutOfOrder: 0, WaitShare: 0.02}
	flags.StringVar(&c.URL, "url", "http://127.0.0.1:8080", "`address` of the server")
	flags.DurationVar(&c.Duration, "duration", 0, "how long to send (default 10s, unless --count is given)")
	flags.IntVar(&c.Count, "count", 0, "how many commands to send")
	flags.Float64Var(&c.Rate, "rate", 0, "commands a second, sent when due (default as fast as the server answers)")
	flags.IntVar(&c.Connections, "connections", 64, "connections, each with one POST under way")
	flags.IntVar(&c.Streams, "streams", 2000, "streams to spread the commands over; 1 is one hot stream")
	flags.IntVar(&c.Inflight, "inflight", 64, "commands of one stream that may be under way")
	flags.IntVar(&c.Array, "array", 1, "commands a POST, 256 at most")
	flags.StringVar(&c.Type, "type", "document", "stream `type`, one that has the commands create and patch")
	flags.IntVar(&c.Payload, "payload", 100, "`bytes` of a command's data")
	flags.Var((*shareFlag)(&c.OutOfOrder), "out-of-order", "share of commands to send before their predecessor, 50% at most")
	flags.Var((*shareFlag)(&c.Duplicate), "duplicate", "share of commands to send twice")
	flags.Var((*shareFlag)(&c.Stale), "stale", "share of commands to send with a superseded ticket")
	flags.Var((*shareFlag)(&c.WaitShare), "wait-share", "share of commands to wait for, which measures POST→landed")
	flags.Uint64Var(&c.Seed, "seed", 1, "`number` that the choices follow from")
	flags.IntVar(&c.PID, "pid", 0, "process `id` of the server, to tell its CPU time and memory")
	flags.DurationVar(&c.Settle, "settle", time.Minute, "how long to wait for answers and outcomes in the end")
	flags.StringVar(&o.serve, "serve", "", "`store` (sqlite or postgres) of a server to start for this, and stop after")
	flags.StringVar(&o.postgresURL, "postgres-url", "", "database for --serve postgres (default $DOORMAN_POSTGRES_URL)")
	flags.BoolVar(&o.table, "table", false, "measure all rows of the table in README.md, each on a server of its own")
	flags.StringVarP(&o.output, "output", "o", "text", "`form`: text, json")
}

func (a *app) bench(cmd *cobra.Command, o *benchOptions) error {
	if !slices.Contains([]string{"text", "json"}, o.output) {
		return usagef("--output: %q is neither text nor json", o.output)
	}
	if o.serve != "" && cmd.Flags().Changed("url") {
		return usagef("--serve starts a server of its own: leave out --url")
	}
	if o.load.WaitShare == 0 {
		o.load.WaitShare = -1 // none, where the engine takes 0 for its default
	}
	if o.postgresURL == "" {
		o.postgresURL = a.getenv("DOORMAN_POSTGRES_URL")
	}
	if err := o.load.Validate(); err != nil {
		return &usageError{err}
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process
	if o.table {
		return a.benchTable(ctx, o)
	}
	report, err := a.benchOnce(ctx, o.load, o.serve, o.postgresURL)
	if err != nil {
		return err
	}
	if err := writeBench(a.stdout, o.output, report); err != nil {
		return err
	}
	return verdictOf(report)
}

func verdictOf(report *load.Report) error {
	if report.OK() {
		return nil
	}
	return fmt.Errorf("the server did not keep its word: %s", strings.Join(report.Failures, "; "))
}

// benchOnce measures one load, on a server of its own if asked to.
func (a *app) benchOnce(ctx context.Context, cfg load.Config, serve, postgresURL string) (*load.Report, error) {
	if serve == "" {
		return a.benchRunning(ctx, cfg)
	}
	server, err := a.startBenchServer(ctx, serve, postgresURL)
	if err != nil {
		return nil, err
	}
	cfg.URL, cfg.PID = server.url, server.pid()
	report, err := a.benchRunning(ctx, cfg)
	if err != nil || !report.OK() {
		fmt.Fprint(a.stderr, server.words()) // its own words are what explains a failure
	}
	return report, errors.Join(err, server.stop())
}

func (a *app) benchRunning(ctx context.Context, cfg load.Config) (*load.Report, error) {
	if isTerminal(a.stderr) {
		cfg.Progress = func(p load.Progress) { writeProgress(a.stderr, p) }
		defer fmt.Fprint(a.stderr, "\r\x1b[K")
	}
	return load.Run(ctx, cfg)
}

func writeProgress(w io.Writer, p load.Progress) {
	rate := 0.0
	if p.Elapsed > 0 {
		rate = float64(p.Accepted) / p.Elapsed.Seconds()
	}
	text := fmt.Sprintf("%s  %.1f s  %s accepted  %s/s", p.Stage, p.Elapsed.Seconds(), count(p.Accepted), count(int(rate)))
	if p.Stage == "checking" {
		text = fmt.Sprintf("checking  %s of %s", count(p.Commands), count(p.Accepted))
	}
	if p.Refusals > 0 {
		text += fmt.Sprintf("  %s refused", count(p.Refusals))
	}
	fmt.Fprintf(w, "\r\x1b[K%s", text)
}

func writeBench(w io.Writer, form string, report *load.Report) error {
	if form == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report)
	}
	_, err := io.WriteString(w, benchText(report))
	return err
}

// shareFlag is a flag's part of a whole: 5% or 0.05.
type shareFlag float64

func (s *shareFlag) String() string { return percent(float64(*s)) }
func (s *shareFlag) Type() string   { return "share" }

func (s *shareFlag) Set(text string) error {
	number, isPercent := strings.CutSuffix(strings.TrimSpace(text), "%")
	value, err := strconv.ParseFloat(number, 64)
	if isPercent {
		value /= 100
	}
	if err != nil || !(value >= 0 && value <= 1) {
		return fmt.Errorf("%q is not a share such as 5%% or 0.05", text)
	}
	*s = shareFlag(value)
	return nil
}

func percent(part float64) string { return strconv.FormatFloat(part*100, 'f', -1, 64) + "%" }

// count writes a number with its thousands apart.
func count(n int) string {
	digits := strconv.Itoa(n)
	for at := len(digits) - 3; at > 0 && digits[at-1] != '-'; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}
