package cli

import (
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ticketed/doorman/deploy"
)

func newMigrate(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the store's schema up to date, or show where it stands",
		Long: `'doorman serve' brings the store up to date by itself when it starts. Where that is not wanted, as when
another database role does it, serve with --migrate=false and run 'doorman migrate up' beforehand.`,
	}
	cmd.AddCommand(newMigrateUp(a), newMigrateStatus(a))
	return cmd
}

// migrateSettings are those that say which store is meant and how a new one is made.
var migrateSettings = []string{"data_dir", "postgres_url", "postgres_schema", "lanes"}

func newMigrateUp(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Bring the schema up to what this binary needs; make the store when there is none",
		Example: `  doorman migrate up --data-dir /var/lib/doorman
  DOORMAN_POSTGRES_URL_FILE=/run/secrets/owner doorman migrate up`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := a.loadConfig(cmd)
			if err != nil {
				return err
			}
			if err := deploy.Migrate(cmd.Context(), config); err != nil {
				return err
			}
			return a.printMigrations(cmd, config)
		},
	}
	deploy.AddFlags(cmd.Flags(), migrateSettings...)
	return cmd
}

func newMigrateStatus(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "List the steps of the schema and whether they were taken",
		Example: `  doorman migrate status --postgres-url postgres://doorman@db/doorman`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := a.loadConfig(cmd)
			if err != nil {
				return err
			}
			return a.printMigrations(cmd, config)
		},
	}
	deploy.AddFlags(cmd.Flags(), migrateSettings...)
	return cmd
}

func (a *app) printMigrations(cmd *cobra.Command, config *deploy.Config) error {
	all, err := deploy.Migrations(cmd.Context(), config)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(m deploy.Migration) bool { return m.Applied }) {
		fmt.Fprintln(a.stderr, "There is no database yet: none of these steps was taken.")
	}
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VERSION\tNAME\tTAKEN")
	for _, m := range all {
		taken := "no"
		if m.Applied {
			taken = "yes"
			if !m.AppliedAt.IsZero() {
				taken = m.AppliedAt.UTC().Format(time.RFC3339)
			}
		}
		fmt.Fprintf(table, "%d\t%s\t%s\n", m.Version, m.Name, taken)
	}
	return table.Flush()
}
