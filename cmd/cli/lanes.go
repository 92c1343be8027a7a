package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ticketed/doorman/deploy"
)

// lanesSettings are those that say which store and which broker are meant.
var lanesSettings = []string{"data_dir", "postgres_url", "postgres_schema", "rabbitmq_url", "rabbitmq_prefix"}

func newLanes(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "lanes",
		Short: "Show the lanes and who works them, or change their number",
		Long: `Show how many lanes the command traffic is divided into, who holds each, how much waits on it and when it was
worked last; and the processes of a deployment on Postgres, with the lanes that each holds. It changes nothing,
and may be asked at any time.`,
		Example: `  doorman lanes --data-dir /var/lib/doorman
  doorman lanes --postgres-url postgres://doorman@db/doorman --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := a.loadConfig(cmd)
			if err != nil {
				return err
			}
			view, err := deploy.Lanes(cmd.Context(), config)
			if err != nil {
				return err
			}
			if asJSON {
				encoder := json.NewEncoder(a.stdout)
				encoder.SetIndent("", "  ")
				return encoder.Encode(view)
			}
			return a.printLanes(view, time.Now())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	deploy.AddFlags(cmd.Flags(), lanesSettings...)
	cmd.AddCommand(newLanesSet(a), newLanesAbort(a))
	return cmd
}

func newLanesSet(a *app) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "set N",
		Short: "Change the number of lanes to N",
		Long: `Change the number of lanes. On Postgres with RabbitMQ everything goes on running: gateways refuse commands
with 503 for some seconds, while workers work off what is queued; then all processes go by the new number.
Nothing that was accepted is lost, and what waits for its predecessor keeps the time it has left.

On SQLite, and on Postgres without RabbitMQ, stop the server first and start it again afterwards.

It may be interrupted at any moment: until it has come to its end everything goes on with the number there was,
at once or when the time-out is over, and it can be asked for again. A server that has a number of its own
configured (lanes) starts again only with the one that holds: change that as well.`,
		Example: `  doorman lanes set 32 --postgres-url postgres://doorman@db/doorman --rabbitmq-url amqp://doorman@mq
  doorman lanes set 4 --data-dir /var/lib/doorman`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[0])
			if err != nil {
				return usagef("%q is not a number of lanes", args[0])
			}
			if timeout < time.Second {
				return usagef("--timeout: %s is too short", timeout)
			}
			config, err := a.loadConfig(cmd)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return deploy.SetLanes(ctx, config, deploy.LanesChange{
				Lanes: n, By: operator(), Timeout: timeout,
				Say: func(text string) { fmt.Fprintln(a.stderr, text) },
			})
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "`duration` after which everything is as it was")
	deploy.AddFlags(cmd.Flags(), lanesSettings...)
	return cmd
}

func newLanesAbort(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "abort",
		Short: "Undo a change of the number that is under way",
		Long: `Undo a change of the number of lanes that has not come to its end, as when the command was killed: everything
goes on with the number there was. Without it that happens when the change's time-out is over.`,
		Example: `  doorman lanes abort --postgres-url postgres://doorman@db/doorman`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := a.loadConfig(cmd)
			if err != nil {
				return err
			}
			undone, err := deploy.AbortLanes(context.WithoutCancel(cmd.Context()), config)
			if err != nil {
				return err
			}
			if undone {
				fmt.Fprintln(a.stdout, "The change was undone.")
			} else {
				fmt.Fprintln(a.stdout, "The number of lanes is not being changed.")
			}
			return nil
		},
	}
	deploy.AddFlags(cmd.Flags(), lanesSettings...)
	return cmd
}

// operator names who changes the number, for people to read.
func operator() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return fmt.Sprintf("%s pid %d", host, os.Getpid())
}

func (a *app) printLanes(view *deploy.LanesView, now time.Time) error {
	if c := view.Change; c != nil {
		fmt.Fprintf(a.stdout, "%d lanes, being changed to %d by %s for %.0f s: %s. It ends by itself in %.0f s.\n\n",
			view.Lanes, c.Lanes, c.By, c.Seconds, c.Step, c.SecondsLeft)
	} else {
		fmt.Fprintf(a.stdout, "%d lanes\n\n", view.Lanes)
	}
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "LANE\tOWNER\tEPOCH\tWORKED\tPARKED\tLAST COMMIT")
	for _, l := range view.List {
		fmt.Fprintf(table, "%d\t%s\t%d\t%s\t%d\t%s\n",
			l.Lane, orDash(l.Owner), l.Epoch, seconds(l.SecondsWorked), l.Parked, ago(l.WorkedAt, now))
	}
	if len(view.Processes) > 0 {
		fmt.Fprintln(table, "\nPROCESS\tROLES\tBUS\tLANES\tSEEN\t")
		for _, p := range view.Processes {
			seen := seconds(p.SecondsSeen) + " ago"
			if !p.Alive {
				seen += ", counts as gone"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\n", p.Name, p.Roles, p.Bus, p.Share, seen, p.Step)
		}
	}
	return table.Flush()
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < time.Minute {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func ago(at *time.Time, now time.Time) string {
	if at == nil {
		return "-"
	}
	return seconds(max(0, now.Sub(*at).Seconds())) + " ago"
}
