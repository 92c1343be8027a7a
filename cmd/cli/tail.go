package cli

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// tailOptions are the flags of tail, and its arguments.
type tailOptions struct {
	url      string
	streams  []string
	sessions []string
	deliver  string
	after    string
	kind     string
	json     bool
}

func newTail(a *app) *cobra.Command {
	var o tailOptions
	cmd := &cobra.Command{
		Use:   "tail [STREAM[@VERSION|@new] ...]",
		Short: "Follow streams and sessions, a line for each thing that happens",
		Long: `Follow streams of a running doorman as they change, and with --session what becomes of a session's commands.

A stream begins with its state as it is now, then come its landings. With @VERSION it begins after that version
instead; with --after at a mark of an earlier tail, except for streams with @new. 256 streams can be followed at
once. When the connection breaks it is made anew, and goes on where it was: nothing is told twice or left out.
Where the server cannot go on from there, a line says "reset".

With neither streams nor sessions it follows everything: every event that lands on any stream, or on any of a
--type, from now on or after a mark. The server has no connection for that, so its catalog is asked every half
second for what has changed, and then each of those for its changelog. Compared with streams that are named,
lines come up to a second later, in order for each stream but only roughly between them, and landings without
events and rejections are not told. When more streams have changed at once than can be looked up, what is left
out is said on standard error. A mark of another log, as before a restore, begins at that log's present end.

It ends when interrupted, with exit code 0, and says on standard error how to go on from there. Exit codes: 1 the
server cannot be reached at first, keeps failing, or will not tell what was asked for, as when none of the
streams can be watched; 2 wrong use.`,
		Example: `  doorman tail                                        everything that lands
  doorman tail order/42 document/7@17                 two streams, one from version 18 on
  doorman tail --deliver state order/42               the newest state, several landings as one
  doorman tail --session tab-9f3 --json               what becomes of a session's commands, as JSON lines`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.streams = args
			if o.deliver != "" && len(args) == 0 {
				return usagef("--deliver is about streams: name some")
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return a.tail(ctx, &o)
		},
	}
	flags := cmd.Flags()
	url := a.getenv("DOORMAN_URL")
	if url == "" {
		url = defaultURL
	}
	flags.StringVar(&o.url, "url", url, "`address` of the server; DOORMAN_URL sets it too")
	flags.StringArrayVar(&o.sessions, "session", nil, "`session` whose commands to follow; may be given several times")
	flags.StringVar(&o.deliver, "deliver", "", "`how` streams are told: events (each landing), state, ticket (default events)")
	flags.StringVar(&o.after, "after", "", "`mark` to go on from, as an earlier tail told it")
	flags.StringVar(&o.kind, "type", "", "stream `type` to follow everything of")
	flags.BoolVar(&o.json, "json", false, "a JSON object a line: event, id (the mark) and data, as the server pushes them")
	_ = cmd.RegisterFlagCompletionFunc("deliver",
		cobra.FixedCompletions([]string{"events", "state", "ticket"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return a.completeStreams(cmd.Context(), o.url), cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

// completeStreams names the streams that changed last, for a shell that completes a word.
func (a *app) completeStreams(ctx context.Context, url string) []string {
	c, err := client.New(client.Config{BaseURL: url, Backoff: client.Backoff{Attempts: 1}})
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	page, err := c.Streams(ctx, "", "", 100)
	if err != nil {
		return nil
	}
	names := make([]string, len(page.Items))
	for i := range page.Items {
		names[i] = page.Items[i].Stream.String()
	}
	return names
}

// watch is what was asked for.
func (o *tailOptions) watch() (client.Watch, error) {
	w := client.Watch{Sessions: o.sessions, Deliver: client.DeliverEvents, Marks: true}
	switch client.Deliver(o.deliver) {
	case "", client.DeliverEvents:
	case client.DeliverState, client.DeliverTicket:
		w.Deliver = client.Deliver(o.deliver)
	default:
		return w, usagef("--deliver: %q is none of events, state, ticket", o.deliver)
	}
	if o.after != "" {
		var err error
		if w.After, err = commands.ParsePosition(o.after); err != nil {
			return w, usagef("--after: %w", err)
		}
	}
	for _, text := range o.streams {
		stream, err := watchedStream(text)
		if err != nil {
			return w, &usageError{err}
		}
		if slices.ContainsFunc(w.Streams, func(w client.WatchedStream) bool { return w.Stream == stream.Stream }) {
			return w, usagef("%s is named twice", stream.Stream)
		}
		w.Streams = append(w.Streams, stream)
	}
	if o.kind != "" && len(o.streams)+len(o.sessions) > 0 {
		return w, usagef("--type is for following everything: leave out streams and sessions, or the type")
	}
	return w, nil
}

// watchedStream reads "type/id", "type/id@17" or "type/id@new".
func watchedStream(text string) (w client.WatchedStream, err error) {
	name, since, given := strings.Cut(text, "@")
	if w.Stream, err = commands.ParseStream(name); err != nil {
		return w, err
	}
	switch {
	case !given:
	case since == "new":
		w.Since = client.SinceSnapshot
	default:
		w.Since = client.SinceVersion
		if w.Version, err = strconv.ParseUint(since, 10, 63); err != nil {
			return w, fmt.Errorf("%q: after the @ comes the version that you have, or new", text)
		}
	}
	return w, nil
}

// tail tells until the context ends, which is no failure.
func (a *app) tail(ctx context.Context, o *tailOptions) error {
	watch, err := o.watch()
	if err != nil {
		return err
	}
	c, err := clientOf(o.url)
	if err != nil {
		return err
	}
	if _, err := reach(ctx, c, o.url); err != nil {
		return err
	}
	out := newTailLines(a.stdout, o.json, &watch)
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	contact := &contact{notes: a.stderr, end: end}
	watch.Lost = contact.lost
	if len(watch.Streams)+len(watch.Sessions) == 0 {
		e := &everything{client: c, kind: o.kind, out: out, notes: a.stderr, contact: contact, mark: watch.After}
		err = e.run(ctx)
	} else {
		err = followNamed(ctx, c, watch, out, contact)
	}
	if contact.over != nil {
		err = contact.over
	} else if ctx.Err() != nil && !errors.Is(err, errWrite) {
		err = nil // interrupted
	}
	if out.mark != (commands.Position{}) && !errors.Is(err, errWrite) {
		fmt.Fprintf(a.stderr, "To go on from here: --after %s\n", out.mark)
	}
	return err
}
