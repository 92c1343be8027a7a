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

// structure checks what OpenAPI 3.1 asks of a document beyond its schemas, and that every schema can be used.
func (c *Checker) structure() error {
	var f schemastest.Faults
	if version, _ := c.Root["openapi"].(string); !strings.HasPrefix(version, "3.1.") {
		f.Add("openapi is %q", version)
	}
	c.CheckInfo(&f)
	c.checkComponents(&f)
	c.CheckReferences(&f, "#/components/responses/NoSuchAddress", "#/components/responses/MethodNotAllowed")
	ids := map[string]bool{}
	for i := range c.paths {
		c.checkPath(&f, &c.paths[i], ids)
	}
	for template := range schemastest.Member(c.Root, "paths") {
		if !strings.HasPrefix(template, "/") {
			f.Add("the path %q does not begin with /", template)
		}
	}
	return errors.Join(f...)
}

func (c *Checker) checkComponents(f *schemastest.Faults) {
	for kind, all := range schemastest.Member(c.Root, "components") {
		named, _ := all.(object)
		for _, name := range slices.Sorted(maps.Keys(named)) {
			at := schemastest.Pointer("components", kind, name)
			switch kind {
			case "schemas":
				c.CheckSchema(f, at)
			case "parameters":
				c.checkParameterObject(f, at)
			case "responses":
				c.checkResponse(f, at)
			case "headers":
				c.CheckSchema(f, at+"/schema")
			}
		}
	}
}

func (c *Checker) checkPath(f *schemastest.Faults, p *path, ids map[string]bool) {
	tags := map[any]bool{}
	for _, tag := range c.List("#/tags") {
		t, _ := tag.(object)
		if tags[t["name"]] {
			f.Add("there are two tags %v", t["name"])
		}
		tags[t["name"]] = true
	}
	for method := range p.item {
		at := schemastest.Pointer("paths", p.template, method)
		op := schemastest.Member(p.item, method)
		id, _ := op["operationId"].(string)
		if id == "" || ids[id] {
			f.Add("%s: its operationId %q is not its own", at, id)
		}
		ids[id] = true
		for _, tag := range c.List(at + "/tags") {
			if !tags[tag] {
				f.Add("%s: there is no tag %v", at, tag)
			}
		}
		c.checkOperation(f, p, at)
	}
}

func (c *Checker) checkOperation(f *schemastest.Faults, p *path, at string) {
	declared := map[string]bool{}
	for i := range c.List(at + "/parameters") {
		o, place := c.Resolve(fmt.Sprintf("%s/parameters/%d", at, i))
		c.checkParameterObject(f, place)
		key := fmt.Sprint(o["in"], " ", o["name"])
		if declared[key] {
			f.Add("%s: the parameter %s is declared twice", at, key)
		}
		declared[key] = true
	}
	inPath := 0
	for _, segment := range p.segments {
		if name, is := strings.CutPrefix(segment, "{"); is {
			inPath++
			if name = strings.TrimSuffix(name, "}"); !declared["path "+name] {
				f.Add("%s: the path's %s is not declared", at, name)
			}
		}
	}
	for key := range declared {
		if strings.HasPrefix(key, "path ") {
			inPath--
		}
	}
	if inPath != 0 {
		f.Add("%s: it declares parameters that its path does not have", at)
	}
	if body, _ := c.Resolve(at + "/requestBody"); body != nil {
		c.checkMedia(f, at+"/requestBody")
	}
	responses, _ := c.Resolve(at + "/responses")
	if len(responses) == 0 {
		f.Add("%s has no responses", at)
	}
	for status := range responses {
		if !regexp.MustCompile(`^[1-5][0-9][0-9]$`).MatchString(status) {
			f.Add("%s: %s is no status", at, status)
		}
		c.checkResponse(f, at+schemastest.Pointer("responses", status)[1:])
	}
}

func (c *Checker) checkParameterObject(f *schemastest.Faults, at string) {
	p, at := c.Resolve(at)
	name, _ := p["name"].(string)
	in, _ := p["in"].(string)
	switch {
	case name == "" || !slices.Contains([]string{"path", "query", "header", "cookie"}, in):
		f.Add("%s: %q in %q is no parameter", at, name, in)
	case in == "path" && p["required"] != true:
		f.Add("%s: a parameter in the path is required", at)
	case in == "header" && slices.Contains([]string{"accept", "content-type", "authorization"}, strings.ToLower(name)):
		f.Add("%s: the header %s is no parameter", at, name)
	}
	c.CheckSchema(f, at+"/schema")
}

func (c *Checker) checkResponse(f *schemastest.Faults, at string) {
	r, at := c.Resolve(at)
	if text, _ := r["description"].(string); text == "" {
		f.Add("%s has no description", at)
	}
	for name := range schemastest.Member(r, "headers") {
		header, place := c.Resolve(at + schemastest.Pointer("headers", name)[1:])
		if header == nil || strings.EqualFold(name, "Content-Type") {
			f.Add("%s: %s is no header to tell of", at, name)
			continue
		}
		c.CheckSchema(f, place+"/schema")
	}
	c.checkMedia(f, at)
}

// checkMedia: the media types of a response or a body, their schemas, and that their examples fit these.
func (c *Checker) checkMedia(f *schemastest.Faults, at string) {
	content, place := c.Resolve(at + "/content")
	for kind := range content {
		if parsed, _, err := mime.ParseMediaType(kind); err != nil || parsed != kind {
			f.Add("%s: %q is no media type", at, kind)
		}
		here := place + schemastest.Pointer(kind)[1:]
		c.CheckSchema(f, here+"/schema")
		for event := range schemastest.Member(content, kind, "x-event-data") {
			c.CheckSchema(f, here+schemastest.Pointer("x-event-data", event)[1:])
		}
		for name := range schemastest.Member(content, kind, "examples") {
			example, _ := c.At(here + schemastest.Pointer("examples", name, "value")[1:])
			if err := c.Validate(here+"/schema", example); err != nil {
				f.Add("%s: its example %s: %w", here, name, err)
			}
		}
	}
}
