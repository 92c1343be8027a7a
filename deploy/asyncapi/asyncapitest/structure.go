package asyncapitest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ticketed/doorman/deploy/schemas"
	"github.com/ticketed/doorman/deploy/schemas/schemastest"
)

// structure checks what AsyncAPI 3.0 asks of a document beyond its schemas, and that every schema can be used.
func (c *Checker) structure() error {
	var f schemastest.Faults
	if c.Root["asyncapi"] != "3.0.0" {
		f.Add("asyncapi is %v", c.Root["asyncapi"])
	}
	c.CheckInfo(&f)
	c.CheckReferences(&f)
	for name := range schemastest.Member(c.Root, "components", "schemas") {
		c.CheckSchema(&f, schemastest.Pointer("components", "schemas", name))
	}
	used := c.checkOperations(&f)
	for name := range schemastest.Member(c.Root, "channels") {
		if !used[schemastest.Pointer("channels", name)] {
			f.Add("no operation is about channel %s", name)
		}
		c.checkChannel(&f, name)
	}
	return errors.Join(f...)
}

// inBraces are the parameters of an address.
var inBraces = regexp.MustCompile(`\{([^}]*)\}`)

func (c *Checker) checkChannel(f *schemastest.Faults, name string) {
	channel := schemastest.Member(c.Root, "channels", name)
	parameters := schemastest.Member(channel, "parameters")
	address, _ := channel["address"].(string)
	found := inBraces.FindAllStringSubmatch(address, -1)
	for _, match := range found {
		if parameters[match[1]] == nil {
			f.Add("channel %s: the address's %s is not declared", name, match[1])
		}
	}
	if len(found) != len(parameters) {
		f.Add("channel %s: it declares parameters that its address does not have", name)
	}
	messages := schemastest.Member(channel, "messages")
	if len(messages) == 0 {
		f.Add("channel %s has no messages", name)
	}
	for _, message := range schemas.Sorted(messages) {
		c.checkMessage(f, name, message)
	}
}

func (c *Checker) checkMessage(f *schemastest.Faults, channel, name string) {
	at := schemastest.Pointer("channels", channel, "messages", name)
	told, at := c.Resolve(at)
	if told["name"] != name {
		f.Add("%s calls itself %v", at, told["name"])
	}
	headers, _ := c.Resolve(at + "/headers")
	if headers["type"] != "object" {
		f.Add("%s: its headers are no map", at)
	}
	parts := []string{"/headers", "/bindings/amqp/x-properties"}
	if told["payload"] != nil { // without one it is anything
		parts = append(parts, "/payload")
	}
	for _, part := range parts {
		c.CheckSchema(f, at+part)
	}
	for i := range c.List(at + "/examples") {
		here := fmt.Sprintf("%s/examples/%d", at, i)
		if err := c.checkExample(here, channel, name); err != nil {
			f.Add("%s: %w", here, err)
		}
	}
}

// checkExample: it is the one message of its channel that it is an example of, and no other.
func (c *Checker) checkExample(at, channel, name string) error {
	example, _ := c.At(at)
	o, _ := example.(object)
	value := o["payload"]
	headers, _ := o["headers"].(object)
	table, err := asJSON(headers)
	if err != nil {
		return err
	}
	for other := range schemastest.Member(c.Root, "channels", channel, "messages") {
		_, place := c.Resolve(schemastest.Pointer("channels", channel, "messages", other))
		err := errors.Join(c.Validate(place+"/headers", table), c.Validate(place+"/payload", value))
		switch {
		case other == name && err != nil:
			return err
		case other != name && err == nil:
			return fmt.Errorf("it is an example of %s as well", other)
		}
	}
	return nil
}

// location is AsyncAPI's runtime expression, as far as it can be about properties and headers.
var location = regexp.MustCompile(`^\$message\.header#/[a-z_]+$`)

func (c *Checker) checkOperations(f *schemastest.Faults) (channels map[string]bool) {
	channels = map[string]bool{}
	for name := range schemastest.Member(c.Root, "operations") {
		at := schemastest.Pointer("operations", name)
		operation := schemastest.Member(c.Root, "operations", name)
		if !slices.Contains([]any{"send", "receive"}, operation["action"]) {
			f.Add("%s: its action is %v", at, operation["action"])
		}
		channels[c.checkMessages(f, at)] = true
		reply := schemastest.Member(operation, "reply")
		if reply == nil {
			continue
		}
		channels[c.checkMessages(f, at+"/reply")] = true
		if text, _ := schemastest.Member(reply, "address")["location"].(string); !location.MatchString(text) {
			f.Add("%s: its reply goes to %q", at, text)
		}
	}
	return channels
}

// checkMessages: an operation's messages, or a reply's, are all those of its channel.
func (c *Checker) checkMessages(f *schemastest.Faults, at string) (channel string) {
	found, _ := c.At(at + "/channel")
	target, _ := found.(object)
	channel, _ = target["$ref"].(string)
	if !strings.HasPrefix(channel, "#/channels/") {
		f.Add("%s: its channel is %q", at, channel)
		return channel
	}
	whole, _ := c.At(channel + "/messages")
	messages, _ := whole.(object)
	listed := c.List(at + "/messages")
	for _, message := range listed {
		m, _ := message.(object)
		if text, _ := m["$ref"].(string); !strings.HasPrefix(text, channel+"/messages/") {
			f.Add("%s: %q is no message of its channel", at, text)
		}
	}
	if len(listed) != len(messages) {
		f.Add("%s tells of %d messages, its channel of %d", at, len(listed), len(messages))
	}
	return channel
}
