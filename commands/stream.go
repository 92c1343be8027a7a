package commands

import (
	"fmt"
	"strings"
)

// MaxNamePart is the longest type or id of a stream, in characters.
const MaxNamePart = 128

// Stream names one aggregate's ordered history. Tenant is empty until tenancy is switched on.
type Stream struct {
	Tenant string
	Type   string // [a-z][a-z0-9_-]*
	ID     string // [A-Za-z0-9][A-Za-z0-9._:-]*
}

// FormatError says which value of which kind is not of the form it must have.
type FormatError struct{ What, Value, Want string }

func (e *FormatError) Error() string {
	value := e.Value
	if len(value) > 200 {
		value = value[:200] + "…"
	}
	return fmt.Sprintf("%s %q is not %s", e.What, value, e.Want)
}

// ParseStream reads "type/id". The parts share the text's memory.
func ParseStream(text string) (Stream, error) {
	kind, id, ok := strings.Cut(text, "/")
	if !ok || !ValidType(kind) || !validStreamID(id) {
		return Stream{}, &FormatError{What: "stream", Value: text,
			Want: "type/id with a type of [a-z][a-z0-9_-]* and an id of [A-Za-z0-9][A-Za-z0-9._:-]*, 128 characters at most each"}
	}
	return Stream{Type: kind, ID: id}, nil
}

// String is "type/id".
func (s Stream) String() string { return s.Type + "/" + s.ID }

// AppendTo appends "type/id".
func (s Stream) AppendTo(b []byte) []byte {
	b = append(b, s.Type...)
	b = append(b, '/')
	return append(b, s.ID...)
}

// Clone shares no memory with the stream's name.
func (s Stream) Clone() Stream {
	return Stream{Tenant: strings.Clone(s.Tenant), Type: strings.Clone(s.Type), ID: strings.Clone(s.ID)}
}

// Lane is the lane of a stream when there are lanes of them: FNV-1a of tenant, type and id, the same in
// every version of this program, since a store's rows depend on it.
func (s Stream) Lane(lanes int) int {
	const offset, prime = 14695981039346656037, 1099511628211
	hash := uint64(offset)
	for _, part := range [...]string{s.Tenant, s.Type, s.ID} {
		for i := range len(part) {
			hash = (hash ^ uint64(part[i])) * prime
		}
		hash = (hash ^ '/') * prime
	}
	// The high bits of FNV-1a mix best.
	return int((hash ^ hash>>32) % uint64(lanes))
}

// ValidType tells whether the text can name a stream type or, by the same rule, a command type.
func ValidType(text string) bool {
	if text == "" || len(text) > MaxNamePart || text[0] < 'a' || text[0] > 'z' {
		return false
	}
	for i := range len(text) {
		if c := text[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

func validStreamID(text string) bool {
	if text == "" || len(text) > MaxNamePart || !alphanumeric(text[0]) {
		return false
	}
	for i := range len(text) {
		if c := text[i]; !alphanumeric(c) && c != '.' && c != '_' && c != ':' && c != '-' {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
