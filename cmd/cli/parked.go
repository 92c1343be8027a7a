package cli

import (
	"github.com/spf13/cobra"

	"github.com/ticketed/doorman/commands"
)

func newParked(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "parked",
		Short: "Look at commands that wait for their predecessors, and reject them",
		Long: `Commands wait, are parked, when the action that they follow has not arrived yet. They are taken up when it lands,
and rejected when it is, or does not come in time. Who does not want to wait for that rejects them by hand.`,
		Example: `  doorman parked list --stream order/42
  doorman parked reject 01977000-0000-7000-8000-000000000003 --why "the client is gone"`,
	}
	cmd.AddCommand(newParkedList(a), newParkedShow(a), newParkedReject(a))
	return cmd
}

// commandID reads the id of a command.
func commandID(text string) (string, error) {
	id, ok := commands.ParseID(text)
	if !ok {
		return "", usagef("%q is not the id of a command, which is a UUID", text)
	}
	return id.String(), nil
}
