package commands

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// scanner reads a JSON text once, front to back, and holds it to I-JSON (RFC 7493). It tells two kinds
// of wrong apart. What is no JSON at all stops it: its methods return false and broken says why. What is
// JSON but must not be (a lone surrogate, a name given twice, a command's member of the wrong type) is
// noted in fault, the first one only, and reading goes on: in an array of commands it refuses that one
// command and not those beside it.
//
// Offsets are all it remembers of where it is; the pointer of a place is worked out when something is
// wrong, by walking the text again (see locate).
type scanner struct {
	src   []byte
	at    int
	depth int
	limit int // of depth

	broken *MalformedError
	fault  *MalformedError

	// Where the command that faults are tied to begins, and which element of the array it is, or
	// alone: places in it are found from here, so that all faults of a body together cost one walk.
	base    int
	element int

	// Decoded names of the objects being read, the innermost object's last.
	names [][]byte
}

// alone is the element of what is not in an array.
const alone = -1

func (s *scanner) space() {
	for s.at < len(s.src) {
		switch s.src[s.at] {
		case ' ', '\n', '\t', '\r':
			s.at++
		default:
			return
		}
	}
}

// peek is the byte at hand; 0, which no JSON text holds outside strings, at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.src) {
		return s.src[s.at]
	}
	return 0
}

// value reads one value of any kind that begins at s.at.
func (s *scanner) value() bool {
	switch c := s.peek(); {
	case c == '"':
		_, ok := s.text()
		return ok
	case c == '{':
		return s.object()
	case c == '[':
		return s.array()
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	}
	return s.unexpected("a value")
}

func (s *scanner) literal(word string) bool {
	if len(s.src)-s.at < len(word) || string(s.src[s.at:s.at+len(word)]) != word {
		return s.unexpected("a value")
	}
	s.at += len(word)
	return true
}

// number follows RFC 8259 section 6: no leading zero, no plus sign, digits on both sides of the point.
func (s *scanner) number() bool {
	if s.peek() == '-' {
		s.at++
	}
	switch c := s.peek(); {
	case c == '0':
		s.at++
	case c >= '1' && c <= '9':
		s.digits()
	default:
		return s.unexpected("a digit")
	}
	if s.peek() == '.' {
		s.at++
		if !s.digits() {
			return s.unexpected("a digit after the decimal point")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		if !s.digits() {
			return s.unexpected("a digit of the exponent")
		}
	}
	return true
}

func (s *scanner) digits() bool {
	start := s.at
	for s.at < len(s.src) && s.src[s.at]-'0' <= 9 {
		s.at++
	}
	return s.at > start
}

func (s *scanner) array() bool {
	if !s.enter() {
		return false
	}
	s.at++
	s.space()
	if s.peek() == ']' {
		return s.leave()
	}
	for {
		if !s.value() {
			return false
		}
		more, ok := s.next(']')
		if !ok {
			return false
		}
		if !more {
			return s.leave()
		}
	}
}

func (s *scanner) object() bool {
	if !s.enter() {
		return false
	}
	first := len(s.names)
	var seen map[string]struct{}
	s.at++
	s.space()
	if s.peek() == '}' {
		return s.leave()
	}
	for {
		at := s.at
		name, ok := s.memberName()
		if !ok {
			return false
		}
		if s.taken(first, name, &seen) {
			s.note(at, "a name is given twice in one object")
		}
		if !s.value() {
			return false
		}
		more, ok := s.next('}')
		if !ok {
			return false
		}
		if !more {
			s.names = s.names[:first]
			return s.leave()
		}
	}
}

// memberName reads a name and its colon, up to where the value begins, and returns the name decoded.
func (s *scanner) memberName() ([]byte, bool) {
	if s.peek() != '"' {
		return nil, s.unexpected("a member name in quotes")
	}
	t, ok := s.text()
	if !ok {
		return nil, false
	}
	s.space()
	if s.peek() != ':' {
		return nil, s.unexpected("a colon after the member name")
	}
	s.at++
	s.space()
	return s.bytes(t), true
}

// fewNames is how many names of one object are compared one by one; more are kept in a map.
const fewNames = 16

// taken tells whether the object, whose names begin at first, has the name already, and keeps it.
func (s *scanner) taken(first int, name []byte, seen *map[string]struct{}) bool {
	if *seen != nil {
		if _, taken := (*seen)[string(name)]; taken {
			return true
		}
		(*seen)[string(name)] = struct{}{}
		return false
	}
	known := s.names[first:]
	for _, other := range known {
		if string(other) == string(name) {
			return true
		}
	}
	s.names = append(s.names, name)
	if len(known) == fewNames {
		*seen = make(map[string]struct{}, 4*fewNames)
		for _, other := range s.names[first:] {
			(*seen)[string(other)] = struct{}{}
		}
	}
	return false
}

// next reads what follows a member or an element: a comma, after which there must be another, or the
// end, which it leaves at hand.
func (s *scanner) next(end byte) (more, ok bool) {
	s.space()
	switch s.peek() {
	case ',':
		s.at++
		s.space()
		if s.peek() == end {
			return false, s.stop(s.at, "nothing follows after the comma")
		}
		return true, true
	case end:
		return false, true
	}
	if end == '}' {
		return false, s.unexpected("a comma or } after the member")
	}
	return false, s.unexpected("a comma or ] after the element")
}

func (s *scanner) enter() bool {
	if s.depth++; s.depth > s.limit {
		return s.stop(s.at, fmt.Sprintf("arrays and objects are nested deeper than %d", s.limit))
	}
	return true
}

// leave steps over the closing bracket at hand.
func (s *scanner) leave() bool {
	s.depth--
	s.at++
	return true
}

// end checks that nothing but white space follows.
func (s *scanner) end() bool {
	s.space()
	if s.at < len(s.src) {
		return s.stop(s.at, "something follows after the end of the JSON text")
	}
	return true
}

// unexpected stops the scanner at hand, naming what it found there.
func (s *scanner) unexpected(want string) bool {
	if s.at >= len(s.src) {
		return s.stop(len(s.src), "the text ends where "+want+" was expected")
	}
	r, width := utf8.DecodeRune(s.src[s.at:])
	if r == utf8.RuneError && width == 1 {
		return s.stop(s.at, "the text is not valid UTF-8")
	}
	return s.stop(s.at, fmt.Sprintf("%s was expected here, not %q", want, r))
}

// stop ends the reading: the text cannot be parsed. It returns false, for its callers to hand on.
func (s *scanner) stop(offset int, detail string) bool {
	if s.broken == nil {
		s.broken = malformed(s.src, 0, "", offset, detail)
	}
	return false
}

// note keeps what is wrong with a value that can be parsed; reading goes on.
func (s *scanner) note(offset int, detail string) {
	if s.fault == nil {
		origin := ""
		if s.element != alone {
			origin = "/" + strconv.Itoa(s.element)
		}
		s.fault = malformed(s.src, s.base, origin, offset, detail)
	}
}
