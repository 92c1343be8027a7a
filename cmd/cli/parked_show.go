package cli

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/ticketed/doorman/projections/admin"
)

func newParkedShow(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show one command that waits whole, and what waits on it",
		Example: `  doorman parked show 01977000-0000-7000-8000-000000000003`,
		Args:    cobra.ExactArgs(1),
	}
	o := operatorsOf(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := commandID(args[0])
		if err != nil {
			return err
		}
		var view admin.ParkedWholeView
		_, raw, err := o.ask(cmd.Context(), http.MethodGet, "parked/"+id, nil, nil, &view)
		if err != nil {
			return err
		}
		if o.asJSON {
			return o.printJSON(raw)
		}
		now := time.Now()
		fmt.Fprint(a.stdout, fields("Parked", view.ID.String(), "stream", view.Stream.String(), "type", view.Type, "actor", view.Actor,
			"policy", view.Policy, "waits for", view.WaitsFor.String(), "parked", instant(view.ParkedAt)+", "+distance(view.ParkedAt, now),
			"expires", instant(view.Until)+", "+distance(view.Until, now)), "\nData:\n", payloadText(&view.Payload, "  "))
		if len(view.Waiting) == 0 {
			fmt.Fprintln(a.stdout, "\nNothing waits on it.")
			return nil
		}
		fmt.Fprintln(a.stdout, "\nOn it wait, directly or not:")
		return a.printParked(view.Waiting, now)
	}
	return cmd
}
