package asyncapi

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/schemas"
)

// exampleEpoch and exampleTime are those of the log that examples are from.
const exampleEpoch = "9MVN1Q3T8WXS"

var exampleTime = time.Date(2026, time.November, 2, 9, 30, 0, 250_000_000, time.UTC)

func (b *builder) addEvents() {
	b.doc.Components.Schemas["EventHeaders"] = b.eventHeaders()
	b.doc.Components.Schemas["EventProperties"] = properties(object{
		"message_id": schemas.Shaped(eventIDPattern, "The event's id: the same however often it comes."),
	})
	var kinds []string
	b.doc.Channels["events"] = object{
		"title": "Events", "address": "{stream_type}.{event_type}", "messages": object{},
		"description": "Every event that landed, as a CloudEvent in binary mode; its attributes are the headers. Bind to `#` for all, " +
			"to `order.*` for those of one type.",
		"bindings": b.exchange(bus.EventsExchange, "topic"),
	}
	for _, t := range b.types.All {
		for _, e := range t.Events() {
			kinds = append(kinds, e.Name)
			b.message("events", schemas.Name(t, e.Name), b.event(t, e), schemas.Ref("EventProperties"), commands.EventKey(t.Name(), e.Name))
		}
	}
	if kinds == nil { // of such types nothing ever happens
		delete(b.doc.Channels, "events")
		return
	}
	slices.Sort(kinds)
	b.doc.Channels["events"]["parameters"] = object{
		"stream_type": object{"enum": b.types.Names(), "description": "The type of the stream."},
		"event_type":  object{"enum": slices.Compact(kinds), "description": "The event's."},
	}
	b.operation("tellEvents", "send", "events", object{
		"title": "What happened", "bindings": durably(),
		"description": "At least once; first deliveries of a stream in the order of `cloudEvents_sequence`, without gaps.",
	})
}

const eventIDPattern = `^[A-Za-z0-9]+-[1-9][0-9]*\.[0-9]+$`

// eventHeaders are CloudEvents' attributes by its AMQP binding, and the trace context.
func (b *builder) eventHeaders() object {
	return schemas.Closed("The attributes of CloudEvents 1.0, all of them text, and the trace context.", object{
		"cloudEvents_specversion": schemas.Constant(commands.CloudEventSpec),
		"cloudEvents_id":          schemas.Shaped(eventIDPattern, "<epoch>-<position>.<n>, n counting the events of one command from 0."),
		"cloudEvents_source": schemas.Shaped("^"+regexp.QuoteMeta(b.config.Prefix)+"/[A-Za-z0-9]+$",
			"Which doorman, and which history of it: another epoch is another log, whose sequences begin anew."),
		"cloudEvents_type":    schemas.Text("The event's."),
		"cloudEvents_subject": object{"$ref": "#/components/schemas/Stream", "description": "The stream that it happened on."},
		"cloudEvents_time":    object{"$ref": "#/components/schemas/Time", "description": "When it was judged."},
		"cloudEvents_sequence": schemas.Shaped(`^[1-9][0-9]*$`,
			"The stream's version after it: 1, 2, 3 for each stream. Drop what is not above the last one that you have saved."),
		"cloudEvents_sequencetype":  schemas.Constant("Integer"),
		"cloudEvents_position":      object{"$ref": "#/components/schemas/Position", "description": "Its command's place in the log."},
		"cloudEvents_correlationid": object{"type": "string", "minLength": 1, "description": "The sender's, or else the command's id."},
		"cloudEvents_causationid": object{
			"$ref": "#/components/schemas/ID", "description": "The command that caused it: also the ticket after it.",
		},
		"traceparent": schemas.Ref("TraceParent"),
	}, "traceparent")
}

// properties are those that all messages from here have, and more.
func properties(more object) object {
	all := object{
		"content_type":   schemas.Constant(jsonType),
		"delivery_mode":  object{"const": 2, "description": "Persistent."},
		"correlation_id": schemas.Text("The sender's own, of the command."),
	}
	maps.Copy(all, more)
	return schemas.Closed("Properties of the AMQP message.", all, "correlation_id")
}

func (b *builder) event(t aggregate.Type, e aggregate.EventInfo) object {
	name := "event." + schemas.Name(t, e.Name)
	b.doc.Components.Schemas[name] = eventSchema(e)
	m := object{
		"title": e.Name, "summary": "`" + e.Name + "` happened on a stream of type " + t.Name() + ".", "contentType": jsonType,
		"headers": object{"type": "object", "allOf": []object{schemas.Ref("EventHeaders"), {"properties": object{
			"cloudEvents_type":    schemas.Constant(e.Name),
			"cloudEvents_subject": object{"type": "string", "pattern": "^" + t.Name() + "/"},
		}}}},
		"payload": schemas.Ref(name),
	}
	if example := b.eventExample(t, e.Name); example != nil {
		m["examples"] = []object{example}
	}
	return m
}

// eventSchema is what the data of an event may be: its newest shape, or an older one.
func eventSchema(e aggregate.EventInfo) object {
	var shapes []object
	for i, schema := range slices.Backward(e.Schemas) {
		var shape object
		if json.Unmarshal(schema, &shape) != nil {
			shape = object{} // which takes anything
		}
		switch {
		case len(shape) == 0:
			shape["description"] = "JSON whose shape is the type's own matter."
		case i < len(e.Schemas)-1:
			shape["description"] = "As it was written by an older program: such an event comes when it was published for the first time " +
				"only after the program was replaced. Its newer shape has other members."
		}
		shapes = append(shapes, shape)
	}
	if len(shapes) == 1 {
		return shapes[0]
	}
	return object{"anyOf": shapes, "description": "The newest shape first: all that is published in the usual course of things."}
}

// eventExample is an event that comes of the type's own examples, as it is published.
func (b *builder) eventExample(t aggregate.Type, kind string) object {
	for _, chain := range b.config.Examples[t.Name()] {
		o := commands.Outcome{Stream: commands.Stream{Type: t.Name(), ID: "42"}, At: exampleTime}
		for i, step := range chain {
			o.ID, _ = commands.ParseID(schemas.ExampleID(i + 1))
			o.Position++
			o.Version += uint64(len(step.Events))
			o.Events = step.Events
			for n, e := range step.Events {
				if e.Type == kind {
					told := commands.NewCloudEvent(b.config.Prefix+"/"+exampleEpoch, exampleEpoch, &o, n)
					return object{"name": step.Info.Name, "headers": told.Headers(), "payload": json.RawMessage(told.Data)}
				}
			}
		}
	}
	return nil
}

func (b *builder) addOutcomes() {
	b.doc.Channels["outcomes"] = object{
		"title": "Outcomes", "address": "{stream_type}.{status}", "messages": object{},
		"description": "What every command came to, whoever sent it. Rejections come without state and missed.",
		"parameters": object{
			"stream_type": object{"enum": b.types.Names(), "description": "The type of the stream."},
			"status":      object{"enum": []commands.Status{commands.StatusLanded, commands.StatusRejected}},
		},
		"bindings": b.exchange(bus.OutcomesExchange, "topic"),
	}
	b.doc.Components.Schemas["OutcomeHeaders"] = schemas.Closed("The trace context.",
		object{"traceparent": schemas.Ref("TraceParent")}, "traceparent")
	b.doc.Components.Schemas["OutcomeProperties"] = properties(object{
		"message_id": object{
			"$ref": "#/components/schemas/Position", "description": "Its place in the log: the same however often it comes.",
		},
	})
	rejected := schemas.RejectedMembers()
	delete(rejected, "state")
	delete(rejected, "missed")
	b.doc.Components.Schemas["TurnedAway"] = schemas.Closed("It was turned away, for ever.", rejected, "refusal")
	for _, told := range []struct{ name, payload, summary string }{
		{"landed", "Landed", "A command landed."}, {"rejected", "TurnedAway", "A command was turned away."},
	} {
		b.message("outcomes", told.name, object{
			"title": told.name, "summary": told.summary, "contentType": jsonType,
			"headers": schemas.Ref("OutcomeHeaders"), "payload": schemas.Ref(told.payload), "examples": b.outcomeExamples(told.name),
		}, schemas.Ref("OutcomeProperties"), "*."+told.name)
	}
	b.operation("tellOutcomes", "send", "outcomes", object{
		"title": "What commands came to", "description": "At least once; of a stream in the order of positions.", "bindings": durably(),
	})
}

// outcomeExamples is an outcome as it is published, on a stream of the first type there is.
func (b *builder) outcomeExamples(status string) []object {
	t := b.types.All[0]
	o := commands.Outcome{
		Stream: commands.Stream{Type: t.Name(), ID: "42"}, Type: t.Commands()[0].Name, At: exampleTime, Position: 1, Version: 1,
	}
	o.ID, _ = commands.ParseID(schemas.ExampleID(1))
	ticket := o.ID
	if status == string(commands.StatusRejected) {
		o.ID, _ = commands.ParseID(schemas.ExampleID(2))
		o.Position, o.Reason, o.Root, o.RootReason = 2, commands.StaleTicket, o.ID, commands.StaleTicket
		o.Detail = "1 event was appended after version 0, which its ticket names"
	}
	view := commands.ViewOutcome(exampleEpoch, &o)
	view.Ticket = ticket
	return []object{{"name": status, "payload": json.RawMessage(view.AppendTo(nil))}}
}
