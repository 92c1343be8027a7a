package ingress

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"runtime/debug"
	"strings"
	"sync/atomic"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/commands/problem"
	"github.com/ticketed/doorman/commands/vetting"
)

// Delivery is a message in hand.
type Delivery interface {
	// Message is what came. It is not changed.
	Message() *commands.Message
	// Settle says that the message has been answered for. It is called once, from any goroutine, and does not
	// block.
	Settle()
	// Lost tells whether the message was given back to the broker, and comes again: nothing more is to be done
	// about it here.
	Lost() bool
}

// comesBackTooOften is from how many earlier deliveries on a message is not read any more. The broker takes it away
// after 20, to where nobody is told of it.
const comesBackTooOften = 15

// parcel is a message on its way.
type parcel struct {
	delivery Delivery
	message  *commands.Message

	refused *problem.Problem // of all of it; there are no commands then
	cause   string           // for an engineer

	array    bool
	commands []command
	single   [1]command // the room for one

	unheard atomic.Int32 // of the commands handed over, how many were not answered yet
	later   atomic.Bool  // one of them was not taken
}

// command is one of a message's.
type command struct {
	vetting.Entry
	text    []byte // as it stands in the body
	durable bool   // known to be
}

// read reads a message and checks all that is in it.
func (in *Ingress) read(p *parcel) {
	defer func() {
		if broken := recover(); broken != nil {
			p.commands = nil
			p.refused = problem.New(commands.Internal, "")
			p.cause = fmt.Sprintf("%v\n%s", broken, debug.Stack())
			in.config.Log.Error("a message broke its reader", "err", broken, "stack", p.cause)
		}
	}()
	if p.refused = in.checkProperties(p.message); p.refused != nil {
		return
	}
	read, refused := in.config.Rules.Decode(p.message.Body)
	if refused != nil {
		p.refused = refused
		return
	}
	p.array = read.Array
	p.commands = p.single[:]
	if read.Array {
		p.commands = make([]command, len(read.Items))
	}
	for i := range read.Items {
		c := &p.commands[i]
		c.Read(&read.Items[i])
		c.text = read.Items[i].Text
	}
	in.addProperties(p)
	in.check(p)
}

// check holds the commands against their types, and seals those that nothing speaks against.
func (in *Ingress) check(p *parcel) {
	switch {
	case p.array:
		entries := make([]*vetting.Entry, len(p.commands))
		for i := range p.commands {
			entries[i] = &p.commands[i].Entry
		}
		in.config.Rules.CheckArray(entries)
	case p.commands[0].Refused == nil:
		in.config.Rules.Check(&p.commands[0].Entry)
	}
	now := in.config.Now()
	for i := range p.commands {
		if c := &p.commands[i]; c.Refused == nil {
			c.Seal(now)
		}
	}
}

// checkProperties says why the body is not looked at; nil when it is.
func (in *Ingress) checkProperties(m *commands.Message) *problem.Problem {
	switch {
	case m.Deliveries >= comesBackTooOften:
		return problem.Newf(commands.Internal, "it was delivered %d times before, and nobody has got to the end of it", m.Deliveries)
	case in.ours(m.ReplyTo):
		return problem.New(commands.Malformed, "reply_to: the queues that begin with "+in.config.Reserved+" are not for answers")
	case m.ContentType != "" && !headers.SendsJSON([]string{m.ContentType}):
		return problem.New(commands.UnsupportedMediaType, "content_type: a command is sent as application/json, in UTF-8, or with none")
	case !plain(m.ContentEncoding):
		return problem.New(commands.UnsupportedMediaType, "content_encoding: a body is taken without an encoding only")
	case m.Size > len(m.Body):
		return problem.Newf(commands.TooLarge, "the body is larger than %d bytes", in.config.Rules.Limits.Bytes)
	}
	return nil
}

// plain tells whether a content encoding says that there is none. Some libraries name the character set there.
func plain(encoding string) bool {
	return encoding == "" || strings.EqualFold(encoding, "identity") || strings.EqualFold(encoding, "utf-8")
}

// ours tells whether a queue is one of the deployment's own: an answer there would be taken for a frame of a lane.
func (in *Ingress) ours(queue string) bool { return strings.HasPrefix(queue, in.config.Reserved) }

// addProperties gives each command what the message says about it.
func (in *Ingress) addProperties(p *parcel) {
	m := p.message
	trace := traceParent(m.Headers)
	for i := range p.commands {
		c := &p.commands[i]
		c.Env.ReplyTo, c.Env.CorrelationID, c.Env.TraceParent = m.ReplyTo, m.CorrelationID, trace
		if c.Refused == nil && m.UserID != "" {
			c.setActor(m.UserID)
		}
	}
	if c := &p.commands[0]; !p.array && c.Refused == nil && c.Env.ID == commands.None && m.MessageID != "" {
		id, ok := commands.ParseID(m.MessageID)
		if !ok {
			c.Refuse(commands.Malformed, `message_id: it is the id of a command that names none itself, and must be a UUID then`)
			return
		}
		c.Env.ID = id
	}
}

func (c *command) setActor(user string) {
	if wrong := commands.ActorProblem(user); wrong != "" {
		c.Refuse(commands.Malformed, "user_id, which is the actor: "+wrong)
		return
	}
	c.Env.Actor = user
}

func traceParent(h map[string]any) string {
	switch value := h["traceparent"].(type) {
	case string:
		return vetting.TraceParent(value)
	case []byte:
		return vetting.TraceParent(string(value))
	}
	return ""
}

// refusals are what is refused of the message.
func (p *parcel) refusals(to []Refused) []Refused {
	if p.refused != nil {
		return append(to, Refused{Message: p.message, Item: Whole, Body: p.message.Body, Size: p.message.Size,
			Problem: p.refused, Cause: p.cause})
	}
	for i := range p.commands {
		c := &p.commands[i]
		if c.Refused == nil {
			continue
		}
		item := Whole
		if p.array {
			item = i
		}
		to = append(to, Refused{Message: p.message, Item: item, Body: c.text, Size: len(c.text), Problem: c.Refused})
	}
	return to
}

// reply is what is told of a refusal; false when nobody asked for it.
func (in *Ingress) reply(r *Refused) (Reply, bool) {
	m := r.Message
	if m.ReplyTo == "" || in.ours(m.ReplyTo) {
		return Reply{}, false
	}
	return Reply{To: m.ReplyTo, MessageID: r.Key().String(), CorrelationID: m.CorrelationID, Problem: r.Problem}, true
}

// Key is made of what makes the refusal the one it is: the same whenever the message is delivered again.
func (r *Refused) Key() commands.ID {
	m := r.Message
	h := sha256.New()
	for _, part := range [...]string{
		m.ReplyTo, m.CorrelationID, m.MessageID, m.UserID, m.RoutingKey, m.AppID, m.Type, string(r.Problem.Code),
	} {
		h.Write(binary.AppendUvarint(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	h.Write(binary.AppendVarint(nil, int64(r.Item)))
	h.Write(binary.AppendVarint(nil, m.SentAt.Unix()))
	h.Write(r.Body)
	var id commands.ID
	copy(id[:], h.Sum(nil))
	id[6], id[8] = 0x80|id[6]&0x0f, 0x80|id[8]&0x3f // version 8 (RFC 9562 section 5.8)
	return id
}
