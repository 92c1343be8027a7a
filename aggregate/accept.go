package aggregate

import (
	"bytes"
	"encoding/json"
	"math/bits"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ticketed/doorman/aggregate/internal/jsontext"
)

// acceptor takes data that certainly satisfies a schema, on its bytes alone. What it does not take, the
// validator looks at: it decodes everything and reckons with fractions, which takes ten times as long, and
// it knows the whole of JSON Schema, and why something is wrong. Nearly all data of real commands is right,
// and nearly all their schemas use the few keywords below.
type acceptor struct {
	kinds    string // first bytes of the values it takes; empty: all
	integer  bool
	least    *int64
	most     *int64
	shortest int
	longest  int // in code points; -1: no bound
	pattern  *regexp.Regexp
	choices  []string // of strings; nil: any
	members  map[string]*acceptor
	required []string // sorted, 64 at most
	closed   bool     // no members but those
	items    *acceptor
}

// acceptorOf is nil when the schema says something an acceptor does not understand.
func acceptorOf(schema any) *acceptor {
	keywords, isObject := schema.(map[string]any)
	if !isObject {
		return nil
	}
	a := &acceptor{longest: -1}
	for keyword, value := range keywords {
		if !a.learn(keyword, value) {
			return nil
		}
	}
	slices.Sort(a.required)
	if len(a.required) > 64 {
		return nil
	}
	return a
}

// learn takes in one keyword; false when that is beyond it.
func (a *acceptor) learn(keyword string, value any) (understood bool) {
	switch keyword {
	case "$schema", "$comment", "title", "description", "default", "examples", "deprecated":
		return true
	case "type":
		return a.learnType(value)
	case "minimum":
		a.least, understood = wholeNumber(value)
	case "maximum":
		a.most, understood = wholeNumber(value)
	case "minLength":
		a.shortest, understood = length(value)
	case "maxLength":
		a.longest, understood = length(value)
	case "pattern":
		text, _ := value.(string)
		pattern, err := regexp.Compile(text)
		a.pattern, understood = pattern, err == nil
	case "enum":
		a.choices, understood = texts(value)
		a.kinds, understood = `"`, understood && (a.kinds == "" || a.kinds == `"`)
	case "required":
		a.required, understood = texts(value)
	case "additionalProperties":
		allowed, isBool := value.(bool)
		a.closed, understood = !allowed, isBool
	case "items":
		a.items = acceptorOf(value)
		understood = a.items != nil
	case "properties":
		understood = a.learnMembers(value)
	}
	return understood
}

func (a *acceptor) learnType(value any) bool {
	kinds := map[string]string{
		"object": "{", "array": "[", "string": `"`, "number": digits, integer: digits, "boolean": "tf", null: "n",
	}
	name, _ := value.(string)
	if a.kinds != "" && a.kinds != kinds[name] {
		return false
	}
	a.kinds, a.integer = kinds[name], name == integer
	return a.kinds != ""
}

func (a *acceptor) learnMembers(value any) bool {
	members, isObject := value.(map[string]any)
	a.members = make(map[string]*acceptor, len(members))
	for name, schema := range members {
		if a.members[name] = acceptorOf(schema); a.members[name] == nil {
			return false
		}
	}
	return isObject
}

func wholeNumber(value any) (*int64, bool) {
	literal, _ := value.(json.Number)
	n, err := strconv.ParseInt(string(literal), 10, 64)
	return &n, err == nil
}

func length(value any) (int, bool) {
	literal, _ := value.(json.Number)
	n, err := strconv.Atoi(string(literal))
	return n, err == nil
}

func texts(value any) ([]string, bool) {
	values, isArray := value.([]any)
	list := make([]string, len(values))
	for i, v := range values {
		text, isText := v.(string)
		if list[i] = text; !isText {
			return nil, false
		}
	}
	return list, isArray
}

// accepts tells whether data certainly satisfies the schema. It takes data for JSON.
func (a *acceptor) accepts(data []byte) bool {
	kind := jsontext.Kind(data)
	if a.kinds != "" && strings.IndexByte(a.kinds, kind) < 0 {
		return false
	}
	switch kind {
	case '{':
		return a.acceptsObject(data)
	case '[':
		return a.acceptsArray(data)
	case '"':
		return a.acceptsString(data)
	case 't', 'f', 'n':
		return true
	}
	return a.acceptsNumber(data)
}

func (a *acceptor) acceptsObject(object []byte) bool {
	if len(a.members) == 0 && len(a.required) == 0 && !a.closed {
		return true
	}
	var seen uint64 // of the required ones, a bit each
	for r := jsontext.Read(object); r.Member(); {
		member, known := a.members[string(r.Name())]
		switch {
		case r.Escaped(), !known && a.closed, known && !member.accepts(r.Value()):
			return false
		}
		if at, needed := slices.BinarySearch(a.required, string(r.Name())); needed {
			seen |= 1 << at
		}
	}
	return bits.OnesCount64(seen) == len(a.required)
}

func (a *acceptor) acceptsArray(array []byte) bool {
	if a.items == nil {
		return true
	}
	for r := jsontext.Read(array); r.Element(); {
		if !a.items.accepts(r.Value()) {
			return false
		}
	}
	return true
}

func (a *acceptor) acceptsString(quoted []byte) bool {
	quoted = bytes.TrimSpace(quoted)
	if len(quoted) < 2 || bytes.IndexByte(quoted, '\\') >= 0 {
		return false
	}
	text := quoted[1 : len(quoted)-1]
	if a.shortest > 0 || a.longest >= 0 {
		if n := utf8.RuneCount(text); n < a.shortest || a.longest >= 0 && n > a.longest {
			return false
		}
	}
	return (a.pattern == nil || a.pattern.Match(text)) && (a.choices == nil || slices.Contains(a.choices, string(text)))
}

func (a *acceptor) acceptsNumber(literal []byte) bool {
	if !a.integer && a.least == nil && a.most == nil {
		return true
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(literal)), 10, 64)
	return err == nil && (a.least == nil || n >= *a.least) && (a.most == nil || n <= *a.most)
}
