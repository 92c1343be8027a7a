package aggregate

import (
	"encoding"
	"encoding/json"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// schemas are the schemas of an event's shapes, oldest first.
func (e *event[S]) schemas() [][]byte {
	var all [][]byte
	for _, older := range e.older {
		all = append(all, schemaOf(older.in, true))
	}
	return append(all, schemaOf(e.goType, false))
}

// schemaOf is a JSON Schema of what encoding/json writes for a Go type, in words that drafts 7 and 2020-12 read
// alike. It never guesses: what a type that encodes itself writes, and what one consists of that holds itself,
// is left open. Of a shape that is only read any more, the type need not name everything that was stored, and
// what it names may have been null: all of that is left open too.
func schemaOf(t reflect.Type, onlyRead bool) []byte {
	o := outline{onlyRead: onlyRead, within: map[reflect.Type]bool{}}
	text, err := encodeJSON(o.of(t))
	if err != nil { // maps, lists and texts have none
		return []byte(`{}`)
	}
	return text
}

type outline struct {
	onlyRead bool
	within   map[reflect.Type]bool // the structs around
}

type keywords = map[string]any

var (
	timeType          = reflect.TypeFor[time.Time]()
	marshalerType     = reflect.TypeFor[json.Marshaler]()
	textMarshalerType = reflect.TypeFor[encoding.TextMarshaler]()
)

func (o *outline) of(t reflect.Type) keywords {
	s := o.written(t)
	kind := t.Kind()
	if o.onlyRead || kind == reflect.Pointer || kind == reflect.Map || kind == reflect.Slice {
		return orNull(s)
	}
	return s
}

// orNull is the schema of what may be null besides.
func orNull(s keywords) keywords {
	if one, some := s["type"].(string); some {
		s["type"] = []string{one, null}
	}
	return s // what may be anything, or null already, may be null
}

// written is the schema of a value that is not null.
func (o *outline) written(t reflect.Type) keywords {
	switch {
	case t.Kind() == reflect.Pointer:
		return o.of(t.Elem())
	case t == timeType:
		return keywords{"type": "string", "format": "date-time"}
	case t == numberType:
		return keywords{"type": "number"}
	case o.encodesItself(t):
		return keywords{}
	case t.Implements(textMarshalerType) && t.Kind() != reflect.Interface:
		return keywords{"type": "string"}
	}
	switch t.Kind() { //nolint:exhaustive // any other kind may be anything
	case reflect.Struct:
		return o.ofStruct(t)
	case reflect.Map:
		return keywords{"type": "object", "additionalProperties": o.of(t.Elem())}
	case reflect.Array:
		return keywords{"type": "array", "items": o.of(t.Elem()), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 {
			return keywords{"type": "array", "items": o.of(t.Elem())}
		}
		if reflect.PointerTo(t.Elem()).Implements(marshalerType) || reflect.PointerTo(t.Elem()).Implements(textMarshalerType) {
			return keywords{"type": "array"}
		}
		return keywords{"type": "string", "contentEncoding": "base64"}
	}
	return ofKind(t.Kind())
}

func ofKind(kind reflect.Kind) keywords {
	switch {
	case kind == reflect.String:
		return keywords{"type": "string"}
	case kind == reflect.Bool:
		return keywords{"type": "boolean"}
	case kind >= reflect.Int && kind <= reflect.Int64:
		return keywords{"type": integer}
	case kind >= reflect.Uint && kind <= reflect.Uintptr:
		return keywords{"type": integer, "minimum": 0}
	case kind == reflect.Float32 || kind == reflect.Float64:
		return keywords{"type": "number"}
	}
	return keywords{}
}

// encodesItself: a method writes or reads the value, or one of its pointer does, which is used or not by where the
// value stands.
func (o *outline) encodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	byText := p.Implements(textMarshalerType) && !t.Implements(textMarshalerType)
	bothWays := o.onlyRead && (p.Implements(jsonType) || p.Implements(textType))
	return p.Implements(marshalerType) || byText || bothWays
}

func (o *outline) ofStruct(t reflect.Type) keywords {
	if o.within[t] {
		return keywords{}
	}
	o.within[t] = true
	defer delete(o.within, t)
	members, known := membersOf(t)
	if !known {
		return keywords{}
	}
	properties, required := keywords{}, []string{}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		m := members[name]
		properties[name] = o.ofMember(&m)
		if !m.omitted {
			required = append(required, name)
		}
	}
	s := keywords{"type": "object", "properties": properties}
	if o.onlyRead {
		return s
	}
	s["additionalProperties"] = false
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// ofMember: what is left out when it is empty is never null, and numbers can be asked for as text.
func (o *outline) ofMember(m *member) keywords {
	s := o.of(m.goType)
	if m.leftOut && !o.onlyRead {
		s = o.written(m.goType)
	}
	inner := m.goType
	if inner.Kind() == reflect.Pointer {
		inner = inner.Elem()
	}
	if basic := ofKind(inner.Kind()); m.quoted && len(basic) > 0 && len(s) > 0 {
		quoted := keywords{"type": "string"}
		if _, nullable := s["type"].([]string); nullable {
			quoted = orNull(quoted)
		}
		return quoted
	}
	return s
}

// member is one of a struct's, as encoding/json writes it.
type member struct {
	goType  reflect.Type
	tagged  bool
	leftOut bool // when it is empty
	omitted bool // leftOut, or when the struct that it is promoted from is not there
	quoted  bool
}

type embedded struct {
	goType reflect.Type
	absent bool // behind a pointer
}

// plainName is a member's name that needs no thought of how encoding/json reads tags.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// membersOf are the members of a struct's JSON, with those of embedded structs where nothing nearer has the name;
// where several are equally near, the tagged one has it, or none.
func membersOf(t reflect.Type) (members map[string]member, known bool) {
	members = map[string]member{}
	decided, passed := map[string]bool{}, map[reflect.Type]bool{}
	for level := []embedded{{goType: t}}; len(level) > 0; {
		found := map[string][]member{}
		var next []embedded
		for _, e := range level {
			passed[e.goType] = true
			for field := range e.goType.Fields() {
				name, m, inner := memberOf(&field, e.absent)
				switch {
				case inner != nil && !passed[inner.goType]:
					next = append(next, *inner)
				case name == "" || inner != nil:
				case !plainName.MatchString(name):
					return nil, false
				default:
					found[name] = append(found[name], m)
				}
			}
		}
		for name, rivals := range found {
			if decided[name] {
				continue
			}
			decided[name] = true
			if len(rivals) > 1 {
				rivals = slices.DeleteFunc(rivals, func(m member) bool { return !m.tagged })
			}
			if len(rivals) == 1 {
				members[name] = rivals[0]
			}
		}
		level = next
	}
	return members, true
}

// memberOf is a field's member by its name, or the struct whose members it promotes, or neither.
func memberOf(field *reflect.StructField, absent bool) (name string, m member, inner *embedded) {
	tag := field.Tag.Get("json")
	if tag == "-" {
		return "", m, nil
	}
	name, rest, _ := strings.Cut(tag, ",")
	options := strings.Split(rest, ",")
	target := field.Type
	if target.Kind() == reflect.Pointer {
		target = target.Elem()
	}
	switch {
	case field.Anonymous && target.Kind() == reflect.Struct && name == "":
		return "", m, &embedded{goType: target, absent: absent || field.Type.Kind() == reflect.Pointer}
	case !field.IsExported() && (!field.Anonymous || target.Kind() != reflect.Struct):
		return "", m, nil
	}
	m = member{goType: field.Type, tagged: name != "", quoted: slices.Contains(options, "string")}
	m.leftOut = slices.Contains(options, "omitempty") || slices.Contains(options, "omitzero")
	m.omitted = m.leftOut || absent
	if name == "" {
		name = field.Name
	}
	return name, m, nil
}
