package asyncapi

import (
	"maps"
	"regexp"
	"strings"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
	"github.com/ticketed/doorman/deploy/schemas"
)

// addCommands describes what others may send.
func (b *builder) addCommands() {
	all := b.doc.Components.Schemas
	b.types.AddCommands(all)
	all["CommandHeaders"] = object{
		"type": "object", "properties": object{"traceparent": object{
			"type": "string", "description": "W3C Trace Context; a broken one is passed over. What comes of the command carries it.",
		}},
		"description": "Any; all but traceparent are passed over.",
	}
	all["CommandProperties"] = b.commandProperties()
	b.doc.Channels["commands"] = object{
		"title": "Commands", "address": "{routing_key}", "messages": object{},
		"description": "One command, or an array of them, of which each is taken and answered by itself. Publish with confirms, " +
			"mandatory and persistent. Order of publishing is not kept: that is what tickets are for. What is not as it is told here is " +
			"refused, answered if it has a reply_to, and a dead letter.",
		"parameters": object{"routing_key": object{"description": "Any: all of it goes to one queue.", "default": "commands"}},
		"bindings":   b.exchange(rabbitmq.CommandsExchange, "fanout"),
	}
	for _, t := range b.types.All {
		for _, c := range t.Commands() {
			b.message("commands", schemas.Name(t, c.Name), b.command(t, c), schemas.Ref("CommandProperties"), "")
		}
	}
	b.message("commands", "array", object{
		"title": "several commands", "contentType": jsonType,
		"summary": "Several commands, taken in the array's order and not atomic. All are answered with the message's correlation_id; " +
			"its message_id is your own affair.",
		"headers": schemas.Ref("CommandHeaders"),
		"payload": object{"type": "array", "items": schemas.Ref("Command"), "minItems": 1, "maxItems": b.config.Limits.MaxArray},
	}, schemas.Ref("CommandProperties"), "")
	b.addReplies()
	b.operation("takeCommands", "receive", "commands", object{
		"title": "What is sent", "description": "A command under an id that is known has no second effect, however often it comes, " +
			"and is answered each time.",
		"reply": b.replies(),
	})
}

// commandProperties are those that mean something here.
func (b *builder) commandProperties() object {
	own := regexp.QuoteMeta(b.config.Prefix + ".")
	return object{
		"type": "object", "description": "Properties of the AMQP message; those that are not here are passed over.",
		"properties": object{
			"content_type": object{
				"type": "string", "pattern": `^[Aa][Pp][Pp][Ll][Ii][Cc][Aa][Tt][Ii][Oo][Nn]/[Jj][Ss][Oo][Nn]\s*(;|$)`,
				"description": jsonType + ", in UTF-8; the same when it is missing.",
			},
			"content_encoding": object{
				"type": "string", "pattern": `^([Ii][Dd][Ee][Nn][Tt][Ii][Tt][Yy]|[Uu][Tt][Ff]-8)?$`,
				"description": "None: bodies are not compressed.",
			},
			"message_id": schemas.Text("The command's id, when the body has none: a UUID then."),
			"correlation_id": schemas.Text("What you call the command: it comes back with every answer, and as cloudEvents_correlationid " +
				"with what comes of it."),
			"reply_to": object{
				"type": "string", "not": object{"pattern": "^" + own},
				"description": "The queue that answers go to: one of your own, or amq.rabbitmq.reply-to for the broker's direct replies.",
			},
			"user_id":       schemas.Text("The broker checks that it is who you are; it is the actor then, whatever the body says."),
			"delivery_mode": object{"enum": []int{1, 2}, "description": "2, persistent: it survives the broker's restart."},
		},
	}
}

func (b *builder) command(t aggregate.Type, c aggregate.CommandInfo) object {
	name := schemas.Name(t, c.Name)
	schema := b.doc.Components.Schemas[name].(object)    //nolint:forcetypeassert // as package schemas makes it
	members := maps.Clone(schema["properties"].(object)) //nolint:forcetypeassert // likewise
	members["id"] = object{
		"$ref":        "#/components/schemas/SentID",
		"description": "The idempotency key and the next ticket. Without it message_id is; without either one is made, for each delivery.",
	}
	members["ticket"] = schemas.Shaped(schemas.SentTicketPattern,
		`The id of the action that came last on the stream, or "genesis". Needed unless the policy is any.`)
	if c.Schema != nil && !readAlike(c.Schema) {
		members["data"] = object{
			"description":   "Its JSON Schema is one of draft 2020-12, which AsyncAPI's are not: x-data-schema is its text.",
			"x-data-schema": string(c.Schema), // a text, so that nobody follows what it refers to
		}
	}
	schema = maps.Clone(schema)
	schema["properties"] = members
	delete(schema, "examples") // those of messages are the same
	b.doc.Components.Schemas[name] = schema
	m := object{
		"title": c.Name, "summary": c.Doc, "contentType": jsonType, "headers": schemas.Ref("CommandHeaders"), "payload": schemas.Ref(name),
		"description": "Policies: " + policies(c.Policies) + ".",
	}
	if example := b.types.Example(t, c.Name); example != nil {
		m["examples"] = []object{{"name": c.Name, "payload": example}}
	}
	return m
}

func policies(all []commands.Policy) string {
	var names []string
	for _, p := range all {
		names = append(names, p.String())
	}
	return strings.Join(names, ", ")
}

// addReplies describes what comes back.
func (b *builder) addReplies() {
	all := b.doc.Components.Schemas
	schemas.AddRefusal(all)
	all["ReplyHeaders"] = schemas.Closed("The trace context.", object{"traceparent": schemas.Ref("TraceParent")}, "traceparent")
	properties := func(contentType string) object {
		return schemas.Closed("Properties of the AMQP message.", object{
			"content_type":   schemas.Constant(contentType),
			"delivery_mode":  object{"const": 2, "description": "Persistent."},
			"message_id":     schemas.Text("The same however often the same is told you."),
			"correlation_id": schemas.Text("Yours, of the message with the command."),
		}, "correlation_id")
	}
	all["ReplyProperties"], all["RefusalProperties"] = properties(jsonType), properties(problem.ContentType)
	b.doc.Channels["replies"] = object{
		"title": "Answers", "address": nil, "messages": object{},
		"description": "The queue that reply_to names. It is nobody's but yours: declare it before you send.",
		"bindings":    object{"amqp": object{"is": "queue", "queue": object{}, "bindingVersion": bindingVersion}},
	}
	for _, told := range []struct{ name, payload, properties, contentType, summary string }{
		{"landed", "Landed", "ReplyProperties", jsonType, "The command landed."},
		{"rejected", "Rejected", "ReplyProperties", jsonType, "The command was turned away, for ever: with what you missed, the state as " +
			"it is now, and the ticket to try again with, under a new id."},
		{"refused", "Refusal", "RefusalProperties", problem.ContentType, "It was not taken, and nothing is remembered of it; or, as " +
			"id_conflict, another command has its id. It may be sent again, mended. Go by `code`."},
	} {
		b.message("replies", told.name, object{
			"title": told.name, "summary": told.summary, "contentType": told.contentType, "correlationId": correlation(),
			"headers": schemas.Ref("ReplyHeaders"), "payload": schemas.Ref(told.payload),
		}, schemas.Ref(told.properties), "")
	}
}

func correlation() object {
	return object{
		"location": "$message.header#/correlation_id", "description": "The property correlation_id, as with the command.",
	}
}

// replies is the answer to an operation.
func (b *builder) replies() object {
	var all []object
	for _, m := range schemas.Sorted(b.doc.Channels["replies"]["messages"].(object)) {
		all = append(all, object{"$ref": "#/channels/replies/messages/" + m})
	}
	return object{
		"channel": object{"$ref": "#/channels/replies"}, "messages": all,
		"address": object{
			"location": "$message.header#/reply_to", "description": "The property reply_to. Without it nothing is answered.",
		},
	}
}
