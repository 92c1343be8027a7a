package asyncapitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ticketed/doorman/deploy/schemas"
	"github.com/ticketed/doorman/deploy/schemas/schemastest"
)

type object = schemastest.Object

// Checker knows one document. It is safe for use by many goroutines.
type Checker struct{ *schemastest.Document }

// New reads a document. The error tells everything that is wrong with it.
func New(text []byte) (*Checker, error) {
	document, err := schemastest.Read(text, jsonschema.Draft7)
	if err != nil {
		return nil, err
	}
	c := &Checker{document}
	return c, c.structure()
}

// Message is one that passed, by AMQP's words.
type Message struct {
	Exchange   string // empty: it went to the queue that RoutingKey names
	RoutingKey string
	// Properties are those that were set, by their names in the protocol: message_id, content_type, …
	Properties map[string]any
	Headers    map[string]any
	Body       []byte
}

// Check tells what of a message is not as the document says; the error is nil when all is.
func (c *Checker) Check(m *Message) error {
	channel := c.channelOf(m.Exchange)
	if channel == "" {
		return fmt.Errorf("there is no channel for exchange %q", m.Exchange)
	}
	name, err := c.messageOf(channel, m)
	if err != nil {
		return err
	}
	c.Meet(channel + " " + name)
	return nil
}

// channelOf is the channel of an exchange; of replies for none.
func (c *Checker) channelOf(exchange string) string {
	for _, name := range schemas.Sorted(schemastest.Member(c.Root, "channels")) {
		amqp := schemastest.Member(c.Root, "channels", name, "bindings", "amqp")
		if exchange == "" && amqp["is"] == "queue" || exchange != "" && schemastest.Member(amqp, "exchange")["name"] == exchange {
			return name
		}
	}
	return ""
}

// messageOf is the message of a channel that one is: exactly one of them (AsyncAPI 3.0.0, Operation Object).
func (c *Checker) messageOf(channel string, m *Message) (string, error) {
	var found []string
	var nearest []error // what is wrong with those that the routing key would be that of
	for _, name := range schemas.Sorted(schemastest.Member(c.Root, "channels", channel, "messages")) {
		err := c.fits(channel, name, m)
		if err == nil {
			found = append(found, name)
		} else if wrong := new(otherKeyError); !errors.As(err, &wrong) {
			nearest = append(nearest, fmt.Errorf("it is no %s: %w", name, err))
		}
	}
	switch {
	case len(found) > 1:
		return "", fmt.Errorf("it is at once each of %s", strings.Join(found, ", "))
	case len(found) == 1:
		return found[0], nil
	case len(nearest) == 0:
		return "", fmt.Errorf("channel %s has no message with the routing key %q", channel, m.RoutingKey)
	}
	return "", errors.Join(nearest...)
}

// otherKeyError: the routing key is that of another message.
type otherKeyError struct{ key, want string }

func (e *otherKeyError) Error() string {
	return fmt.Sprintf("its routing key is %q, not %s", e.key, e.want)
}

// fits holds a message against one of a channel.
func (c *Checker) fits(channel, name string, m *Message) error {
	told, at := c.Resolve(schemastest.Pointer("channels", channel, "messages", name))
	amqp := schemastest.Member(told, "bindings", "amqp")
	if want, some := amqp["x-routing-key"].(string); some && !keyFits(want, m.RoutingKey) {
		return &otherKeyError{m.RoutingKey, want}
	}
	if err := c.addressFits(channel, m.RoutingKey); err != nil {
		return err
	}
	return c.contentFits(at, told, m)
}

func (c *Checker) contentFits(at string, told object, m *Message) error {
	for place, value := range map[string]map[string]any{
		at + "/bindings/amqp/x-properties": m.Properties, at + "/headers": m.Headers,
	} {
		told, err := asJSON(value)
		if err == nil {
			err = c.Validate(place, told)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", place[strings.LastIndexByte(place, '/')+1:], err)
		}
	}
	if err := typeFits(told["contentType"], m.Properties["content_type"]); err != nil {
		return err
	}
	if told["payload"] == nil { // it is anything
		return nil
	}
	body, err := jsonschema.UnmarshalJSON(bytes.NewReader(m.Body))
	if err != nil {
		return fmt.Errorf("its body is no JSON: %w", err)
	}
	if err := c.Validate(at+"/payload", body); err != nil {
		return fmt.Errorf("its body: %w", err)
	}
	return nil
}

// typeFits: who names a content type names that one, whatever parameters it has.
func typeFits(want, named any) error {
	text, some := named.(string)
	if !some || want == nil {
		return nil
	}
	if kind, _, err := mime.ParseMediaType(text); err != nil || kind != want {
		return fmt.Errorf("its content type is %s, not %v", text, want)
	}
	return nil
}

// asJSON is a table as the value that a schema is about.
func asJSON(table map[string]any) (any, error) {
	if table == nil {
		table = map[string]any{}
	}
	text, err := json.Marshal(table)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(text))
}

// keyFits: a star stands for one word.
func keyFits(want, key string) bool {
	words, wanted := strings.Split(key, "."), strings.Split(want, ".")
	return slices.EqualFunc(wanted, words, func(want, word string) bool { return want == "*" || want == word })
}

// addressFits: a routing key's words are among what the channel's parameters may be.
func (c *Checker) addressFits(channel, key string) error {
	address, some := schemastest.Member(c.Root, "channels", channel)["address"].(string)
	if !some || !strings.Contains(address, ".") {
		return nil // any
	}
	names, words := strings.Split(address, "."), strings.Split(key, ".")
	if len(names) != len(words) {
		return fmt.Errorf("its routing key %q has not the form %s", key, address)
	}
	for i, name := range names {
		parameter := strings.Trim(name, "{}")
		allowed := c.List(schemastest.Pointer("channels", channel, "parameters", parameter, "enum"))
		if allowed != nil && !slices.Contains(allowed, any(words[i])) {
			return fmt.Errorf("%q in its routing key is no %s", words[i], parameter)
		}
	}
	return nil
}

// Observe checks a message that passed, and remembers what was wrong with it.
func (c *Checker) Observe(m *Message) {
	if err := c.Check(m); err != nil {
		c.Complain("exchange %q key %q %v %v %.500s:\n%.4000v", m.Exchange, m.RoutingKey, m.Properties, m.Headers, m.Body, err)
	}
}

// Unmet are the messages that the document tells of and that never came, "<channel> <message>".
func (c *Checker) Unmet() []string {
	var all []string
	for _, channel := range schemas.Sorted(schemastest.Member(c.Root, "channels")) {
		for _, name := range schemas.Sorted(schemastest.Member(c.Root, "channels", channel, "messages")) {
			all = append(all, channel+" "+name)
		}
	}
	return c.Document.Unmet(all)
}
