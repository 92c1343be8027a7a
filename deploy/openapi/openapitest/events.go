package openapitest

import (
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ticketed/doorman/deploy/schemas/schemastest"
)

// checkEvents holds the whole events of a stream of them against their schemas.
// https://html.spec.whatwg.org/multipage/server-sent-events.html
func (c *Checker) checkEvents(stream []byte, at string, met func(event string)) error {
	blocks := strings.Split(strings.ReplaceAll(string(stream), "\r\n", "\n"), "\n\n")
	for _, block := range blocks[:len(blocks)-1] {
		if err := c.checkEvent(block, at, met); err != nil {
			return fmt.Errorf("in %q: %w", block, err)
		}
	}
	return nil
}

func (c *Checker) checkEvent(block, at string, met func(event string)) error {
	fields := map[string][]string{}
	for line := range strings.SplitSeq(block, "\n") {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = append(fields[name], strings.TrimPrefix(value, " "))
	}
	for _, id := range fields["id"] {
		if err := c.Validate(schemastest.Pointer("components", "schemas", "Position"), id); err != nil {
			return fmt.Errorf("the id: %w", err)
		}
	}
	if len(fields["data"]) == 0 {
		return nil
	}
	name := strings.Join(fields["event"], "")
	schema := at + schemastest.Pointer("x-event-data", name)[1:]
	if _, told := c.At(schema); !told {
		return fmt.Errorf("the event %q is not told of", name)
	}
	met(name)
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(strings.Join(fields["data"], "\n")))
	if err != nil {
		return fmt.Errorf("its data is no JSON: %w", err)
	}
	return c.Validate(schema, value)
}
