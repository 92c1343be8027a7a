package cli

import (
	"cmp"
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
	"github.com/spf13/pflag"

	"github.com/ticketed/doorman/cmd/cli/load"
	"github.com/ticketed/doorman/deploy"
)

// benchOptions are the flags of bench.
type benchOptions struct {
	load        load.Config
	serve       string // sqlite, postgres, rabbitmq; empty: the server runs already
	postgresURL string
	rabbitmqURL string
	bindEvents  bool
	table       bool
	profile     string
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

--watchers open connections that are told of streams by server-sent events: POST→SSE is the time from a command's
POST, or from when it was due, until each of them has been told. Each watcher has to be told the versions of its
streams in order: with --watch-deliver events every one, once; else rising ones, and in the end the newest.
--watch-parked measures commands that were parked, from their predecessor's 202 until their session is told that
they landed. --fan watchers share one stream, whose landings are timed until the last of them has been told.
--storm 200,20000 lets 200 readers come at once after 20,000 commands, read those, and catch up while landing goes
on. --idle connections watch streams to which nothing happens, and tell what they cost the server in memory.

With --amqp commands go the way of other services instead: as messages to the exchange for commands of the broker there,
each confirmed, --connections of them under way (500 unless it is given). --wait-share of them ask for an answer on a
queue, whose time is told beside that of the confirmation. At --url every outcome is looked up all the same.

When all is sent, every accepted command is looked up. Unless each has come to exactly one outcome, and the
right one, the exit code is 1. Interrupt once to stop sending and have the checks, twice to stop.`,
		Example: `  doorman bench                                       2,000 streams for 10 s, as fast as it goes
  doorman bench --streams 1                           one hot stream, 64 commands under way
  doorman bench --rate 10000 --duration 1m            latency at 10,000 commands a second
  doorman bench --out-of-order 30% --duplicate 10% --stale 5%
  doorman bench --rate 5000 --watchers 500            how soon those who watch are told
  doorman bench --out-of-order 30% --watch-parked 10%
  doorman bench --serve sqlite --idle 10000           memory of idle connections
  doorman bench --serve sqlite -o json                start a server on a new data folder, measure, stop it
  doorman bench --amqp amqp://127.0.0.1 --wait-share 0
  doorman bench --amqp amqp://127.0.0.1 --rate 500 --wait-share 100%
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
	flags.StringVar(&c.AMQP, "amqp", "", "`address` of a broker, to send commands over it as other services do")
	flags.StringVar(&c.AMQPPrefix, "amqp-prefix", "doorman", "`beginning` of the names there (rabbitmq_prefix)")
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
	o.addWatchFlags(flags)
	flags.Uint64Var(&c.Seed, "seed", 1, "`number` that the choices follow from")
	flags.IntVar(&c.PID, "pid", 0, "process `id` of the server, to tell its CPU time and memory")
	flags.DurationVar(&c.Settle, "settle", time.Minute, "how long to wait for answers and outcomes in the end")
	flags.StringVar(&o.serve, "serve", "", "start a server `on` sqlite, postgres, or rabbitmq and postgres for this, and stop it after")
	flags.StringVar(&o.postgresURL, "postgres-url", "", "database for --serve postgres and rabbitmq (default $DOORMAN_POSTGRES_URL)")
	flags.StringVar(&o.rabbitmqURL, "rabbitmq-url", "", "broker for --serve rabbitmq (default $DOORMAN_RABBITMQ_URL)")
	flags.BoolVar(&o.bindEvents, "bind-events", false, "with --serve rabbitmq: bind a durable queue to all events, count them in the end")
	flags.BoolVar(&o.table, "table", false, "measure all rows of the table in README.md, each on a server of its own")
	flags.StringVar(&o.profile, "profile", "", "with --serve: keep CPU profiles of the server and of what sends in a `folder`")
	flags.StringVarP(&o.output, "output", "o", "text", "`form`: text, json")
}

func (a *app) bench(cmd *cobra.Command, o *benchOptions) error {
	if !slices.Contains([]string{"text", "json"}, o.output) {
		return usagef("--output: %q is neither text nor json", o.output)
	}
	if err := o.checkFlags(cmd.Flags()); err != nil {
		return err
	}
	if o.load.WaitShare == 0 {
		o.load.WaitShare = -1 // none, where the engine takes 0 for its default
	}
	if o.load.AMQP != "" && !cmd.Flags().Changed("connections") {
		o.load.Connections = 0 // the engine's default for it
	}
	if o.postgresURL == "" {
		o.postgresURL = a.getenv("DOORMAN_POSTGRES_URL")
	}
	if o.rabbitmqURL == "" {
		o.rabbitmqURL = a.getenv("DOORMAN_RABBITMQ_URL")
	}
	if o.load.Idle > 0 && o.load.AdminURL == "" {
		var err error
		if o.load.AdminURL, _, err = deploy.AdminURL(nil, a.environ); err != nil {
			return &usageError{err}
		}
	}
	if err := o.load.Validate(); err != nil {
		return &usageError{err}
	}
	if o.table && o.serve != "sqlite" && o.postgresURL == "" {
		return usagef("--table measures on Postgres too: give --postgres-url or DOORMAN_POSTGRES_URL, or --serve sqlite for its rows alone")
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process
	if o.table {
		return a.benchTable(ctx, o)
	}
	report, err := a.benchOnce(ctx, o, o.load, o.serve)
	if err != nil {
		return err
	}
	if err := writeBench(a.stdout, o.output, report); err != nil {
		return err
	}
	return verdictOf(report)
}

// needs are the flags that have no effect without another one.
var needs = []struct{ flag, other string }{
	{"amqp-prefix", "amqp"},
	{"watch-parked", "out-of-order"}, {"watch-streams", "watchers"}, {"watch-deliver", "watchers"}, {"admin-url", "idle"},
}

// checkFlags finds what was asked for and would not be done: 0 is the engine's word for its default, and what
// depends on a flag that is not given has no effect.
func (o *benchOptions) checkFlags(flags *pflag.FlagSet) error {
	for _, name := range []string{"connections", "streams", "inflight", "array", "payload", "count", "pid"} {
		n, err := flags.GetInt(name)
		if err == nil && n < 1 && (flags.Changed(name) || n < 0) {
			return usagef("--%s: %d is below 1", name, n)
		}
	}
	if flags.Changed("duration") && o.load.Duration <= 0 {
		return usagef("--duration: %s is too short", o.load.Duration)
	}
	for _, n := range needs {
		if flags.Changed(n.flag) && slices.Contains([]string{"", "0", "0%"}, flags.Lookup(n.other).Value.String()) {
			return usagef("--%s has no effect without --%s", n.flag, n.other)
		}
	}
	if !slices.Contains([]string{"", "sqlite", "postgres", "rabbitmq"}, o.serve) {
		return usagef("--serve: %q is none of sqlite, postgres and rabbitmq", o.serve)
	}
	if o.bindEvents && o.serve != "rabbitmq" {
		return usagef("--bind-events has no effect without --serve rabbitmq")
	}
	if o.profile != "" && (o.serve == "" || o.table || o.load.Count > 0) {
		return usagef("--profile needs a server of its own, and a time: --serve, and neither --table nor --count")
	}
	if o.load.AMQP != "" && (o.table || o.serve != "" && o.serve != "rabbitmq") {
		return usagef("--amqp needs a server over RabbitMQ: --serve rabbitmq, or one that runs")
	}
	for _, name := range []string{"url", "admin-url", "pid", "amqp-prefix"} {
		if (o.serve != "" || o.table) && flags.Changed(name) {
			return usagef("a server of its own is started: leave out --%s", name)
		}
	}
	if err := checkScheme("url", o.load.URL); err != nil {
		return err
	}
	if flags.Changed(adminURLFlag) {
		return checkScheme(adminURLFlag, o.load.AdminURL)
	}
	return nil
}

func verdictOf(report *load.Report) error {
	if report.OK() {
		return nil
	}
	return fmt.Errorf("the server did not keep its word: %s", strings.Join(report.Failures, "; "))
}

// benchOnce measures one load, on a server of its own if asked to.
func (a *app) benchOnce(ctx context.Context, o *benchOptions, cfg load.Config, serve string) (*load.Report, error) {
	if serve == "" {
		return a.benchRunning(ctx, cfg)
	}
	server, err := a.startBenchServer(ctx, o, serve)
	if err != nil {
		return nil, err
	}
	cfg.URL, cfg.AdminURL, cfg.PID = server.url, server.adminURL, server.pid()
	if cfg.AMQP != "" {
		cfg.AMQPPrefix = server.broker.Prefix
	}
	profiled := func() error { return nil }
	profiling, end := context.WithCancel(ctx)
	defer end()
	if o.profile != "" {
		if profiled, err = profile(profiling, o.profile, server.adminURL, cmp.Or(cfg.Duration, load.DefaultDuration)); err != nil {
			return nil, errors.Join(err, server.stop())
		}
	}
	report, err := a.benchRunning(ctx, cfg)
	if err != nil {
		end()
	}
	err = errors.Join(err, profiled())
	if err == nil && o.bindEvents {
		err = server.countEvents(ctx, report)
	}
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
