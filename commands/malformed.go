package commands

import (
	"fmt"
	"strconv"
	"strings"
)

// MalformedError says what is wrong with a JSON text, and where.
type MalformedError struct {
	Code    Reason // Malformed or TooLarge
	Pointer string // JSON pointer (RFC 6901) of the innermost value concerned; empty for the whole text
	Offset  int    // where in the text, in bytes from its start
	Detail  string // one sentence for a person, without the place
}

func (e *MalformedError) Error() string {
	if e.Pointer == "" {
		return fmt.Sprintf("%s (at byte %d)", e.Detail, e.Offset)
	}
	return fmt.Sprintf("%s (%s, at byte %d)", e.Detail, e.Pointer, e.Offset)
}

func malformed(src []byte, base int, origin string, offset int, detail string) *MalformedError {
	return &MalformedError{Code: Malformed, Pointer: locate(src, base, origin, offset), Offset: offset, Detail: detail}
}

// maxPointer bounds the pointers we tell: names are the sender's, and may fill a whole body.
const maxPointer = 512

// container is an array or object that locate is in.
type container struct {
	array    bool
	index    int    // array: of the element at hand
	name     string // object: of the member at hand
	named    bool   // object: its name has been passed
	readable bool   // object: and can be told
}

// locate gives the pointer of the innermost value at offset: it walks the text, which is JSON at least
// that far, from base, where a value with the pointer origin begins. A place in a member's name is that
// of the member when the name can be read, else that of its object. A pointer that would be too long is
// cut to that of an enclosing value.
func locate(src []byte, base int, origin string, offset int) string {
	var path []container
	for i := base; i < len(src) && i <= offset; i++ {
		var top *container
		if len(path) > 0 {
			top = &path[len(path)-1]
		}
		if src[i] == '"' {
			end, ok := closingQuote(src, i)
			if top != nil && !top.array && !top.named {
				top.named = true
				if ok {
					top.name, top.readable = cleanName(src[i+1 : end])
				}
			}
			i = end
			continue
		}
		if i == offset {
			break
		}
		switch src[i] {
		case '{', '[':
			path = append(path, container{array: src[i] == '['})
		case '}', ']':
			path = path[:max(len(path)-1, 0)]
		case ',':
			if top != nil {
				top.index++
				top.named, top.readable = false, false
			}
		}
	}
	return pointer(origin, path)
}

func pointer(origin string, path []container) string {
	text := origin
	for _, c := range path {
		token := strconv.Itoa(c.index)
		if !c.array {
			if !c.readable {
				break
			}
			token = strings.ReplaceAll(strings.ReplaceAll(c.name, "~", "~0"), "/", "~1")
		}
		if len(text)+1+len(token) > maxPointer {
			break
		}
		text += "/" + token
	}
	return text
}

// closingQuote finds the end of the string that begins at i; the end of the text when it has none.
func closingQuote(src []byte, i int) (int, bool) {
	for i++; i < len(src); i++ {
		switch src[i] {
		case '\\':
			i++
		case '"':
			return i, true
		}
	}
	return len(src), false
}

// cleanName decodes a name, if it is one that may be told again.
func cleanName(raw []byte) (string, bool) {
	quoted := make([]byte, 0, len(raw)+2)
	quoted = append(append(append(quoted, '"'), raw...), '"')
	s := scanner{src: quoted, element: alone}
	t, ok := s.text()
	if !ok || s.fault != nil {
		return "", false
	}
	return string(s.bytes(t)), true
}
