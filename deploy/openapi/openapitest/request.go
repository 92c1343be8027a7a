package openapitest

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// verdict is what an answer, or one item of it, says of what was asked for.
type verdict struct{ code string }

// taken: the request was understood and is as the document says. What was refused for its form is not.
func (v verdict) taken() bool {
	return !slices.Contains([]string{
		"malformed", "too_large", "unsupported_media_type", "unknown_type", "policy_forbidden", "ticket_required",
		"unknown_command", "invalid", "not_acceptable", "method_not_allowed", "predecessor_refused",
	}, v.code)
}

// strange: the request names what the document cannot know.
func (v verdict) strange() bool { return v.code == "unknown_type" || v.code == "unknown_command" }

func verdictOf(answer any) verdict {
	problem, _ := answer.(object)
	code, _ := problem["code"].(string)
	return verdict{code}
}

// checkRequest holds what was asked for, and was taken, against the operation at a place.
func (c *Checker) checkRequest(e *Exchange, at string, arguments map[string]string) error {
	answer, _ := jsonschema.UnmarshalJSON(bytes.NewReader(e.Answer))
	verdict := verdictOf(answer)
	if e.Method == http.MethodHead && e.Status >= http.StatusBadRequest {
		return nil // nobody was told why
	}
	if verdict.taken() {
		if err := c.checkParameters(e, at, arguments); err != nil {
			return err
		}
	}
	body := at + "/requestBody"
	if o, _ := c.Resolve(body); o == nil {
		return nil
	}
	return c.checkBody(e, at+"/requestBody/content/application~1json/schema", answer)
}

func (c *Checker) checkBody(e *Exchange, at string, answer any) error {
	sent, err := jsonschema.UnmarshalJSON(bytes.NewReader(e.Sent))
	if err != nil {
		if verdictOf(answer).taken() {
			return fmt.Errorf("what was sent and taken is no JSON: %w", err)
		}
		return nil
	}
	items, array := sent.([]any)
	answers, each := answer.([]any)
	if !array || !each {
		return c.checkSent(at, sent, verdictOf(answer))
	}
	for i, item := range items {
		// An array of one command is as good as the command, and tells which item is wrong.
		if err := c.checkSent(at, []any{item}, verdictOf(answers[i])); err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
	}
	return nil
}

func (c *Checker) checkSent(at string, sent any, v verdict) error {
	err := c.Validate(at, sent)
	switch {
	case v.taken() && err != nil:
		return fmt.Errorf("what was sent and taken: %w", err)
	case v.strange() && err == nil:
		return fmt.Errorf("the document has what was refused as %s", v.code)
	}
	return nil
}

// checkParameters: each that must be there is, each is as its schema says, and no other is in the query.
func (c *Checker) checkParameters(e *Exchange, at string, arguments map[string]string) error {
	query := e.URL.Query()
	for i := range c.List(at + "/parameters") {
		p, place := c.Resolve(fmt.Sprintf("%s/parameters/%d", at, i))
		name, _ := p["name"].(string)
		var values []string
		switch p["in"] {
		case "path":
			values = []string{arguments[name]}
		case "query":
			values = query[name]
			query.Del(name)
		case "header":
			if lines := e.Asked.Values(name); len(lines) > 0 {
				values = []string{strings.Join(lines, ", ")}
			}
		}
		if len(values) == 0 && p["required"] != true {
			continue
		}
		if err := c.checkParameter(place, values); err != nil {
			return fmt.Errorf("the parameter %s: %w", name, err)
		}
	}
	for name := range query {
		return fmt.Errorf("the query parameter %s is not told of", name)
	}
	return nil
}

func (c *Checker) checkParameter(at string, values []string) error {
	schema, place := c.Resolve(at + "/schema")
	if schema["type"] == "array" {
		items, _ := c.Resolve(place + "/items")
		all := make([]any, len(values))
		for i, text := range values {
			all[i] = typed(items, text)
		}
		return c.Validate(at+"/schema", all)
	}
	if len(values) != 1 {
		return fmt.Errorf("it is there %d times", len(values))
	}
	return c.checkText(at, values[0])
}
