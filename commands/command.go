package commands

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"
)

// Policy says how a command's ticket is checked (DESIGN section 2).
type Policy uint8

// The policies; PolicyTicket is the default.
const (
	PolicyTicket  Policy = iota // admit, park or reject by the ticket
	PolicyStrict                // admit when the ticket is valid now, else reject at once
	PolicySession               // one session's own quick clicks are taken in arrival order
	PolicyAny                   // no check: the last write wins
)

var policyNames = [...]string{"ticket", "strict", "session", "any"}

// Policies are all of them, in the order of their values.
func Policies() []Policy { return []Policy{PolicyTicket, PolicyStrict, PolicySession, PolicyAny} }

// ParsePolicy reads a policy's name; the empty text is the default, ticket.
func ParsePolicy(text string) (Policy, bool) {
	if text == "" {
		return PolicyTicket, true
	}
	for i, name := range policyNames {
		if name == text {
			return Policy(i), true
		}
	}
	return 0, false
}

func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return "unknown"
}

// Command is a request to change one stream.
type Command struct {
	ID      ID
	Stream  Stream
	Type    string // the imperative name, e.g. add_line
	Ticket  ID     // None only under PolicyAny
	Policy  Policy
	Session string // the client instance that is told the outcome; a secret of that client
	Actor   string // who did it, shown to everybody
	Data    []byte // the JSON as it was sent; nil when there was none
}

// Hash identifies a command's payload.
type Hash [16]byte

// Hash covers what must be equal for a command sent again under the same id to be a repeat: stream,
// type, ticket, policy and the bytes of data (the first 128 bits of their SHA-256).
func (c *Command) Hash() Hash {
	var scratch [512]byte
	b := scratch[:0]
	for _, part := range [...]string{c.Stream.Tenant, c.Stream.Type, c.Stream.ID, c.Type} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	b = append(b, c.Ticket[:]...)
	b = append(b, byte(c.Policy))
	b = append(b, c.Data...)
	sum := sha256.Sum256(b)
	return Hash(sum[:16])
}

// Envelope is an accepted command on its way: with it travels everything that must outlive a process,
// over the bus and in the parking lot.
type Envelope struct {
	Command
	Hash          Hash      // of the payload, made once where the command is accepted
	ReceivedAt    time.Time // when the gateway took it, UTC, whole microseconds
	ReplyTo       string    // where another service wants the outcome; empty for none
	CorrelationID string    // what that service calls it
	TraceParent   string    // W3C trace context of the request
	// Order is what an operator wants done with another command; this is one itself when it is NoOrder.
	Order Order
	// Via is the gateway that took it, while it is on its way; it is not stored.
	Via string
}

// Seal makes the envelope of a command accepted at the given moment.
func Seal(c Command, at time.Time) Envelope {
	return Envelope{Command: c, Hash: c.Hash(), ReceivedAt: at.UTC().Truncate(time.Microsecond)}
}

// Clone shares no memory with the envelope: what is kept for long must not keep a whole frame.
func (e *Envelope) Clone() Envelope {
	c := *e
	c.Stream = e.Stream.Clone()
	for _, text := range []*string{&c.Type, &c.Session, &c.Actor, &c.ReplyTo, &c.CorrelationID, &c.TraceParent, &c.Via} {
		*text = strings.Clone(*text)
	}
	c.Data = bytes.Clone(e.Data)
	return c
}
