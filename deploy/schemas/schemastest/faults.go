package schemastest

import (
	"fmt"
	"regexp"
	"strings"
)

// Faults collects what is wrong with a document.
type Faults []error

// Add adds one.
func (f *Faults) Add(format string, args ...any) { *f = append(*f, fmt.Errorf(format, args...)) }

// CheckInfo: the document has a title and a version.
func (d *Document) CheckInfo(f *Faults) {
	for _, name := range []string{"title", "version"} {
		if text, _ := Member(d.Root, "info")[name].(string); text == "" {
			f.Add("info has no %s", name)
		}
	}
}

// CheckSchema: the schema at a place can be used, and its own examples fit it.
func (d *Document) CheckSchema(f *Faults, at string) {
	if _, there := d.At(at); !there {
		f.Add("there is no schema at %s", at)
		return
	}
	d.mu.Lock()
	_, err := d.compile(at)
	d.mu.Unlock()
	if err != nil {
		f.Add("%w", err)
		return
	}
	for i, example := range d.List(at + "/examples") {
		if err := d.Validate(at, example); err != nil {
			f.Add("%s: its example %d: %w", at, i, err)
		}
	}
}

// OpenAPI 3.1.0 section 4.8.7, and the same in AsyncAPI 3.0.0.
var componentName = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

// CheckReferences: each leads somewhere within the document, and each component has a name that it may have and is
// referred to, but for those that are spare. What a type's schema refers to within itself is seen when it is
// compiled.
func (d *Document) CheckReferences(f *Faults, spare ...string) {
	used := map[string]bool{}
	for _, at := range spare {
		used[at] = true
	}
	d.walk("", d.Root, func(at string, o Object) {
		if target, is := o["$ref"].(string); is {
			used[target] = true
			if _, there := d.At(target); !there || !strings.HasPrefix(target, "#/") {
				f.Add("%s refers to %s, which is not there", at, target)
			}
		}
		for name, target := range Member(o, "discriminator", "mapping") {
			if _, there := d.At(fmt.Sprint(target)); !there {
				f.Add("%s: %s is mapped to %v, which is not there", at, name, target)
			}
		}
	})
	for kind, all := range Member(d.Root, "components") {
		named, _ := all.(Object)
		for name := range named {
			at := Pointer("components", kind, name)
			if !componentName.MatchString(name) {
				f.Add("%s: that is no name for a component", at)
			}
			if !used[at] {
				f.Add("nothing refers to %s", at)
			}
		}
	}
}

// walk visits every object but those within a resource of its own.
func (d *Document) walk(at string, v any, visit func(at string, o Object)) {
	switch v := v.(type) {
	case Object:
		if _, own := v["$id"]; own && at != "" {
			return
		}
		visit(at, v)
		for name, inner := range v {
			d.walk(at+"/"+name, inner, visit)
		}
	case []any:
		for i, inner := range v {
			d.walk(fmt.Sprintf("%s/%d", at, i), inner, visit)
		}
	}
}
