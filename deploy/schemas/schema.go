package schemas

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
)

// Object is JSON whose members are told in alphabetical order.
type Object = map[string]any

// The texts that schemas hold values to. They are written for RE2 and ECMA-262 alike.
const (
	IDPattern         = `^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`
	SentIDPattern     = `^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$`
	TicketPattern     = `^(genesis|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$`
	SentTicketPattern = `^(genesis|[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12})$`
	StreamIDText      = `[A-Za-z0-9][A-Za-z0-9._:-]{0,127}`
	TypeText          = `[a-z][a-z0-9_-]{0,127}`
	PositionPattern   = `^[A-Za-z0-9]+-(0|[1-9][0-9]*)$`
	TimePattern       = `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	LabelPattern      = `^[^\x00-\x1f\x7f-\x9f]*$`
)

// Text is any text.
func Text(description string) Object { return Object{"type": "string", "description": description} }

// Shaped is a text of a form.
func Shaped(pattern, description string) Object {
	return Object{"type": "string", "pattern": pattern, "description": description}
}

// Whole is a whole number, of a size at least.
func Whole(least int, description string) Object {
	return Object{"type": "integer", "minimum": least, "description": description}
}

// Constant is one value and no other.
func Constant(value any) Object { return Object{"const": value} }

// Closed is the schema of an object that has these members and no others. Those named are optional.
func Closed(description string, members Object, optional ...string) Object {
	may := map[string]bool{}
	for _, name := range optional {
		may[name] = true
	}
	var required []string
	for _, name := range Sorted(members) {
		if !may[name] {
			required = append(required, name)
		}
	}
	s := Object{"type": "object", "additionalProperties": false, "properties": members}
	if description != "" {
		s["description"] = description
	}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// List is an array.
func List(items Object) Object { return Object{"type": "array", "items": items} }

// OneOf is one of the components of these names.
func OneOf(names ...string) Object {
	var all []Object
	for _, name := range names {
		all = append(all, Ref(name))
	}
	if len(all) == 1 {
		return all[0]
	}
	return Object{"oneOf": all}
}

// AnyJSON is a value whose shape is the type's own matter.
func AnyJSON(description string) Object { return Object{"description": description} }

// Ref refers to a schema among the document's components.
func Ref(name string) Object { return Object{"$ref": "#/components/schemas/" + name} }

// Sorted are the names in a map, by the alphabet.
func Sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// Encode is compact JSON as people write it, without escapes for HTML.
func Encode(v any) ([]byte, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(text.Bytes(), "\n"), nil
}
