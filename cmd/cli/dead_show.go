package cli

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/ticketed/doorman/projections/admin"
)

func newDeadShow(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show NUMBER",
		Short:   "Show one dead letter whole: the original, the cause and what was decided",
		Example: `  doorman dead show 7`,
		Args:    cobra.ExactArgs(1),
	}
	o := operatorsOf(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		n, err := letterNumber(args[0])
		if err != nil {
			return err
		}
		var view admin.LetterView
		_, raw, err := o.ask(cmd.Context(), http.MethodGet, "dead/"+n, nil, nil, &view)
		if err != nil {
			return err
		}
		if o.asJSON {
			return o.printJSON(raw)
		}
		_, err = fmt.Fprint(a.stdout, letterText(&view, time.Now()))
		return err
	}
	return cmd
}

func letterText(l *admin.LetterView, now time.Time) string {
	text := fields("Dead letter", fmt.Sprint(l.N), "kept", instant(l.At)+", "+distance(l.At, now), "what", letterWhat(l),
		"reason", string(l.Reason), "decision", decidedAs(l.Decision))
	if d := l.Decision; d != nil {
		as, now := "", ""
		if l.Retried != nil {
			as, now = l.Retried.ID.String(), standing(l.Retried)
		}
		text += "\nDecided:\n" + fields("  at", instant(d.At), "  by", d.By, "  why", d.Why, "  as", as, "  now", now)
	}
	switch {
	case l.Command != nil:
		c := l.Command
		text += "\nCommand:\n" + fields("  id", c.ID.String(), "  stream", c.Stream.String(), "  type", c.Type,
			"  ticket", c.Ticket.String(), "  policy", c.Policy, "  actor", c.Actor, "  received", instant(c.ReceivedAt)) +
			"\nData:\n" + payloadText(&c.Payload, "  ")
	case l.Message != nil:
		m := l.Message
		text += "\nMessage:\n" + fields("  size", size(m.Size), "  content_type", m.ContentType, "  content_encoding", m.ContentEncoding,
			"  message_id", m.MessageID, "  correlation_id", m.CorrelationID, "  reply_to", m.ReplyTo, "  user_id", m.UserID,
			"  exchange", m.Exchange, "  routing_key", m.RoutingKey, "  properties", string(m.Properties)) +
			"\nBody:\n" + payloadText(&m.Payload, "  ")
	case l.Frame != nil:
		text += "\nFrame:\n  " + size(l.Frame.Size) + "; --json has them in base64\n"
	}
	if l.Cause != "" {
		text += "\nCause:\n" + plainLines(l.Cause, "  ")
	}
	return text
}
