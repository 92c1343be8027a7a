package asyncapi

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
)

// neutral says in draft 7 what was said in 2020-12: a reference has nothing beside it, dependencies go by their
// old name, and OpenAPI's discriminator is left out. What a type says of its own data stays as it is.
func neutral(v any) any {
	switch v := v.(type) {
	case object:
		return neutralObject(v)
	case []object:
		all := make([]any, len(v))
		for i, item := range v {
			all[i] = neutral(item)
		}
		return all
	case []any:
		all := make([]any, len(v))
		for i, item := range v {
			all[i] = neutral(item)
		}
		return all
	}
	return v
}

func neutralObject(o object) object {
	said := object{}
	for name, value := range o {
		switch name {
		case "discriminator":
		case "dependentRequired":
			said["dependencies"] = value
		default:
			said[name] = neutral(value)
		}
	}
	if target, refers := said["$ref"]; refers && len(said) > 1 {
		delete(said, "$ref")
		said["allOf"] = []object{{"$ref": target}}
	}
	return said
}

// changed are the keywords that mean different things, or something and nothing, in the two drafts.
var changed = []string{
	"prefixItems", "additionalItems", "dependentSchemas", "dependentRequired", "dependencies", "unevaluatedProperties",
	"unevaluatedItems", "minContains", "maxContains",
}

// readAlike tells whether a schema of 2020-12 is the same as one of draft 7, and means the same wherever it
// stands: it refers to nothing.
func readAlike(schema []byte) bool {
	if bytes.Contains(schema, []byte(`"$`)) {
		return false
	}
	var parsed any
	if json.Unmarshal(schema, &parsed) != nil {
		return false
	}
	return !uses(parsed, changed)
}

// uses looks for words as members, wherever they are: a property that is called so is taken for one.
func uses(v any, words []string) bool {
	in := func(inner any) bool { return uses(inner, words) }
	switch v := v.(type) {
	case object:
		for name := range v {
			if slices.Contains(words, name) {
				return true
			}
		}
		return slices.ContainsFunc(slices.Collect(maps.Values(v)), in)
	case []any:
		return slices.ContainsFunc(v, in)
	}
	return false
}
