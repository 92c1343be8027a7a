package cli

import (
	"github.com/spf13/cobra"

	"github.com/ticketed/doorman/projections/admin"
)

func newDeadDiscard(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "discard NUMBER...",
		Short: "Decide that nothing becomes of dead letters",
		Long: `Decide that nothing becomes of dead letters. They are kept, with who decided that and why, and cannot be retried
any more.`,
		Example: `  doorman dead discard 7 8 9 --why "sent by hand meanwhile"`,
		Args:    cobra.MinimumNArgs(1),
	}
	o := operatorsOf(a, cmd)
	o.decides(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body, err := o.decision()
		if err != nil {
			return err
		}
		return o.each(cmd.Context(), args, "discard", body, func(l *admin.LetterView) (string, bool) {
			return decidedAs(l.Decision), true
		})
	}
	return cmd
}
