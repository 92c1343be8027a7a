package commands

import (
	"bytes"
	"slices"
)

// maxEqualDepth bounds the recursion over texts that did not come through [DecodeRequest].
const maxEqualDepth = 1000

// CheckJSON tells whether the text is one I-JSON value (RFC 7493), with the rules that [DecodeRequest]
// has for data, nested depth deep at most. The error is a *[MalformedError].
func CheckJSON(text []byte, depth int) error {
	var room [fewNames][]byte
	s := scanner{src: text, limit: depth, names: room[:0], element: alone}
	if bytes.HasPrefix(text, byteOrderMark) {
		s.stop(0, "the text begins with a byte order mark")
		return s.broken
	}
	s.space()
	if !s.value() || !s.end() {
		return s.broken
	}
	if s.fault != nil {
		return s.fault
	}
	return nil
}

// EqualJSON tells whether two texts are equal as JSON: white space, escapes and the order of members
// make no difference; numbers are equal by their literal, so 1.0 is not 1. A text that [CheckJSON] would
// refuse (nested 1,000 deep at most) equals only itself, byte for byte.
func EqualJSON(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if CheckJSON(a, maxEqualDepth) != nil || CheckJSON(b, maxEqualDepth) != nil {
		return false
	}
	left, right := outline(a), outline(b)
	return left.equal(0, right, 0)
}

// outlined is a text with its values found, in the order in which they begin. A member is its name, a
// string, followed by its value.
type outlined struct {
	text   []byte
	values []outlinedValue
}

type outlinedValue struct {
	start, end int // in the text; of strings, numbers and literals only
	next       int // index of the value after this one and all it holds
	kind       byte
	escaped    bool
}

// outline finds the values of a text that has been checked.
func outline(text []byte) *outlined {
	o := &outlined{text: text, values: make([]outlinedValue, 0, 8+len(text)/8)}
	var open []int
	for i := 0; i < len(text); {
		at := i
		switch text[i] {
		case ' ', '\n', '\t', '\r', ',', ':':
			i++
			continue
		case '{', '[':
			open = append(open, len(o.values))
			o.values = append(o.values, outlinedValue{kind: text[i]})
			i++
			continue
		case '}', ']':
			o.values[open[len(open)-1]].next = len(o.values)
			open = open[:len(open)-1]
			i++
			continue
		case '"':
			i, _ = closingQuote(text, i)
			i++
			o.add(outlinedValue{kind: '"', start: at + 1, end: i - 1, escaped: bytes.IndexByte(text[at:i], '\\') >= 0})
		default:
			for i < len(text) && scalarByte(text[i]) {
				i++
			}
			o.add(outlinedValue{kind: '0', start: at, end: i})
		}
	}
	return o
}

func (o *outlined) add(v outlinedValue) {
	v.next = len(o.values) + 1
	o.values = append(o.values, v)
}

func scalarByte(c byte) bool { return alphanumeric(c) || c == '-' || c == '+' || c == '.' }

func (o *outlined) equal(at int, other *outlined, otherAt int) bool {
	a, b := &o.values[at], &other.values[otherAt]
	switch {
	case a.kind != b.kind:
		return false
	case a.kind == '"':
		return bytes.Equal(o.decoded(a), other.decoded(b))
	case a.kind == '[':
		return o.equalElements(at, other, otherAt)
	case a.kind == '{':
		return o.equalMembers(at, other, otherAt)
	}
	return bytes.Equal(o.text[a.start:a.end], other.text[b.start:b.end])
}

func (o *outlined) decoded(v *outlinedValue) []byte {
	raw := o.text[v.start:v.end]
	if !v.escaped {
		return raw
	}
	return appendUnescaped(make([]byte, 0, len(raw)), raw)
}

func (o *outlined) equalElements(at int, other *outlined, otherAt int) bool {
	i, j := at+1, otherAt+1
	for i < o.values[at].next && j < other.values[otherAt].next {
		if !o.equal(i, other, j) {
			return false
		}
		i, j = o.values[i].next, other.values[j].next
	}
	return i == o.values[at].next && j == other.values[otherAt].next
}

// equalMembers sorts both objects' members by name; names are unique, the texts having been checked.
func (o *outlined) equalMembers(at int, other *outlined, otherAt int) bool {
	mine, theirs := o.members(at), other.members(otherAt)
	if len(mine) != len(theirs) {
		return false
	}
	for i := range mine {
		if !bytes.Equal(mine[i].name, theirs[i].name) {
			return false
		}
	}
	for i := range mine {
		if !o.equal(mine[i].value, other, theirs[i].value) {
			return false
		}
	}
	return true
}

type outlinedMember struct {
	name  []byte
	value int
}

func (o *outlined) members(at int) []outlinedMember {
	var members []outlinedMember
	for i := at + 1; i < o.values[at].next; i = o.values[i+1].next {
		members = append(members, outlinedMember{o.decoded(&o.values[i]), i + 1})
	}
	slices.SortFunc(members, func(a, b outlinedMember) int { return bytes.Compare(a.name, b.name) })
	return members
}
