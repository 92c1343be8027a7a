package cli

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/projections/admin"
)

func newDead(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "Look at what could not be carried out, and decide on it",
		Long: `Dead letters are commands whose type's code broke on them, frames that could not be read, and messages of other
services that were refused. Each is kept, with the original and the cause, until somebody decides what becomes of it.`,
		Example: `  doorman dead list
  doorman dead show 7
  doorman dead retry 7 --why "the bug is fixed"`,
	}
	cmd.AddCommand(newDeadList(a), newDeadShow(a), newDeadRetry(a), newDeadDiscard(a))
	return cmd
}

// letterNumber reads the number of a dead letter.
func letterNumber(text string) (string, error) {
	if _, err := strconv.ParseUint(text, 10, 63); err != nil {
		return "", usagef("%q is not the number of a dead letter", text)
	}
	return text, nil
}

// letterWhat is a dead letter in a few words.
func letterWhat(l *admin.LetterView) string {
	switch {
	case l.Command != nil && l.Command.Actor != "":
		return fmt.Sprintf("%s on %s by %s", l.Command.Type, l.Command.Stream, l.Command.Actor)
	case l.Command != nil:
		return fmt.Sprintf("%s on %s", l.Command.Type, l.Command.Stream)
	case l.Message != nil && l.Message.UserID != "":
		return fmt.Sprintf("message of %s, %s", l.Message.UserID, size(l.Message.Size))
	case l.Message != nil:
		return "message, " + size(l.Message.Size)
	}
	return "frame"
}

// decidedAs is what was decided in a few words.
func decidedAs(d *admin.DecisionView) string {
	if d == nil {
		return "open"
	}
	return string(d.Resolution) + " by " + d.By
}

// standing is where a command stands, in a sentence.
func standing(v *commands.CommandView) string {
	switch v.Status {
	case commands.StatusLanded:
		return fmt.Sprintf("landed: %s is at version %d", v.Stream, v.Version)
	case commands.StatusRejected:
		return fmt.Sprintf("rejected, %s: %s", v.Reason, v.Detail)
	case commands.StatusParked:
		return fmt.Sprintf("parked: it waits for %s", v.WaitsFor)
	case commands.StatusUnknown, commands.StatusAccepted:
	}
	return "sent, and nothing is known of it yet"
}
