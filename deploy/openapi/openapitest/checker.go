package openapitest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ticketed/doorman/deploy/schemas/schemastest"
)

// object is a JSON object of the document.
type object = schemastest.Object

// Checker knows one document. It is safe for use by many goroutines.
type Checker struct {
	*schemastest.Document

	paths []path
}

// path is one entry of paths.
type path struct {
	template string
	segments []string
	item     object
}

// New reads a document. The error tells everything that is wrong with it.
func New(text []byte) (*Checker, error) {
	document, err := schemastest.Read(text, jsonschema.Draft2020)
	if err != nil {
		return nil, err
	}
	c := &Checker{Document: document}
	for _, template := range slices.Sorted(maps.Keys(schemastest.Member(c.Root, "paths"))) {
		c.paths = append(c.paths, path{template, strings.Split(template, "/"), schemastest.Member(c.Root, "paths", template)})
	}
	return c, c.structure()
}

func short(text []byte) string {
	if len(text) > 300 {
		return string(text[:300]) + "…"
	}
	return string(text)
}

// Unmet are the answers that the document tells of and that never came: "operationId status media/type", without
// the last where there is no content, and with the name of the event for those of a stream of events.
func (c *Checker) Unmet() []string {
	var all []string
	for _, p := range c.paths {
		for _, method := range slices.Sorted(maps.Keys(p.item)) {
			op := schemastest.Member(p.item, method)
			for _, status := range slices.Sorted(maps.Keys(schemastest.Member(op, "responses"))) {
				response, _ := c.Resolve(schemastest.Pointer("paths", p.template, method, "responses", status))
				kinds := slices.Sorted(maps.Keys(schemastest.Member(response, "content")))
				if kinds == nil {
					kinds = []string{""}
				}
				for _, kind := range kinds {
					all = append(all, answerName(op, status, kind))
					for _, event := range slices.Sorted(maps.Keys(schemastest.Member(response, "content", kind, "x-event-data"))) {
						all = append(all, answerName(op, status, kind+" "+event))
					}
				}
			}
		}
	}
	return c.Document.Unmet(all)
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
	if schemastest.Member(best.item, method) == nil {
		return "", nil, "MethodNotAllowed"
	}
	return schemastest.Pointer("paths", best.template, method), arguments, ""
}
