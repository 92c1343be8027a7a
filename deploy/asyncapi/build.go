package asyncapi

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/chains"
	"github.com/ticketed/doorman/deploy/schemas"
)

// Config is what the document is made from.
type Config struct {
	Types *aggregate.Registry
	// Examples are those of package chains, by the name of the type.
	Examples map[string][]chains.Chain
	// Prefix begins all names on the broker.
	Prefix string
	Limits commands.LimitsView
}

type object = schemas.Object

// document is the root (AsyncAPI 3.0.0, AsyncAPI Object).
type document struct {
	AsyncAPI           string            `json:"asyncapi"`
	Info               object            `json:"info"`
	DefaultContentType string            `json:"defaultContentType"` //nolint:tagliatelle // AsyncAPI's name
	Servers            object            `json:"servers"`
	Channels           map[string]object `json:"channels"`
	Operations         map[string]object `json:"operations"`
	Components         components        `json:"components"`
}

type components struct {
	Schemas  object `json:"schemas"`
	Messages object `json:"messages"`
}

// builder puts a document together.
type builder struct {
	config Config
	types  *schemas.Types
	doc    document
}

// Build makes the document.
func Build(config Config) ([]byte, error) {
	if config.Types == nil || config.Prefix == "" {
		return nil, errors.New("asyncapi: types and a prefix are needed")
	}
	b := &builder{config: config, types: schemas.Describe(config.Types, config.Examples)}
	b.doc = document{
		AsyncAPI:           "3.0.0",
		Info:               object{"title": "Doorman", "version": "1", "description": b.overview()},
		DefaultContentType: jsonType,
		Servers: object{"broker": object{
			"host": "{broker}", "protocol": "amqp", "protocolVersion": "0-9-1", "title": "RabbitMQ",
			"description": "The RabbitMQ of this deployment, for any client that speaks AMQP 0-9-1.",
			"variables": object{"broker": object{
				"default": "127.0.0.1:5672", "description": "Where it is: whoever runs it knows, and has an account for you.",
			}},
		}},
		Channels: map[string]object{}, Operations: map[string]object{},
		Components: components{Schemas: b.vocabulary(), Messages: object{}},
	}
	b.addCommands()
	b.addEvents()
	b.addOutcomes()
	b.addDeadLetters()
	b.prune()
	text, err := schemas.Encode(b.doc)
	if err != nil {
		return nil, fmt.Errorf("asyncapi: %w", err)
	}
	return text, nil
}

// vocabulary are schemas for whoever refers to them.
func (b *builder) vocabulary() object {
	all := object{}
	schemas.AddWords(all)
	schemas.AddOutcomes(all)
	all["TraceParent"] = schemas.Shaped(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`,
		"W3C Trace Context of the request that the command came with.")
	return all
}

// exchange is a channel to or from an exchange of ours.
func (b *builder) exchange(name, kind string) object {
	return object{"amqp": object{
		"is": "routingKey", "bindingVersion": bindingVersion,
		"exchange": object{"name": b.config.Prefix + "." + name, "type": kind, "durable": true, "autoDelete": false},
	}}
}

const (
	jsonType       = "application/json"
	bindingVersion = "0.3.0" // of the AMQP bindings
)

// message puts a message into the components and a channel; see the package comment for properties and key.
func (b *builder) message(channel, name string, m, properties object, key string) {
	amqp := object{"bindingVersion": bindingVersion, "x-properties": properties}
	if key != "" {
		amqp["x-routing-key"] = key
	}
	m["name"], m["bindings"] = name, object{"amqp": amqp}
	full := channel + "." + name
	b.doc.Components.Messages[full] = neutral(m)
	b.doc.Channels[channel]["messages"].(object)[name] = ref("messages", full)
}

// operation adds what is done with a channel's messages.
func (b *builder) operation(name, action, channel string, more object) {
	var all []object
	for _, m := range schemas.Sorted(b.doc.Channels[channel]["messages"].(object)) {
		all = append(all, object{"$ref": "#/channels/" + channel + "/messages/" + m})
	}
	more["action"], more["channel"], more["messages"] = action, object{"$ref": "#/channels/" + channel}, all
	b.doc.Operations[name] = more
}

func ref(kind, name string) object { return object{"$ref": "#/components/" + kind + "/" + name} }

// durably is the binding of an operation that publishes persistent messages.
func durably() object {
	return object{"amqp": object{"deliveryMode": 2, "bindingVersion": bindingVersion}}
}

var schemaRef = regexp.MustCompile(`"\$ref":"#/components/schemas/([^"]+)"`)

// prune leaves out the schemas that nothing refers to, and says the others in AsyncAPI's words.
func (b *builder) prune() {
	all := b.doc.Components.Schemas
	b.doc.Components.Schemas = object{}
	var take func(from any)
	take = func(from any) {
		text, err := schemas.Encode(from)
		if err != nil {
			return // encoding the document will say so
		}
		for _, found := range schemaRef.FindAllSubmatch(text, -1) {
			name := string(found[1])
			if _, known := b.doc.Components.Schemas[name]; known || all[name] == nil {
				continue
			}
			b.doc.Components.Schemas[name] = neutral(all[name])
			take(b.doc.Components.Schemas[name])
		}
	}
	take(b.doc.Components.Messages)
}

func (b *builder) overview() string {
	return fmt.Sprintf("Doorman lets commands in, in order, by the *tickets* that they carry: the id of the action that the sender "+
		"believes came last on the stream, or \"genesis\" where nothing has happened yet. What lands is appended to the stream's events. "+
		"What arrives before its predecessor waits for it, %d seconds unless its type says otherwise; who comes too late is told what was "+
		"missed and the ticket to try again with.\n\n"+
		"Publish commands to `%[2]s.%[3]s`, under ids that you make, and consume the answers from the queue that you name in reply_to. "+
		"Bind a durable queue of your own to `%[2]s.%[4]s` or `%[2]s.%[5]s`: what is published from then on comes to it, at least once, "+
		"first deliveries of a stream in order. What comes twice has the same message_id, and an event a `cloudEvents_sequence` that "+
		"was seen already on its stream. Acknowledge after you have saved what came of a message. A queue that is full and refuses "+
		"(`reject-publish`) is tried for 10 seconds and then passed over, so that it stops nobody else: give yours room. What was "+
		"refused, and what could not be carried out, is told at `%[2]s.%[8]s`.\n\n"+
		"AsyncAPI has no words for the properties of AMQP's messages: they are in each message's binding as `x-properties`, "+
		"and its routing key as `x-routing-key`; where a location says `$message.header#/reply_to`, that property is meant. "+
		"Bodies are JSON as in RFC 7493, %[6]d bytes and %[7]d levels of nesting at most; unknown and duplicate members are refused.",
		b.config.Limits.ParkSeconds, b.config.Prefix, rabbitmq.CommandsExchange, bus.EventsExchange, bus.OutcomesExchange,
		b.config.Limits.MaxBody, b.config.Limits.MaxDepth, bus.DeadExchange)
}
