// Package schemastest reads documents that describe an interface, whatever their format: what a reference or a
// pointer leads to, and whether a value fits the schema at a place. Packages openapitest and asyncapitest hold
// what passes against theirs with it.
package schemastest

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Object is a JSON object of a document.
type Object = map[string]any

const address = "doorman:document"

// Document is one document. It is safe for use by many goroutines.
type Document struct {
	Root Object

	mu         sync.Mutex
	compiler   *jsonschema.Compiler
	compiled   map[string]*jsonschema.Schema
	met        map[string]bool
	complaints []string
}

// Read reads a document whose schemas are of a draft, unless they say otherwise.
func Read(text []byte, draft *jsonschema.Draft) (*Document, error) {
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("the document is no JSON: %w", err)
	}
	root, ok := parsed.(Object)
	if !ok {
		return nil, errors.New("the document is no object")
	}
	d := &Document{Root: root, compiler: jsonschema.NewCompiler(), compiled: map[string]*jsonschema.Schema{}, met: map[string]bool{}}
	d.compiler.DefaultDraft(draft)
	d.compiler.AssertFormat()
	d.compiler.UseLoader(jsonschema.SchemeURLLoader{})
	if err := d.compiler.AddResource(address, parsed); err != nil {
		return nil, fmt.Errorf("take up the document: %w", err)
	}
	return d, nil
}

// Member is an object within another, by the names on the way; nil where there is none.
func Member(in Object, names ...string) Object {
	for _, name := range names {
		in, _ = in[name].(Object)
	}
	return in
}

// Pointer is a JSON pointer as a fragment.
func Pointer(names ...string) string {
	var at strings.Builder
	at.WriteByte('#')
	for _, name := range names {
		at.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
	}
	return at.String()
}

// At is what a pointer leads to.
func (d *Document) At(pointer string) (any, bool) {
	var found any = d.Root
	for _, name := range strings.Split(strings.TrimPrefix(pointer, "#"), "/")[1:] {
		name = strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
		switch in := found.(type) {
		case Object:
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

// Resolve follows a reference of an object at a place, and gives the object and its place.
func (d *Document) Resolve(at string) (Object, string) {
	for range 8 { // references to references are few
		found, _ := d.At(at)
		o, _ := found.(Object)
		target, refers := o["$ref"].(string)
		if !refers {
			return o, at
		}
		at = target
	}
	return nil, at
}

// List is the list at a place; nil where there is none.
func (d *Document) List(at string) []any {
	found, _ := d.At(at)
	all, _ := found.([]any)
	return all
}

// Validate holds a value against the schema at a place.
func (d *Document) Validate(at string, value any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	schema, err := d.compile(at)
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

func (d *Document) compile(at string) (*jsonschema.Schema, error) {
	if schema := d.compiled[at]; schema != nil {
		return schema, nil
	}
	schema, err := d.compiler.Compile(address + at)
	if err != nil {
		return nil, fmt.Errorf("the schema at %s: %w", at, err)
	}
	d.compiled[at] = schema
	return schema, nil
}
