package openapitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ticketed/doorman/deploy/schemas/schemastest"
)

// Exchange is one request and its answer.
type Exchange struct {
	Method string
	URL    *url.URL
	Asked  http.Header // of the request
	Sent   []byte      // its body
	Status int
	Header http.Header // of the answer
	Answer []byte
	// Part says that the answer was not read to its end.
	Part bool
}

// Check holds an exchange against the document.
func (c *Checker) Check(e *Exchange) error {
	at, arguments, instead := c.find(e)
	if instead != "" {
		place := schemastest.Pointer("components", "responses", instead)
		return c.checkAnswer(e, place, nil)
	}
	found, _ := c.At(at)
	op, _ := found.(object)
	status := strconv.Itoa(e.Status)
	place := at + schemastest.Pointer("responses", status)[1:]
	if _, there := c.At(place); !there {
		return fmt.Errorf("%s does not tell of status %s", op["operationId"], status)
	}
	if err := c.checkAnswer(e, place, op); err != nil {
		return err
	}
	return c.checkRequest(e, at, arguments)
}

// usual are the headers that any answer may have, from the server or for pages of other origins.
var usual = []string{
	"Date", "Content-Type", "Content-Length", "Vary", "Connection", "Transfer-Encoding", "X-Content-Type-Options",
	"Access-Control-Allow-Origin", "Access-Control-Expose-Headers",
}

// checkAnswer holds an answer against the response at a place; op is nil for one that belongs to none.
func (c *Checker) checkAnswer(e *Exchange, at string, op object) error {
	response, at := c.Resolve(at)
	if response == nil {
		return fmt.Errorf("there is no response at %s", at)
	}
	if err := c.checkHeaders(e, response, at); err != nil {
		return err
	}
	status := strconv.Itoa(e.Status)
	kinds := schemastest.Member(response, "content")
	if len(kinds) == 0 || e.Method == http.MethodHead {
		if len(e.Answer) > 0 {
			return errors.New("the answer has a body")
		}
		if len(kinds) == 0 {
			c.meet(op, status, "")
		}
		return nil
	}
	kind, _, err := mime.ParseMediaType(e.Header.Get("Content-Type"))
	if err != nil || kinds[kind] == nil {
		return fmt.Errorf("the content type %q is not among %q", e.Header.Get("Content-Type"), slices.Sorted(maps.Keys(kinds)))
	}
	c.meet(op, status, kind)
	return c.checkContent(e, op, kind, at+schemastest.Pointer("content", kind)[1:])
}

func (c *Checker) checkContent(e *Exchange, op object, kind, at string) error {
	switch {
	case kind == "text/event-stream":
		return c.checkEvents(e.Answer, at, func(event string) { c.meet(op, strconv.Itoa(e.Status), kind+" "+event) })
	case e.Part:
		return nil
	case kind == "application/json" || strings.HasSuffix(kind, "+json"):
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(e.Answer))
		if err != nil {
			return fmt.Errorf("the answer is no JSON: %w", err)
		}
		if err := c.Validate(at+"/schema", value); err != nil {
			return fmt.Errorf("the answer: %w", err)
		}
	}
	return nil
}

func (c *Checker) meet(op object, status, kind string) {
	if op != nil {
		c.Meet(answerName(op, status, kind))
	}
}

// checkHeaders: no header that is not told of, none missing that must be there, and each as its schema says.
func (c *Checker) checkHeaders(e *Exchange, response object, at string) error {
	told := map[string]string{}
	for name := range schemastest.Member(response, "headers") {
		_, place := c.Resolve(at + schemastest.Pointer("headers", name)[1:])
		told[http.CanonicalHeaderKey(name)] = place
	}
	for name, values := range e.Header {
		place, known := told[name]
		switch {
		case slices.Contains(usual, name):
		case !known:
			return fmt.Errorf("the header %s is not told of", name)
		case len(values) != 1:
			return fmt.Errorf("the header %s is there %d times", name, len(values))
		default:
			if err := c.checkText(place, values[0]); err != nil {
				return fmt.Errorf("the header %s: %w", name, err)
			}
		}
	}
	for name, place := range told {
		header, _ := c.Resolve(place)
		if header["required"] == true && len(e.Header[name]) == 0 {
			return fmt.Errorf("the header %s is missing", name)
		}
	}
	return nil
}

// checkText holds a header's or a parameter's text against the schema of the object at a place.
func (c *Checker) checkText(at, text string) error {
	schema, _ := c.Resolve(at + "/schema")
	return c.Validate(at+"/schema", typed(schema, text))
}

// typed is a text as the value that the schema is about.
func typed(schema object, text string) any {
	if schema["type"] == "integer" {
		if number := json.Number(text); json.Valid([]byte(text)) {
			return number
		}
	}
	return text
}

// match: the values of a template's parameters, if the path is of that form.
func (p *path) match(segments []string) (map[string]string, bool) {
	if len(segments) != len(p.segments) {
		return nil, false
	}
	values := map[string]string{}
	for i, want := range p.segments {
		got, err := url.PathUnescape(segments[i])
		switch {
		case strings.HasPrefix(want, "{") && err == nil && got != "":
			values[strings.Trim(want, "{}")] = got
		case want != segments[i]:
			return nil, false
		}
	}
	return values, true
}
