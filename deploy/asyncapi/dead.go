package asyncapi

import (
	"maps"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/schemas"
)

// addDeadLetters describes what is told of what could not be carried out.
func (b *builder) addDeadLetters() {
	all := b.doc.Components.Schemas
	all["DeadProperties"] = schemas.Closed("Properties of the AMQP message: those of the original, and that it is persistent.", object{
		"content_type": schemas.Text("The original's."), "content_encoding": schemas.Text("The original's."),
		"message_id": schemas.Text("The original's; of a command its id."), "correlation_id": schemas.Text("The original's."),
		"delivery_mode": schemas.Constant(2),
	}, "content_type", "content_encoding", "message_id", "correlation_id")
	b.doc.Channels["dead"] = object{
		"title": "Dead letters", "address": "{origin}.{reason}", "messages": object{},
		"description": "What could not be carried out, each at least once: the original, without sessions, and why. Operators decide on " +
			"it. A queue of the exchange's name keeps the newest for those who look.",
		"parameters": object{
			"origin": object{"enum": []string{"worker", "amqp"}, "description": "Where it came from."},
			"reason": object{"description": "As the code of a problem."},
		},
		"bindings": b.exchange(bus.DeadExchange, "topic"),
	}
	for _, letter := range []struct {
		name, key, summary string
		headers            object
		optional           []string
		more               object
	}{
		{"failed", "worker." + string(commands.Failed), "The code of its type broke on a command; the cause has the stack.", object{
			"x-doorman-origin": schemas.Constant("worker"), "x-doorman-reason": schemas.Constant(commands.Failed),
			"x-doorman-stream": schemas.Ref("Stream"), "traceparent": schemas.Ref("TraceParent"),
		}, []string{"traceparent"}, object{"contentType": jsonType, "payload": schemas.Ref("Command")}},
		{"unreadable", "worker.*", "What no worker could read of the traffic between Doorman's processes. It has no body.", object{
			"x-doorman-origin": schemas.Constant("worker"), "x-doorman-reason": schemas.Text("As the code of a problem."),
			"x-doorman-size": schemas.Whole(0, "Bytes of the original."),
		}, nil, object{}},
		{"refused", "amqp.*", "A message that was refused, or of an array one command. The body is its own, up to 1 MiB.", object{
			"x-doorman-origin":      schemas.Constant("amqp"),
			"x-doorman-reason":      schemas.Text("As the code of a problem."),
			"x-doorman-exchange":    schemas.Text("What it was published to."),
			"x-doorman-routing-key": schemas.Text("With which key."),
			"x-doorman-user-id":     schemas.Text("Whose it is, as the broker has checked."),
			"x-doorman-size":        schemas.Whole(0, "Bytes of the original, when the body is not all of it."),
		}, []string{"x-doorman-exchange", "x-doorman-routing-key", "x-doorman-user-id", "x-doorman-size"}, object{}},
	} {
		maps.Copy(letter.headers, object{
			"x-doorman-number": schemas.Whole(1, "By which it is known: what comes twice has the same."),
			"x-doorman-detail": schemas.Text("What was wrong, the first 1,024 bytes of it."),
			"x-doorman-at":     schemas.Ref("Time"),
		})
		m := object{
			"title": letter.name, "summary": letter.summary,
			"headers": schemas.Closed("The letter's.", letter.headers, append(letter.optional, "x-doorman-detail")...),
		}
		maps.Copy(m, letter.more)
		b.message("dead", letter.name, m, schemas.Ref("DeadProperties"), letter.key)
	}
	b.operation("tellDeadLetters", "send", "dead", object{
		"title": "What could not be carried out", "bindings": durably(), "description": "At least once.",
	})
}
