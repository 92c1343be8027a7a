package cli

import (
	"fmt"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ticketed/doorman/projections/admin"
)

func newParkedList(a *app) *cobra.Command {
	var page listing
	var stream string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List commands that wait, in the order in which they were parked",
		Example: `  doorman parked list
  doorman parked list --stream order/42`,
		Args: cobra.NoArgs,
	}
	o := operatorsOf(a, cmd)
	page.flags(cmd)
	cmd.Flags().StringVar(&stream, "stream", "", "`name` of a stream, those of which alone are listed")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		query := page.query()
		if stream != "" {
			query.Set("stream", stream)
		}
		var view admin.ParkedListView
		_, raw, err := o.ask(cmd.Context(), http.MethodGet, "parked", query, nil, &view)
		if err != nil {
			return err
		}
		if o.asJSON {
			return o.printJSON(raw)
		}
		if len(view.Items) == 0 {
			fmt.Fprintln(a.stderr, "There are none.")
			return nil
		}
		if err := a.printParked(view.Items, time.Now()); err != nil {
			return err
		}
		a.more(view.After)
		return nil
	}
	return cmd
}

func (a *app) printParked(items []admin.ParkedView, now time.Time) error {
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tSTREAM\tTYPE\tACTOR\tWAITS FOR\tPARKED\tEXPIRES")
	for i := range items {
		p := &items[i]
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.ID, p.Stream, p.Type, orDash(brief(p.Actor, 30)), p.WaitsFor,
			distance(p.ParkedAt, now), distance(p.Until, now))
	}
	return table.Flush()
}
