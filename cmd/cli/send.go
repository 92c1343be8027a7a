package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

const defaultURL = "http://127.0.0.1:8080"

// sendOptions are the flags of send.
type sendOptions struct {
	file     string
	url      string
	window   int
	seed     uint64
	parallel int
	repeats  float64
	array    int
	wait     time.Duration
	verify   bool
}

func newSend(a *app) *cobra.Command {
	var o sendOptions
	cmd := &cobra.Command{
		Use:   "send -f FILE",
		Short: "Send commands from a file and follow each to its outcome",
		Long: `Send commands to a running doorman, and follow each to its outcome.

The file holds one command a line, in the JSON of POST /v1/commands; it may be gzipped. Every line is expected
to land, unless it says otherwise in a member "expect" of its own, which is not sent: "rejected", or the reason
of the rejection or refusal, such as "stale_ticket".

A file is read through first, and when a line is no command nothing is sent. Standard input cannot be read
twice: there, sending ends at the first bad line.

With --shuffle the lines go out in another order, each up to that many places from its own, so that commands
arrive before the ones they follow and have to wait for them. With --duplicate a share of them is sent twice.
Neither may change anything of what comes of them, which --verify checks at the end: it compares version and
state of every document with what the file itself comes to (RFC 7396, applied in the file's order).

Commands are sent over parallel connections; what the server refuses for the moment (429, 503) is sent again,
with the same id, after a pause. The exit code is 1 when a line did not end as expected.`,
		Example: `  doorman send -f commands.jsonl
  doorman send -f permits.jsonl.gz --shuffle 500 --parallel 16 --duplicate 5% --verify
  echo '{"stream":"document/1","type":"create","ticket":"genesis","data":{"a":1}}' | doorman send -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("seed") {
				o.seed = rand.Uint64N(1 << 32)
			}
			if err := o.validate(); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return a.send(ctx, &o)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVarP(&o.file, "file", "f", "", "`file` of commands, one a line; - is standard input")
	url := a.getenv("DOORMAN_URL")
	if url == "" {
		url = defaultURL
	}
	flags.StringVar(&o.url, "url", url, "`address` of the server; DOORMAN_URL sets it too")
	flags.IntVar(&o.window, "shuffle", 0, "send each line up to `n` places from its own")
	flags.Uint64Var(&o.seed, "seed", 0, "`number` that decides the order and the duplicates; random when left out")
	flags.IntVar(&o.parallel, "parallel", 8, "`connections` to send over")
	flags.Var((*shareFlag)(&o.repeats), "duplicate", "`share` of the lines to send twice, e.g. 5%")
	flags.IntVar(&o.array, "array", 1, "`commands` in one request")
	flags.DurationVar(&o.wait, "wait", time.Minute, "how `long` nothing may happen before giving up")
	flags.BoolVar(&o.verify, "verify", false, "compare the documents with what the file comes to")
	return cmd
}

func (o *sendOptions) validate() error {
	switch {
	case o.file == "":
		return usagef("--file is required; - is standard input")
	case o.window < 0:
		return usagef("--shuffle: %d is below 0", o.window)
	case o.parallel < 1 || o.parallel > 4096:
		return usagef("--parallel: %d is not between 1 and 4096", o.parallel)
	case o.array < 1 || o.array > commands.DefaultBodyLimits.Array:
		return usagef("--array: %d is not between 1 and %d", o.array, commands.DefaultBodyLimits.Array)
	case o.wait <= 0:
		return usagef("--wait: %s is too short", o.wait)
	}
	return nil
}

// sender is one run of send.
type sender struct {
	options *sendOptions
	client  *client.Client
	file    *commandFile
	tally   *tally
	folds   *folds // nil: nothing is verified
	follow  *follower
	bar     *progressbar.ProgressBar
	batches chan []*line
}

func (a *app) send(ctx context.Context, o *sendOptions) error {
	s, err := a.newSender(ctx, o)
	if err != nil {
		return err
	}
	began := time.Now()
	err = s.run(ctx)
	took := time.Since(began)
	_ = s.bar.Finish()
	notes := fmt.Sprintf("%d of them twice, seed %d", s.tally.repeats, o.seed)
	if err := s.tally.report(a.stdout, took, notes); err != nil {
		return err
	}
	for _, failure := range s.tally.failures {
		fmt.Fprintln(a.stderr, failure)
	}
	if err != nil {
		return err
	}
	if n := s.tally.failed; n > 0 {
		return fmt.Errorf("%d of %d commands did not end as expected", n, s.tally.sent)
	}
	if s.folds != nil {
		return s.verify(ctx, a.stdout)
	}
	return nil
}

func (a *app) newSender(ctx context.Context, o *sendOptions) (*sender, error) {
	c, err := clientOf(o.url)
	if err != nil {
		return nil, err
	}
	s := &sender{options: o, client: c, tally: newTally(o.file), batches: make(chan []*line)}
	s.file = &commandFile{path: o.file, stdin: a.stdin}
	lines := -1
	again, err := s.file.again()
	if err == nil && again {
		lines, err = s.file.check(a.stderr)
	}
	if err != nil {
		return nil, err
	}
	limits, err := reach(ctx, c, o.url)
	if err != nil {
		return nil, err
	}
	if most := min(limits.Parked, limits.ParkedPerSession); o.window > most {
		fmt.Fprintf(a.stderr, "Some may be rejected as parking_full: %d commands of a session may wait, %d in all.\n",
			limits.ParkedPerSession, limits.Parked)
	}
	if o.verify {
		s.folds = newFolds()
	}
	s.follow = newFollower(s.tally, o.wait)
	s.follow.status = c.Status
	s.bar = progress(a.stderr, lines, "commands")
	s.follow.told = func() { _ = s.bar.Set(s.tally.settled()) }
	return s, nil
}

// reachWithin is how long the server may take to answer at all.
const reachWithin = 5 * time.Second

func reach(ctx context.Context, c *client.Client, url string) (commands.LimitsView, error) {
	limited, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	limits, err := c.Limits(limited)
	gone, closed := errors.AsType[*net.OpError](err)
	_, refused := errors.AsType[*client.RefusedError](err)
	switch {
	case closed:
		err = gone
	case err == nil || refused || limited.Err() == nil || ctx.Err() != nil:
		return limits, err
	default: // somebody listens, and says nothing
		err = fmt.Errorf("within %s", reachWithin)
	}
	return limits, fmt.Errorf("nobody answers at %s (%w): start a server with 'doorman serve', or name another with --url", url, err)
}

// progress is a bar, where somebody is watching; total may be -1 for what is not known.
func progress(w io.Writer, total int, what string) *progressbar.ProgressBar {
	return progressbar.NewOptions(total, progressbar.OptionSetWriter(w),
		progressbar.OptionSetVisibility(isTerminal(w)),
		// Its own goroutine for turning a spinner is not safe for concurrent use.
		progressbar.OptionSetSpinnerChangeInterval(0),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString(what),
		progressbar.OptionFullWidth(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
}

// check reads a file through and names its bad lines; nothing has been sent yet.
func (f *commandFile) check(w io.Writer) (lines int, err error) {
	bad := 0
	err = f.each(func(_ *line, wrong *badLineError) error {
		lines++
		if wrong != nil {
			if bad++; bad <= namedFailures {
				fmt.Fprintln(w, wrong)
			}
		}
		return nil
	})
	if err == nil && bad > 0 {
		err = fmt.Errorf("%s: %d of %d lines are no commands; nothing was sent", f.path, bad, lines)
	}
	return lines, err
}

// run sends everything and follows it. Sending never waits for an outcome: the command that it would wait
// for may be one that is yet to be sent.
func (s *sender) run(ctx context.Context) error {
	following, ctx := errgroup.WithContext(ctx)
	following.Go(func() error { return s.follow.run(ctx) })
	var reading error
	following.Go(func() error {
		defer s.follow.noMore()
		sending, ctx := errgroup.WithContext(ctx)
		for range s.options.parallel {
			sending.Go(func() error { return s.connection(ctx) })
		}
		// A bad line ends the reading; what was read before it takes its course.
		reading = s.read(ctx)
		close(s.batches)
		return sending.Wait()
	})
	if err := following.Wait(); err != nil {
		s.follow.abandon()
		return err
	}
	return reading
}

// read hands the lines out, in the order they are to be sent.
func (s *sender) read(ctx context.Context) error {
	batch := make([]*line, 0, s.options.array)
	hand := func() error {
		if len(batch) == 0 {
			return nil
		}
		select {
		case s.batches <- batch:
			batch = make([]*line, 0, s.options.array)
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	d := newDisorder(s.options.window, s.options.repeats, s.options.seed, func(l *line) error {
		if batch = append(batch, l); len(batch) == cap(batch) {
			return hand()
		}
		return nil
	})
	err := s.file.each(func(l *line, bad *badLineError) error {
		if bad != nil {
			return bad
		}
		if s.folds != nil {
			if err := s.folds.take(l); err != nil {
				return err
			}
		}
		return d.take(l)
	})
	return errors.Join(err, d.flush(), hand())
}

// connection sends one batch after another.
func (s *sender) connection(ctx context.Context) error {
	for batch := range s.batches {
		if err := s.post(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

func (s *sender) post(ctx context.Context, batch []*line) error {
	limited, cancel := context.WithTimeout(ctx, s.options.wait)
	defer cancel()
	var results []client.Result
	if s.options.array == 1 {
		view, err := s.client.Send(limited, batch[0].command, client.SendOptions{})
		results = []client.Result{{Command: view, Err: err}}
	} else {
		all := make([]commands.Command, len(batch))
		for i, l := range batch {
			all[i] = l.command
		}
		results = s.client.SendAll(limited, all, client.SendOptions{})
	}
	for i, l := range batch {
		s.answered(l.follow(), l.repeat, &results[i])
	}
	return context.Cause(ctx)
}

func (s *sender) answered(f followed, repeat bool, result *client.Result) {
	if repeat {
		s.tally.again(&f, result.Err)
		return
	}
	s.tally.began()
	switch {
	case result.Err != nil:
		s.tally.turnedAway(&f, result.Err)
	case result.Command.Status == commands.StatusLanded, result.Command.Status == commands.StatusRejected:
		s.tally.ended(&f, &result.Command)
	default:
		s.follow.add(f)
	}
}
