package commands

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
	"unsafe"
)

// BodyLimits bound what is read as a request. They are told by GET /v1/limits.
type BodyLimits struct {
	Bytes int // of the whole body
	Array int // commands in an array
	Depth int // of nested arrays and objects in the body, the outermost one counted
}

// DefaultBodyLimits are those of DESIGN section 3.
var DefaultBodyLimits = BodyLimits{Bytes: 256 << 10, Array: 256, Depth: 32}

// The longest session and actor, in characters.
const (
	MaxSession = 128
	MaxActor   = 256
)

// Members is a set of a command's members.
type Members uint8

// The members of a command.
const (
	MemberID Members = 1 << iota
	MemberStream
	MemberType
	MemberTicket
	MemberPolicy
	MemberSession
	MemberActor
	MemberData
)

// Has tells whether all of the members are in the set.
func (m Members) Has(members Members) bool { return m&members == members }

// Request is what a body holds: one command or an array of them.
type Request struct {
	Array bool
	Items []Item // one when it is no array; in the body's order
}

// Item is one command of a request, or what is wrong with it.
type Item struct {
	// Command is the command as it was sent: what may be left out and was is zero (ID None, Ticket
	// None, Policy ticket, no Session, Actor or Data), and Members tells it from what was given. When
	// Err is set it holds what could be read nevertheless, so that a broken command's id is known.
	Command Command
	Members Members
	Err     *MalformedError
	// Text is the command as it stands in the body.
	Text []byte
}

// DecodeRequest reads the body of POST /v1/commands, or of a message that says the same: one command as
// a JSON object, or an array of them.
//
// The text is held to I-JSON (RFC 7493): UTF-8 without a byte order mark, no lone surrogates and no
// noncharacters, no name twice in an object, names compared decoded. A command has the members id,
// stream, type, ticket, policy, session, actor, all strings, and data, any value; no others, and none
// spelled in another case. Stream and type must be there. A session is [MaxSession] characters at most
// and an actor [MaxActor], without control characters; the empty text is the same as none. Data keeps
// its exact bytes.
//
// The error is a *[MalformedError] when the body as a whole is refused: when it is no JSON, too large,
// nested too deep, no object or array, or an array that is empty or too long. Whatever else is wrong is
// tied to its [Item]. Places are counted from the start of the body in both.
//
// The commands' strings and data share the memory of the body, which must not be changed afterwards.
func DecodeRequest(body []byte, limits BodyLimits) (Request, error) {
	if len(body) > limits.Bytes {
		return Request{}, &MalformedError{Code: TooLarge, Offset: limits.Bytes,
			Detail: fmt.Sprintf("the body is larger than %d bytes", limits.Bytes)}
	}
	var room [fewNames][]byte
	s := scanner{src: body, limit: limits.Depth, names: room[:0]}
	request, ok := s.request(limits.Array)
	if !ok {
		return Request{}, s.broken
	}
	return request, nil
}

// Decode reads one command, as [DecodeRequest] does with [DefaultBodyLimits]. The error is a
// *[MalformedError].
func Decode(text []byte) (Command, error) {
	request, err := DecodeRequest(text, DefaultBodyLimits)
	if err != nil {
		return Command{}, err
	}
	if request.Array {
		return Command{}, &MalformedError{Code: Malformed, Detail: "one command was expected here, not an array"}
	}
	if err := request.Items[0].Err; err != nil {
		return Command{}, err
	}
	return request.Items[0].Command, nil
}

var byteOrderMark = []byte("\xef\xbb\xbf")

func (s *scanner) request(most int) (Request, bool) {
	if bytes.HasPrefix(s.src, byteOrderMark) {
		return Request{}, s.stop(0, "the text begins with a byte order mark")
	}
	s.space()
	start := s.at
	switch s.peek() {
	case '{':
		items := make([]Item, 1)
		if !s.item(&items[0], alone) || !s.end() {
			return Request{}, false
		}
		return Request{Items: items}, true
	case '[':
		items, ok := s.items(most)
		if !ok || !s.end() {
			return Request{}, false
		}
		return Request{Array: true, Items: items}, true
	}
	found := kindOf(s.peek())
	if !s.value() || !s.end() {
		return Request{}, false
	}
	return Request{}, s.stop(start, "a command is an object, or several are an array of objects; this is "+found)
}

func (s *scanner) items(most int) ([]Item, bool) {
	start := s.at
	if !s.enter() {
		return nil, false
	}
	s.at++
	s.space()
	if s.peek() == ']' {
		s.leave()
		return nil, s.end() && s.stop(start, "the array holds no command")
	}
	// With an id and a ticket a command is hardly shorter than this, so that items seldom grows.
	items := make([]Item, 0, min(most, 1+len(s.src)/160))
	for {
		if len(items) == most {
			s.stop(s.at, fmt.Sprintf("an array holds %d commands at most", most))
			s.broken.Code = TooLarge
			return nil, false
		}
		items = append(items, Item{})
		if !s.item(&items[len(items)-1], len(items)-1) {
			return nil, false
		}
		more, ok := s.next(']')
		if !ok {
			return nil, false
		}
		if !more {
			return items, s.leave()
		}
	}
}

// item reads one command.
func (s *scanner) item(item *Item, element int) bool {
	s.base, s.element, s.fault = s.at, element, nil
	if s.peek() != '{' {
		s.note(s.at, "a command is an object; this is "+kindOf(s.peek()))
		item.Err = s.fault
		ok := s.value()
		item.Text = s.src[s.base:s.at:s.at]
		return ok
	}
	ok := s.command(item)
	item.Err, item.Text = s.fault, s.src[s.base:s.at:s.at]
	return ok
}

func (s *scanner) command(item *Item) bool {
	start := s.at
	if !s.enter() {
		return false
	}
	s.at++
	s.space()
	if s.peek() != '}' {
		for more := true; more; {
			at := s.at
			name, ok := s.memberName()
			if !ok || !s.member(item, at, name) {
				return false
			}
			if more, ok = s.next('}'); !ok {
				return false
			}
		}
	}
	for _, needed := range [...]Members{MemberStream, MemberType} {
		if !item.Members.Has(needed) {
			s.note(start, `the command has no "`+needed.name()+`"`)
		}
	}
	return s.leave()
}

var memberNames = [...]string{"id", "stream", "type", "ticket", "policy", "session", "actor", "data"}

func memberOf(name []byte) Members {
	for i, known := range memberNames {
		if known == string(name) {
			return 1 << i
		}
	}
	return 0
}

// name is that of a set of one member.
func (m Members) name() string {
	for i, name := range memberNames {
		if m == 1<<i {
			return name
		}
	}
	return ""
}

// member reads the value of the member whose name stands at the given place.
func (s *scanner) member(item *Item, at int, name []byte) bool {
	member := memberOf(name)
	if member == 0 {
		s.note(at, strangeMember(name))
		return s.value()
	}
	if item.Members.Has(member) {
		s.note(at, `"`+member.name()+`" is given twice`)
		return s.value()
	}
	item.Members |= member
	start := s.at
	if member == MemberData {
		if !s.value() {
			return false
		}
		item.Command.Data = s.src[start:s.at:s.at]
		return true
	}
	if s.peek() != '"' {
		s.note(start, `"`+member.name()+`" must be a string, not `+kindOf(s.peek()))
		return s.value()
	}
	t, ok := s.text()
	if !ok {
		return false
	}
	if problem := item.Command.set(member, s.string(t)); problem != "" {
		s.note(start, problem)
	}
	return true
}

// string is a string decoded, in the text's memory when it has no escapes: the text belongs to the
// command from here on, so its bytes can be seen as a string.
func (s *scanner) string(t span) string {
	raw := s.bytes(t)
	return unsafe.String(unsafe.SliceData(raw), len(raw)) //nolint:gosec // the text is never written to again
}

// set fills in one member from its text and returns what is wrong with it, if anything.
func (c *Command) set(member Members, text string) string {
	var ok bool
	switch member {
	case MemberID:
		if c.ID, ok = ParseID(text); !ok {
			return `"id" must be a UUID of 36 characters, and neither the nil nor the max UUID`
		}
	case MemberStream:
		stream, err := ParseStream(text)
		if err != nil {
			return err.Error()
		}
		c.Stream = stream
	case MemberType:
		if !ValidType(text) {
			return fmt.Sprintf(`"type" must be [a-z][a-z0-9_-]* of %d characters at most`, MaxNamePart)
		}
		c.Type = text
	case MemberTicket:
		if c.Ticket, ok = ParseTicket(text); !ok {
			return `"ticket" must be the id of an action, which is a UUID, or genesis`
		}
	case MemberPolicy:
		if c.Policy, ok = ParsePolicy(text); !ok || text == "" {
			return `"policy" must be ticket, strict, session or any`
		}
	case MemberSession:
		if problem := WrongLabel(member.name(), text, MaxSession); problem != "" {
			return problem
		}
		c.Session = text
	case MemberActor:
		if problem := WrongLabel(member.name(), text, MaxActor); problem != "" {
			return problem
		}
		c.Actor = text
	case MemberData: // is no text
	}
	return ""
}

// ActorProblem says why a text cannot be a command's actor; nothing when it can.
func ActorProblem(text string) string {
	if !utf8.ValidString(text) {
		return `"actor" must be valid UTF-8`
	}
	return WrongLabel(MemberActor.name(), text, MaxActor)
}

// WrongLabel says what is wrong with a text that people are shown in a line: that it is longer than so many
// characters, or holds control characters. It is empty when nothing is.
func WrongLabel(name, text string, most int) string {
	if len(text) > most && utf8.RuneCountInString(text) > most {
		return fmt.Sprintf("%q must be %d characters at most", name, most)
	}
	for _, r := range text {
		if unicode.IsControl(r) {
			return fmt.Sprintf("%q must not hold control characters", name)
		}
	}
	return ""
}

func strangeMember(name []byte) string {
	for _, known := range memberNames {
		if strings.EqualFold(known, string(name)) {
			return fmt.Sprintf("a command has no member of this name; %q is spelled in lower case", known)
		}
	}
	return "a command has no member of this name; it has " + strings.Join(memberNames[:], ", ")
}

// kindOf names the kind of the value that begins with the byte.
func kindOf(first byte) string {
	switch first {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a number"
}
