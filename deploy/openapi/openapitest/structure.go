package openapitest

import (
	"errors"
	"fmt"
	"maps"
	"mime"
	"regexp"
	"slices"
	"strings"

	"github.com/ticketed/doorman/deploy/schemas/schemastest"
)

// faults collects what is wrong with a document.
type faults []error

func (f *faults) add(format string, args ...any) { *f = append(*f, fmt.Errorf(format, args...)) }

// structure checks what OpenAPI 3.1 asks of a document beyond its schemas, and that every schema can be used.
func (c *Checker) structure() error {
	var f faults
	if version, _ := c.Root["openapi"].(string); !strings.HasPrefix(version, "3.1.") {
		f.add("openapi is %q", version)
	}
	for _, name := range []string{"title", "version"} {
		if text, _ := schemastest.Member(c.Root, "info")[name].(string); text == "" {
			f.add("info has no %s", name)
		}
	}
	c.checkComponents(&f)
	if err := c.CheckReferences("#/components/responses/NoSuchAddress", "#/components/responses/MethodNotAllowed"); err != nil {
		f.add("%w", err)
	}
	ids := map[string]bool{}
	for i := range c.paths {
		c.checkPath(&f, &c.paths[i], ids)
	}
	for template := range schemastest.Member(c.Root, "paths") {
		if !strings.HasPrefix(template, "/") {
			f.add("the path %q does not begin with /", template)
		}
	}
	return errors.Join(f...)
}

func (c *Checker) checkComponents(f *faults) {
	for kind, all := range schemastest.Member(c.Root, "components") {
		named, _ := all.(object)
		for _, name := range slices.Sorted(maps.Keys(named)) {
			at := schemastest.Pointer("components", kind, name)
			switch kind {
			case "schemas":
				c.checkSchema(f, at)
			case "parameters":
				c.checkParameterObject(f, at)
			case "responses":
				c.checkResponse(f, at)
			case "headers":
				c.checkSchema(f, at+"/schema")
			}
		}
	}
}

func (c *Checker) checkPath(f *faults, p *path, ids map[string]bool) {
	tags := map[any]bool{}
	for _, tag := range c.List("#/tags") {
		t, _ := tag.(object)
		if tags[t["name"]] {
			f.add("there are two tags %v", t["name"])
		}
		tags[t["name"]] = true
	}
	for method := range p.item {
		at := schemastest.Pointer("paths", p.template, method)
		op := schemastest.Member(p.item, method)
		id, _ := op["operationId"].(string)
		if id == "" || ids[id] {
			f.add("%s: its operationId %q is not its own", at, id)
		}
		ids[id] = true
		for _, tag := range c.List(at + "/tags") {
			if !tags[tag] {
				f.add("%s: there is no tag %v", at, tag)
			}
		}
		c.checkOperation(f, p, at)
	}
}

func (c *Checker) checkOperation(f *faults, p *path, at string) {
	declared := map[string]bool{}
	for i := range c.List(at + "/parameters") {
		o, place := c.Resolve(fmt.Sprintf("%s/parameters/%d", at, i))
		c.checkParameterObject(f, place)
		key := fmt.Sprint(o["in"], " ", o["name"])
		if declared[key] {
			f.add("%s: the parameter %s is declared twice", at, key)
		}
		declared[key] = true
	}
	inPath := 0
	for _, segment := range p.segments {
		if name, is := strings.CutPrefix(segment, "{"); is {
			inPath++
			if name = strings.TrimSuffix(name, "}"); !declared["path "+name] {
				f.add("%s: the path's %s is not declared", at, name)
			}
		}
	}
	for key := range declared {
		if strings.HasPrefix(key, "path ") {
			inPath--
		}
	}
	if inPath != 0 {
		f.add("%s: it declares parameters that its path does not have", at)
	}
	if body, _ := c.Resolve(at + "/requestBody"); body != nil {
		c.checkMedia(f, at+"/requestBody")
	}
	responses, _ := c.Resolve(at + "/responses")
	if len(responses) == 0 {
		f.add("%s has no responses", at)
	}
	for status := range responses {
		if !regexp.MustCompile(`^[1-5][0-9][0-9]$`).MatchString(status) {
			f.add("%s: %s is no status", at, status)
		}
		c.checkResponse(f, at+schemastest.Pointer("responses", status)[1:])
	}
}

func (c *Checker) checkParameterObject(f *faults, at string) {
	p, at := c.Resolve(at)
	name, _ := p["name"].(string)
	in, _ := p["in"].(string)
	switch {
	case name == "" || !slices.Contains([]string{"path", "query", "header", "cookie"}, in):
		f.add("%s: %q in %q is no parameter", at, name, in)
	case in == "path" && p["required"] != true:
		f.add("%s: a parameter in the path is required", at)
	case in == "header" && slices.Contains([]string{"accept", "content-type", "authorization"}, strings.ToLower(name)):
		f.add("%s: the header %s is no parameter", at, name)
	}
	c.checkSchema(f, at+"/schema")
}

func (c *Checker) checkResponse(f *faults, at string) {
	r, at := c.Resolve(at)
	if text, _ := r["description"].(string); text == "" {
		f.add("%s has no description", at)
	}
	for name := range schemastest.Member(r, "headers") {
		header, place := c.Resolve(at + schemastest.Pointer("headers", name)[1:])
		if header == nil || strings.EqualFold(name, "Content-Type") {
			f.add("%s: %s is no header to tell of", at, name)
			continue
		}
		c.checkSchema(f, place+"/schema")
	}
	c.checkMedia(f, at)
}

// checkMedia: the media types of a response or a body, their schemas, and that their examples fit these.
func (c *Checker) checkMedia(f *faults, at string) {
	content, place := c.Resolve(at + "/content")
	for kind := range content {
		if parsed, _, err := mime.ParseMediaType(kind); err != nil || parsed != kind {
			f.add("%s: %q is no media type", at, kind)
		}
		here := place + schemastest.Pointer(kind)[1:]
		c.checkSchema(f, here+"/schema")
		for event := range schemastest.Member(content, kind, "x-event-data") {
			c.checkSchema(f, here+schemastest.Pointer("x-event-data", event)[1:])
		}
		for name := range schemastest.Member(content, kind, "examples") {
			example, _ := c.At(here + schemastest.Pointer("examples", name, "value")[1:])
			if err := c.Validate(here+"/schema", example); err != nil {
				f.add("%s: its example %s: %w", here, name, err)
			}
		}
	}
}

// checkSchema: it can be used, and its own examples fit it.
func (c *Checker) checkSchema(f *faults, at string) {
	if err := c.CheckSchema(at); err != nil {
		f.add("%w", err)
	}
}
