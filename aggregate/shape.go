package aggregate

import (
	"bytes"
	"encoding"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"github.com/ticketed/doorman/aggregate/internal/jsontext"
)

// shape is what JSON must look like to fill a Go type exactly. encoding/json is lenient where a command
// must not be: it matches names in any case, takes null for everything and cannot say where an unknown
// field is. A shape is made once for a command's type, and walked before encoding/json reads the data.
type shape struct {
	want   string // what to ask for when something else is found; empty: anything goes
	kinds  string // first bytes of the values that fit
	fields map[string]*shape
	elem   *shape // of elements, or of all members of a map
	fits   func(literal string) bool
	own    reflect.Type // decodes itself
}

var (
	rawType    = reflect.TypeFor[json.RawMessage]()
	numberType = reflect.TypeFor[json.Number]()
	jsonType   = reflect.TypeFor[json.Unmarshaler]()
	textType   = reflect.TypeFor[encoding.TextUnmarshaler]()
)

const digits = "-0123456789"

// What may be asked for, in words.
const aString, anObject, anArray = "a string", "an object", "an array"

// shapeOf makes the shape of a type; known holds those under way, for types that hold themselves.
func shapeOf(t reflect.Type, known map[reflect.Type]*shape) *shape {
	if s, ok := known[t]; ok {
		return s
	}
	s := &shape{}
	known[t] = s
	switch {
	case t == rawType:
	case t == numberType:
		s.want, s.kinds = "a number", digits
	case reflect.PointerTo(t).Implements(jsonType):
		s.own = t
	case reflect.PointerTo(t).Implements(textType):
		s.want, s.kinds, s.own = aString, `"`, t
	default:
		s.fill(t, known)
	}
	return s
}

func (s *shape) fill(t reflect.Type, known map[reflect.Type]*shape) {
	switch kind := t.Kind(); kind { //nolint:exhaustive // any other kind takes anything
	case reflect.Pointer:
		*s = *shapeOf(t.Elem(), known)
		if s.want != "" {
			s.kinds += "n"
		}
	case reflect.Struct:
		s.want, s.kinds, s.fields = anObject, "{", map[string]*shape{}
		s.addFields(t, known)
	case reflect.Map:
		s.want, s.kinds, s.elem = anObject, "{n", shapeOf(t.Elem(), known)
	case reflect.Slice, reflect.Array:
		s.want, s.kinds = anArray, "["
		if kind == reflect.Slice {
			s.kinds = "[n"
			if t.Elem().Kind() == reflect.Uint8 {
				s.want, s.kinds, s.own = aString, `"n`, t
				return
			}
		}
		s.elem = shapeOf(t.Elem(), known)
	case reflect.String:
		s.want, s.kinds = aString, `"`
	case reflect.Bool:
		s.want, s.kinds = "true or false", "tf"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		s.want, s.kinds = "a whole number of "+strconv.Itoa(t.Bits())+" bits", digits
		s.fits = func(literal string) bool {
			_, err := strconv.ParseInt(literal, 10, t.Bits())
			return err == nil
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		s.want, s.kinds = "a whole number of "+strconv.Itoa(t.Bits())+" bits, not negative", digits
		s.fits = func(literal string) bool {
			_, err := strconv.ParseUint(literal, 10, t.Bits())
			return err == nil
		}
	case reflect.Float32, reflect.Float64:
		s.want, s.kinds = "a number of "+strconv.Itoa(t.Bits())+" bits", digits
		s.fits = func(literal string) bool {
			_, err := strconv.ParseFloat(literal, t.Bits())
			return err == nil
		}
	}
}

// addFields adds what encoding/json fills: exported fields by their names, and those of embedded structs
// where nothing nearer has the name.
func (s *shape) addFields(t reflect.Type, known map[reflect.Type]*shape) {
	var embedded []reflect.Type
	for field := range t.Fields() {
		tag := field.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		inner := field.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case tag == "-":
			continue
		case field.Anonymous && name == "" && inner.Kind() == reflect.Struct:
			embedded = append(embedded, inner)
			continue
		case !field.IsExported():
			continue
		case name == "":
			name = field.Name
		}
		if _, nearer := s.fields[name]; nearer {
			continue
		}
		s.fields[name] = shapeOf(field.Type, known)
		if strings.Contains(options, "string") {
			s.fields[name] = &shape{}
		}
	}
	for _, inner := range embedded {
		s.addFields(inner, known)
	}
}

// check finds the first place where data is not of the shape. With try it also asks the types that
// decode themselves.
func (s *shape) check(data []byte, path *pointer, try bool) *InvalidError {
	kind := jsontext.Kind(data)
	if s.want != "" && strings.IndexByte(s.kinds, kind) < 0 {
		return path.invalid("must be " + s.want + ", not " + kindName(kind))
	}
	if try && s.own != nil {
		if err := json.Unmarshal(data, reflect.New(s.own).Interface()); err != nil {
			return path.invalid("cannot be read: " + err.Error())
		}
	}
	switch kind {
	case '{':
		return s.checkMembers(data, path, try)
	case '[':
		return s.checkElements(data, path, try)
	case '"', 't', 'f', 'n':
		return nil
	}
	switch {
	case s.fits != nil && !s.fits(string(data)):
		return path.invalid("must be " + s.want + ", not " + brief(data))
	case !sensible(data):
		return path.invalid("is a number out of all proportion: " + brief(data))
	}
	return nil
}

func (s *shape) checkMembers(object []byte, path *pointer, try bool) *InvalidError {
	r := jsontext.Read(object)
	for r.Member() {
		within, known := s.member(&r)
		here := pointer{outer: path, name: r.Name()}
		if !known {
			return here.invalid("is not a field of this command")
		}
		if err := within.check(r.Value(), &here, try); err != nil {
			return err
		}
	}
	return nil
}

// member is the shape of a member's value.
func (s *shape) member(r *jsontext.Reader) (*shape, bool) {
	switch {
	case s.fields == nil && s.elem == nil:
		return &anything, true
	case s.fields == nil:
		return s.elem, true
	case r.Escaped():
		within, known := s.fields[jsontext.Decode(r.Name())]
		return within, known
	}
	within, known := s.fields[string(r.Name())]
	return within, known
}

func (s *shape) checkElements(array []byte, path *pointer, try bool) *InvalidError {
	within := s.elem
	if within == nil {
		within = &anything
	}
	r := jsontext.Read(array)
	for i := 0; r.Element(); i++ {
		here := pointer{outer: path, index: i}
		if err := within.check(r.Value(), &here, try); err != nil {
			return err
		}
	}
	return nil
}

var anything = shape{}

// maxExponent bounds what a number's literal may ask of exact arithmetic: a schema's bounds are checked
// as fractions, and 1e999999 is one of a million digits. No Go number reaches it.
const maxExponent = 999

func sensible(literal []byte) bool {
	cut := bytes.LastIndexAny(literal, "eE")
	if cut < 0 {
		return true
	}
	exponent, err := strconv.Atoi(string(literal[cut+1:]))
	return err == nil && exponent <= maxExponent && exponent >= -maxExponent
}

// pointer is a place in data, nil for the whole; its text is made only when something is wrong there.
type pointer struct {
	outer *pointer
	name  []byte // as it stands in the text; nil: index
	index int
}

func (p *pointer) invalid(detail string) *InvalidError {
	return &InvalidError{Path: p.text(), Detail: detail}
}

func (p *pointer) text() string {
	switch {
	case p == nil:
		return ""
	case p.name != nil:
		return p.outer.text() + "/" + escapePointer(jsontext.Decode(p.name))
	}
	return p.outer.text() + "/" + strconv.Itoa(p.index)
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// escapePointer makes a token of a JSON pointer (RFC 6901 section 3).
func escapePointer(name string) string { return pointerEscapes.Replace(name) }

func kindName(kind byte) string {
	switch kind {
	case '{':
		return anObject
	case '[':
		return anArray
	case '"':
		return aString
	case 't', 'f':
		return "a boolean"
	case 'n':
		return null
	case 0:
		return "nothing"
	}
	return "a number"
}

// brief quotes what was sent, cut where it is long.
func brief(data []byte) string {
	const most = 60
	if len(data) <= most {
		return string(data)
	}
	return strings.ToValidUTF8(string(data[:most]), "") + "…"
}
