package openapitest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// object is a JSON object of the document.
type object = map[string]any

// Checker knows one document. It is safe for use by many goroutines.
type Checker struct {
	root  object
	paths []path

	mu         sync.Mutex
	compiler   *jsonschema.Compiler
	compiled   map[string]*jsonschema.Schema
	met        map[string]bool
	complaints []string
}

// path is one entry of paths.
type path struct {
	template string
	segments []string
	item     object
}

const address = "doorman:openapi"

// New reads a document. The error tells everything that is wrong with it.
func New(text []byte) (*Checker, error) {
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("the document is no JSON: %w", err)
	}
	root, ok := parsed.(object)
	if !ok {
		return nil, errors.New("the document is no object")
	}
	c := &Checker{
		root: root, compiler: jsonschema.NewCompiler(), compiled: map[string]*jsonschema.Schema{}, met: map[string]bool{},
	}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	c.compiler.UseLoader(jsonschema.SchemeURLLoader{})
	if err := c.compiler.AddResource(address, parsed); err != nil {
		return nil, fmt.Errorf("take up the document: %w", err)
	}
	for _, template := range slices.Sorted(maps.Keys(member(root, "paths"))) {
		c.paths = append(c.paths, path{template, strings.Split(template, "/"), member(root, "paths", template)})
	}
	return c, c.structure()
}

// member is an object within another, by the names on the way; nil where there is none.
func member(in object, names ...string) object {
	for _, name := range names {
		in, _ = in[name].(object)
	}
	return in
}

// pointer is a JSON pointer as a fragment.
func pointer(names ...string) string {
	var at strings.Builder
	at.WriteByte('#')
	for _, name := range names {
		at.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
	}
	return at.String()
}

// at is what a pointer leads to.
func (c *Checker) at(pointer string) (any, bool) {
	var found any = c.root
	for _, name := range strings.Split(strings.TrimPrefix(pointer, "#"), "/")[1:] {
		name = strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
		switch in := found.(type) {
		case object:
			inner, there := in[name]
			if !there {
				return nil, false
			}
			found = inner
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(in) {
				return nil, false
			}
			found = in[i]
		default:
			return nil, false
		}
	}
	return found, true
}

// resolve follows a reference of an object at a place, and gives the object and its place.
func (c *Checker) resolve(at string) (object, string) {
	for range 8 { // references to references are few
		found, _ := c.at(at)
		o, _ := found.(object)
		target, refers := o["$ref"].(string)
		if !refers {
			return o, at
		}
		at = target
	}
	return nil, at
}

// validate holds a value against the schema at a place.
func (c *Checker) validate(at string, value any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	schema, err := c.compile(at)
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

func (c *Checker) compile(at string) (*jsonschema.Schema, error) {
	if schema := c.compiled[at]; schema != nil {
		return schema, nil
	}
	schema, err := c.compiler.Compile(address + at)
	if err != nil {
		return nil, fmt.Errorf("the schema at %s: %w", at, err)
	}
	c.compiled[at] = schema
	return schema, nil
}

// maxComplaints bounds what is remembered; where there are as many, all else can wait.
const maxComplaints = 50

func (c *Checker) complain(e *Exchange, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.complaints) < maxComplaints {
		c.complaints = append(c.complaints, fmt.Sprintf("%s %s %s -> %d %s:\n%v", e.Method, e.URL, short(e.Sent), e.Status, short(e.Answer), err))
	}
}

func short(text []byte) string {
	if len(text) > 300 {
		return string(text[:300]) + "…"
	}
	return string(text)
}

// Complaints are what passed and was not as the document says, the first ones.
func (c *Checker) Complaints() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.complaints)
}

// Unmet are the answers that the document tells of and that never came: "operationId status media/type", without
// the last where there is no content, and with the name of the event for those of a stream of events.
func (c *Checker) Unmet() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var unmet []string
	for _, p := range c.paths {
		for _, method := range slices.Sorted(maps.Keys(p.item)) {
			op := member(p.item, method)
			for _, status := range slices.Sorted(maps.Keys(member(op, "responses"))) {
				response, _ := c.resolve(pointer("paths", p.template, method, "responses", status))
				kinds := slices.Sorted(maps.Keys(member(response, "content")))
				if kinds == nil {
					kinds = []string{""}
				}
				for _, kind := range kinds {
					unmet = append(unmet, c.unmetOf(op, response, status, kind)...)
				}
			}
		}
	}
	return unmet
}

// unmetOf are the unmet among one answer and its events.
func (c *Checker) unmetOf(op, response object, status, kind string) (unmet []string) {
	answers := []string{answerName(op, status, kind)}
	for _, event := range slices.Sorted(maps.Keys(member(response, "content", kind, "x-event-data"))) {
		answers = append(answers, answerName(op, status, kind+" "+event))
	}
	return slices.DeleteFunc(answers, func(answer string) bool { return c.met[answer] })
}

func answerName(op object, status, kind string) string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", op["operationId"], status, kind))
}

// find is the operation that a request is for: its place, or which of the components' responses must answer.
func (c *Checker) find(e *Exchange) (at string, arguments map[string]string, instead string) {
	segments := strings.Split(e.URL.EscapedPath(), "/")
	method := strings.ToLower(e.Method)
	if e.Method == http.MethodHead {
		method = "get"
	}
	var best *path
	for i := range c.paths {
		p := &c.paths[i]
		values, fits := p.match(segments)
		// What is named literally goes before what a template would take.
		if fits && (best == nil || len(values) < len(arguments)) {
			best, arguments = p, values
		}
	}
	if best == nil {
		return "", nil, "NoSuchAddress"
	}
	if member(best.item, method) == nil {
		return "", nil, "MethodNotAllowed"
	}
	return pointer("paths", best.template, method), arguments, ""
}
