package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/cmd/demo"
	"github.com/ticketed/doorman/deploy"
)

func newServe(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Take commands over HTTP, judge them, and answer queries",
		Long: `Serve everything in one process: commands and queries on one address, metrics, profiles and health on
another. Without further ado the data is in a SQLite file in ./.doorman; --postgres-url puts it into Postgres.

SIGTERM or SIGINT stops it gently: /readyz turns 503, requests under way are answered, what was accepted is
committed, the store is closed. A second one stops it at once, which loses nothing that was accepted either.

'doorman config' shows the settings and tells how else they can be given. Exit codes: 0 stopped when asked to,
1 it could not start or had to stop, 2 wrong flags or settings.`,
		Example: `  doorman serve
  doorman serve --listen :8080 --data-dir /var/lib/doorman
  DOORMAN_POSTGRES_URL=postgres://doorman:secret@db/doorman doorman serve`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := a.loadConfig(cmd)
			if err != nil {
				return err
			}
			config.Log = deploy.NewLog(a.stderr, config)
			if slices.ContainsFunc(a.types, func(t aggregate.Type) bool { return t.Name() == demo.Type }) {
				config.Demo = demo.Handler()
			}
			trade()
			signals := make(chan os.Signal, 2)
			signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
			defer signal.Stop(signals)
			return a.serve(cmd.Context(), config, signals)
		},
	}
	deploy.AddFlags(cmd.Flags())
	return cmd
}

// trade gives memory for speed: what lives long here is small, so the collector may run less often than
// by default. It saves some 5 % of the processor for some 40 MB. GOGC has the last word.
func trade() {
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(300)
	}
}

// serve runs a program until a signal, the end of the context, or the program's own.
func (a *app) serve(ctx context.Context, config *deploy.Config, signals <-chan os.Signal) error {
	program, err := deploy.New(config, a.types)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	started := make(chan error, 1)
	go func() { started <- program.Start(ctx) }()
	select {
	case err := <-started:
		if err != nil {
			return err
		}
	case <-signals:
		cancel()
		if err := <-started; err != nil {
			return nil // it was stopped while it started, as it was asked to
		}
	}
	var failure error
	select {
	case s := <-signals:
		config.Log.Info("stopping; a second signal stops at once", "signal", s.String())
	case <-ctx.Done():
	case failure = <-program.Failed():
	}
	stopped := make(chan error, 1)
	go func() { stopped <- program.Stop() }()
	select {
	case err := <-stopped:
		return errors.Join(failure, err)
	case s := <-signals:
		return fmt.Errorf("stopped at once by a second signal (%s)", s)
	}
}
