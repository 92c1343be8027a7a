package deadletters

import (
	"strings"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/commands"
)

// maxDetail is how many bytes of a cause are told.
const maxDetail = 1024

const contentType = "application/json"

// notice is what is told of a letter.
func notice(l *store.DeadLetter) bus.Notice {
	n := bus.Notice{
		Exchange: bus.DeadExchange, RoutingKey: string(l.Origin) + "." + string(l.Reason), Persistent: true,
		Headers: map[string]any{
			"x-doorman-number": int64(l.N), //nolint:gosec // they count from 1
			"x-doorman-origin": string(l.Origin), "x-doorman-reason": string(l.Reason),
			"x-doorman-at": string(commands.AppendTime(nil, l.At)),
		},
	}
	say := func(header, text string) {
		if text != "" {
			n.Headers[header] = text
		}
	}
	say("x-doorman-detail", strings.ToValidUTF8(l.Cause[:min(len(l.Cause), maxDetail)], "\uFFFD"))
	switch {
	case l.Message != nil:
		m := l.Message
		n.Body, n.ContentType, n.ContentEncoding = commands.WithoutSessions(m.Body), m.ContentType, m.ContentEncoding
		n.MessageID, n.CorrelationID = m.MessageID, m.CorrelationID
		say("x-doorman-exchange", m.Exchange)
		say("x-doorman-routing-key", m.RoutingKey)
		say("x-doorman-user-id", m.UserID)
		if m.Size > len(m.Body) {
			n.Headers["x-doorman-size"] = int64(m.Size)
		}
	case l.Envelope.ID == commands.None && l.Envelope.Stream == (commands.Stream{}):
		n.Headers["x-doorman-size"] = int64(len(l.Envelope.Data))
	default:
		command := l.Envelope.Command
		command.Session = ""
		n.Body, n.ContentType, n.MessageID = command.AppendTo(nil), contentType, command.ID.String()
		n.CorrelationID = l.Envelope.CorrelationID
		say("x-doorman-stream", command.Stream.String())
		say("traceparent", l.Envelope.TraceParent)
	}
	return n
}
