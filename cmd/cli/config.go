package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ticketed/doorman/deploy"
)

func newConfig(a *app) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show every setting, its value and where that comes from",
		Long: `Show the settings that 'doorman serve' would run with, given the same flags, environment and file.

Each setting has one name: data_dir in the file, --data-dir as a flag, DOORMAN_DATA_DIR in the environment.
Flags override the environment, which overrides the file, which overrides the default. An empty variable
counts as not set. Secrets are shown masked; they can be read from a file as well, named by a variable such
as DOORMAN_POSTGRES_URL_FILE.

What is wrong is told all at once, on standard error, with exit code 2.`,
		Example: `  doorman config
  doorman config --config doorman.yaml --lanes 8
  doorman config -o yaml > doorman.yaml       a file to start from
  DOORMAN_LISTEN=:9000 doorman config -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(deploy.ConfigFormats, format) {
				return usagef("--output: %q is none of %s", format, strings.Join(deploy.ConfigFormats, ", "))
			}
			config, err := a.loadConfig(cmd)
			if err != nil {
				return err
			}
			return config.Print(a.stdout, format)
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "text", "`form`: "+strings.Join(deploy.ConfigFormats, ", "))
	deploy.AddFlags(cmd.Flags())
	return cmd
}

// loadConfig reads the settings of a command that deploy.AddFlags was called on.
func (a *app) loadConfig(cmd *cobra.Command) (*deploy.Config, error) {
	config, err := deploy.Load(cmd.Flags(), a.environ)
	if errors.Is(err, deploy.ErrConfig) {
		return nil, &usageError{err}
	}
	return config, err
}
