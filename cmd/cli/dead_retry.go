package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/projections/admin"
)

func newDeadRetry(a *app) *cobra.Command {
	var ticket string
	cmd := &cobra.Command{
		Use:   "retry NUMBER...",
		Short: "Send what dead letters hold again, as new commands",
		Long: `Send what dead letters hold again. A command is sent as a new one with an id of its own: retrying twice does it
once. It goes on after the action that the original did, unless --ticket says otherwise: when others have acted on
the stream since then that is stale, and --ticket head goes on from the stream as it is now. A message of another
service is taken in as it came.

The exit code is 1 when any of them could not be sent, or was turned away.`,
		Example: `  doorman dead retry 7 --why "the bug is fixed"
  doorman dead retry 7 8 9 --why "the bug is fixed" --ticket head`,
		Args: cobra.MinimumNArgs(1),
	}
	o := operatorsOf(a, cmd)
	o.decides(cmd)
	cmd.Flags().StringVar(&ticket, "ticket", "",
		"`action` to go on after: an id, genesis, or head for the last one; the original's by default")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body, err := o.decision("ticket", ticket)
		if err != nil {
			return err
		}
		return o.each(cmd.Context(), args, "retry", body, func(l *admin.LetterView) (string, bool) {
			if l.Retried == nil {
				return "retried", true
			}
			return "retried as " + l.Retried.ID.String() + ", " + standing(l.Retried), l.Retried.Status != commands.StatusRejected
		})
	}
	return cmd
}

// errNotAll says that of several dead letters not all came to what was asked for.
var errNotAll = errors.New("not all of that was done")

// each decides on dead letters one by one, and tells of each what came of it.
func (o *operators) each(ctx context.Context, numbers []string, decision string, body []byte,
	became func(*admin.LetterView) (what string, fine bool)) error {
	for _, text := range numbers {
		if _, err := letterNumber(text); err != nil {
			return err
		}
	}
	var failed error
	for _, n := range numbers {
		var view admin.LetterView
		_, raw, err := o.ask(ctx, http.MethodPost, "dead/"+n+"/"+decision, nil, body, &view)
		_, nobody := errors.AsType[*addressError](err)
		switch {
		case err != nil && (nobody || len(numbers) == 1):
			return err
		case err != nil:
			fmt.Fprintf(o.app.stderr, "%s: %s\n", n, sentence(err))
			failed = errNotAll
			continue
		}
		what, fine := became(&view)
		if !fine {
			failed = errNotAll
		}
		if o.asJSON {
			err = o.printJSON(raw)
		} else {
			_, err = fmt.Fprintf(o.app.stdout, "%s: %s\n", n, plain(what))
		}
		if err != nil {
			return err
		}
	}
	return failed
}
