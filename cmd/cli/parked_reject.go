package cli

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/ticketed/doorman/commands"
)

// errNotKnownYet says that an order is on its way.
var errNotKnownYet = errors.New("the order was sent, and what became of it is not known yet; to give it again does no harm")

func newParkedReject(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reject ID",
		Short: "Reject a command that waits, and with it all that waits on it",
		Long: `Reject a command that waits, and with it all that waits on it, whichever process works its lane. Its sender is told
who did it and why. It waits for up to 10 seconds until that is done.

The exit code is 1 when the command does not wait (any more), or it is not known in time what became of it.`,
		Example: `  doorman parked reject 01977000-0000-7000-8000-000000000003 --why "the client is gone"`,
		Args:    cobra.ExactArgs(1),
	}
	o := operatorsOf(a, cmd)
	o.decides(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := commandID(args[0])
		if err != nil {
			return err
		}
		body, err := o.decision()
		if err != nil {
			return err
		}
		var view commands.CommandView
		status, raw, err := o.ask(cmd.Context(), http.MethodPost, "parked/"+id+"/reject", nil, body, &view)
		switch {
		case err != nil:
			return err
		case o.asJSON:
			err = o.printJSON(raw)
		case status == http.StatusOK:
			_, err = fmt.Fprintf(a.stdout, "%s on %s is rejected at position %s: %s\n",
				plain(view.Type), view.Stream, view.Position, plain(view.Detail))
		}
		if err == nil && status == http.StatusAccepted {
			return errNotKnownYet
		}
		return err
	}
	return cmd
}
