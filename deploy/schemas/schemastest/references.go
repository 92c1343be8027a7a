package schemastest

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// OpenAPI 3.1.0 section 4.8.7, and the same in AsyncAPI 3.0.0.
var componentName = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

// CheckReferences: each leads somewhere within the document, and each component has a name that it may have and is
// referred to, but for those that are spare. What a type's schema refers to within itself is seen when it is
// compiled.
func (d *Document) CheckReferences(spare ...string) error {
	var wrong []error
	used := map[string]bool{}
	for _, at := range spare {
		used[at] = true
	}
	d.walk("", d.Root, func(at string, o Object) {
		if target, is := o["$ref"].(string); is {
			used[target] = true
			if _, there := d.At(target); !there || !strings.HasPrefix(target, "#/") {
				wrong = append(wrong, fmt.Errorf("%s refers to %s, which is not there", at, target))
			}
		}
		for name, target := range Member(o, "discriminator", "mapping") {
			if _, there := d.At(fmt.Sprint(target)); !there {
				wrong = append(wrong, fmt.Errorf("%s: %s is mapped to %v, which is not there", at, name, target))
			}
		}
	})
	for kind, all := range Member(d.Root, "components") {
		named, _ := all.(Object)
		for name := range named {
			at := Pointer("components", kind, name)
			if !componentName.MatchString(name) {
				wrong = append(wrong, fmt.Errorf("%s: that is no name for a component", at))
			}
			if !used[at] {
				wrong = append(wrong, fmt.Errorf("nothing refers to %s", at))
			}
		}
	}
	return errors.Join(wrong...)
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
