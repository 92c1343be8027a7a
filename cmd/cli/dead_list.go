package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ticketed/doorman/projections/admin"
)

// listing are the flags of a list.
type listing struct {
	limit int
	after uint64
}

func (l *listing) flags(cmd *cobra.Command) {
	cmd.Flags().IntVar(&l.limit, "limit", 100, "how many to list at most, up to 1000")
	cmd.Flags().Uint64Var(&l.after, "after", 0, "`number` to go on after, as told at the end of a list that has more")
}

func (l *listing) query() url.Values {
	values := url.Values{"limit": {strconv.Itoa(l.limit)}}
	if l.after > 0 {
		values.Set("after", strconv.FormatUint(l.after, 10))
	}
	return values
}

// more says how to go on.
func (a *app) more(after *uint64) {
	if after != nil {
		fmt.Fprintf(a.stderr, "There are more: --after %d\n", *after)
	}
}

func newDeadList(a *app) *cobra.Command {
	var page listing
	var decision, origin string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the oldest first",
		Example: `  doorman dead list
  doorman dead list --decision all --origin amqp --limit 1000`,
		Args: cobra.NoArgs,
	}
	o := operatorsOf(a, cmd)
	page.flags(cmd)
	cmd.Flags().StringVar(&decision, "decision", "open", "`which`: open, retried, discarded or all")
	cmd.Flags().StringVar(&origin, "origin", "", "`from` worker or amqp alone; from both by default")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		query := page.query()
		query.Set("decision", decision)
		if origin != "" {
			query.Set("origin", origin)
		}
		var view admin.LettersView
		_, raw, err := o.ask(cmd.Context(), http.MethodGet, "dead", query, nil, &view)
		if err != nil {
			return err
		}
		if o.asJSON {
			return o.printJSON(raw)
		}
		return a.printLetters(&view)
	}
	return cmd
}

func (a *app) printLetters(view *admin.LettersView) error {
	if len(view.Items) == 0 {
		fmt.Fprintln(a.stderr, "There are none.")
		return nil
	}
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NUMBER\tKEPT\tWHAT\tREASON\tDECISION\tCAUSE")
	for i := range view.Items {
		l := &view.Items[i]
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\n", l.N, instant(l.At), brief(letterWhat(l), 60), l.Reason,
			brief(decidedAs(l.Decision), 30), brief(l.Cause, 60))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	a.more(view.After)
	return nil
}
