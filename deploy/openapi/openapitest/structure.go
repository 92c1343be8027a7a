package openapitest

import (
	"errors"
	"fmt"
	"maps"
	"mime"
	"regexp"
	"slices"
	"strings"
)

// faults collects what is wrong with a document.
type faults []error

func (f *faults) add(format string, args ...any) { *f = append(*f, fmt.Errorf(format, args...)) }

// structure checks what OpenAPI 3.1 asks of a document beyond its schemas, and that every schema can be used.
func (c *Checker) structure() error {
	var f faults
	if version, _ := c.root["openapi"].(string); !strings.HasPrefix(version, "3.1.") {
		f.add("openapi is %q", version)
	}
	for _, name := range []string{"title", "version"} {
		if text, _ := member(c.root, "info")[name].(string); text == "" {
			f.add("info has no %s", name)
		}
	}
	c.checkComponents(&f)
	c.checkReferences(&f)
	ids := map[string]bool{}
	for i := range c.paths {
		c.checkPath(&f, &c.paths[i], ids)
	}
	for template := range member(c.root, "paths") {
		if !strings.HasPrefix(template, "/") {
			f.add("the path %q does not begin with /", template)
		}
	}
	return errors.Join(f...)
}

// OpenAPI 3.1.0 section 4.8.7.
var componentName = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

func (c *Checker) checkComponents(f *faults) {
	for kind, all := range member(c.root, "components") {
		named, _ := all.(object)
		for _, name := range slices.Sorted(maps.Keys(named)) {
			at := pointer("components", kind, name)
			if !componentName.MatchString(name) {
				f.add("%s: that is no name for a component", at)
			}
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

// checkReferences: each leads somewhere, and each component is referred to. What a type's schema refers to
// within itself is seen when it is compiled.
func (c *Checker) checkReferences(f *faults) {
	used := map[string]bool{"#/components/responses/NoSuchAddress": true, "#/components/responses/MethodNotAllowed": true}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case object:
			if _, own := v["$id"]; own && at != "" {
				return
			}
			if target, is := v["$ref"].(string); is {
				used[target] = true
				if _, there := c.at(target); !there || !strings.HasPrefix(target, "#/components/") {
					f.add("%s refers to %s, which is not there", at, target)
				}
			}
			for name, target := range member(v, "discriminator", "mapping") {
				if _, there := c.at(fmt.Sprint(target)); !there {
					f.add("%s: %s is mapped to %v, which is not there", at, name, target)
				}
			}
			for name, inner := range v {
				walk(at+"/"+name, inner)
			}
		case []any:
			for i, inner := range v {
				walk(fmt.Sprintf("%s/%d", at, i), inner)
			}
		}
	}
	walk("", c.root)
	for kind, all := range member(c.root, "components") {
		named, _ := all.(object)
		for name := range named {
			if at := pointer("components", kind, name); !used[at] {
				f.add("nothing refers to %s", at)
			}
		}
	}
}

func (c *Checker) checkPath(f *faults, p *path, ids map[string]bool) {
	tags := map[any]bool{}
	for _, tag := range c.list("#/tags") {
		t, _ := tag.(object)
		if tags[t["name"]] {
			f.add("there are two tags %v", t["name"])
		}
		tags[t["name"]] = true
	}
	for method := range p.item {
		at := pointer("paths", p.template, method)
		op := member(p.item, method)
		id, _ := op["operationId"].(string)
		if id == "" || ids[id] {
			f.add("%s: its operationId %q is not its own", at, id)
		}
		ids[id] = true
		for _, tag := range c.list(at + "/tags") {
			if !tags[tag] {
				f.add("%s: there is no tag %v", at, tag)
			}
		}
		c.checkOperation(f, p, at)
	}
}

func (c *Checker) checkOperation(f *faults, p *path, at string) {
	declared := map[string]bool{}
	for i := range c.list(at + "/parameters") {
		o, place := c.resolve(fmt.Sprintf("%s/parameters/%d", at, i))
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
	if body, _ := c.resolve(at + "/requestBody"); body != nil {
		c.checkMedia(f, at+"/requestBody")
	}
	responses, _ := c.resolve(at + "/responses")
	if len(responses) == 0 {
		f.add("%s has no responses", at)
	}
	for status := range responses {
		if !regexp.MustCompile(`^[1-5][0-9][0-9]$`).MatchString(status) {
			f.add("%s: %s is no status", at, status)
		}
		c.checkResponse(f, at+pointer("responses", status)[1:])
	}
}

func (c *Checker) checkParameterObject(f *faults, at string) {
	p, at := c.resolve(at)
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
	r, at := c.resolve(at)
	if text, _ := r["description"].(string); text == "" {
		f.add("%s has no description", at)
	}
	for name := range member(r, "headers") {
		header, place := c.resolve(at + pointer("headers", name)[1:])
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
	content, place := c.resolve(at + "/content")
	for kind := range content {
		if parsed, _, err := mime.ParseMediaType(kind); err != nil || parsed != kind {
			f.add("%s: %q is no media type", at, kind)
		}
		here := place + pointer(kind)[1:]
		c.checkSchema(f, here+"/schema")
		for event := range member(content, kind, "x-event-data") {
			c.checkSchema(f, here+pointer("x-event-data", event)[1:])
		}
		for name := range member(content, kind, "examples") {
			example, _ := c.at(here + pointer("examples", name, "value")[1:])
			if err := c.validate(here+"/schema", example); err != nil {
				f.add("%s: its example %s: %w", here, name, err)
			}
		}
	}
}

// checkSchema: it can be used, and its own examples fit it.
func (c *Checker) checkSchema(f *faults, at string) {
	if _, there := c.at(at); !there {
		f.add("there is no schema at %s", at)
		return
	}
	c.mu.Lock()
	_, err := c.compile(at)
	c.mu.Unlock()
	if err != nil {
		f.add("%w", err)
		return
	}
	for i, example := range c.list(at + "/examples") {
		if err := c.validate(at, example); err != nil {
			f.add("%s: its example %d: %w", at, i, err)
		}
	}
}
