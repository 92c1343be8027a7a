// Package jsontext walks JSON texts as the bytes they are, without decoding them: number literals,
// escapes and the order of members stay what they were, and walking allocates nothing.
//
//	r := jsontext.Read(object)
//	for r.Member() {
//		use(r.Name(), r.Value())
//	}
//
// It does not check. On a text that is no JSON it stops early, never reads beyond the end and never
// loops; whether a text is JSON is for encoding/json to say.
package jsontext

import (
	"bytes"
	"encoding/json"
)

// Reader steps through the members of an object or the elements of an array.
type Reader struct {
	text    []byte
	at      int
	name    []byte
	value   []byte
	escaped bool
}

// Read begins at the first member or element of a text that is an object or an array.
func Read(text []byte) Reader { return Reader{text: text, at: space(text, 0) + 1} }

// Member steps to the next member; false when there is none.
func (r *Reader) Member() bool {
	start := r.next()
	if start >= len(r.text) || r.text[start] != '"' {
		return false
	}
	end := r.skipString(start)
	colon := space(r.text, end)
	if colon >= len(r.text) || r.text[colon] != ':' {
		return false
	}
	r.name = r.text[start+1 : end-1]
	return r.take(space(r.text, colon+1))
}

// Element steps to the next element; false when there is none.
func (r *Reader) Element() bool { return r.take(r.next()) }

// Name is the member's name as it stands in the text, without its quotes.
func (r *Reader) Name() []byte { return r.name }

// Escaped tells whether Name holds escapes and must be decoded before it can be compared.
func (r *Reader) Escaped() bool { return r.escaped }

// Value is the text of the member's or element's value.
func (r *Reader) Value() []byte { return r.value }

// next is where the next member or element begins.
func (r *Reader) next() int {
	at := space(r.text, r.at)
	if at < len(r.text) && r.text[at] == ',' {
		at = space(r.text, at+1)
	}
	return at
}

func (r *Reader) take(start int) bool {
	end := skip(r.text, start)
	if end == start {
		return false
	}
	r.value, r.at = r.text[start:end], end
	return true
}

// skipString is skipString that notices escapes.
func (r *Reader) skipString(start int) int {
	end := skipString(r.text, start)
	r.escaped = bytes.IndexByte(r.text[start:end], '\\') >= 0
	return end
}

// Kind is the first byte of the value that the text holds, white space aside: one of { [ " t f n, a
// digit or a minus sign; 0 for none.
func Kind(text []byte) byte {
	if at := space(text, 0); at < len(text) {
		return text[at]
	}
	return 0
}

// Decode gives the characters that a name or the inside of a string stands for.
func Decode(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw)
	}
	quoted := append(append([]byte{'"'}, raw...), '"')
	var text string
	if err := json.Unmarshal(quoted, &text); err != nil {
		return string(raw)
	}
	return text
}

func space(text []byte, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\n' || text[at] == '\t' || text[at] == '\r') {
		at++
	}
	return at
}

// skip returns where the value ends that begins at the offset; the offset itself when none does.
func skip(text []byte, at int) int {
	if at >= len(text) {
		return at
	}
	switch text[at] {
	case '"':
		return skipString(text, at)
	case '{', '[':
		return skipNested(text, at)
	}
	for at < len(text) && scalar(text[at]) {
		at++
	}
	return at
}

func skipNested(text []byte, at int) int {
	depth := 0
	for at < len(text) {
		switch text[at] {
		case '"':
			at = skipString(text, at)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return at + 1
			}
		}
		at++
	}
	return at
}

func skipString(text []byte, at int) int {
	for at++; at < len(text); at++ {
		switch text[at] {
		case '"':
			return at + 1
		case '\\':
			at++
		}
	}
	return len(text)
}

// scalar: the bytes of numbers and of true, false and null.
func scalar(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c == '-' || c == '+' || c == '.' || c == 'E'
}
