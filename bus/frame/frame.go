// Package frame is the wire form of what travels on a lane: a list of commands.Envelope in one buffer.
//
// A frame is built by appending to an empty buffer and read back in one go:
//
//	var payload []byte
//	for _, env := range envelopes {
//		payload = frame.Append(payload, env)
//	}
//	back, err := frame.Decode(payload)
//
// # Format, versions 1 and 2
//
//	frame    = version:byte command*             2 when there is an order in it, 1 otherwise
//	command  = size:uvarint body                 size counts the bytes of the body
//	body     = id:16 ticket:16 hash:16 policy:1 received:8
//	           tenant type id command session actor reply_to correlation trace_parent data
//	policy   = the policy; in version 2, in its upper half the number of an order, 0 for a command
//	received = big-endian microseconds since 1970, two's complement
//	text     = size:uvarint bytes                every field of the second line but data
//	data     = 0 | size+1:uvarint bytes          0: the command has no data
//
// Any change to it takes a new version number: frames outlive processes, on a broker's disk. An order has a
// version of its own since a release that knows only commands must not take it for one; and all other frames stay
// as they were, so that such a release may work beside this one.
package frame

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/ticketed/doorman/commands"
)

const (
	version       = 1
	orderVersion  = 2
	orderShift    = 4
	policyOfOrder = 1<<orderShift - 1

	// fixedSize is that of the fields that always take the same room.
	fixedSize = 16 + 16 + 16 + 1 + 8
	// smallest is a command whose texts are all empty: one byte each, and one for the data.
	smallest = fixedSize + textFields + 1

	textFields = 9
)

// CorruptError says at which byte a payload stops being a frame.
type CorruptError struct {
	Offset  int // into the payload
	Problem string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("frame is corrupt at byte %d: %s", e.Offset, e.Problem)
}

// VersionError says that a frame was made by another version of this program, usually a newer one.
type VersionError struct{ Version byte }

func (e *VersionError) Error() string {
	return fmt.Sprintf("frame has version %d; this program reads versions %d and %d: it was made by another release",
		e.Version, version, orderVersion)
}

// Append adds a command to the frame in b, which it begins when b is empty, and returns the extended
// buffer. The envelope is not kept.
func Append(b []byte, env *commands.Envelope) []byte {
	if len(b) == 0 {
		b = append(b, version)
	}
	if env.Order != commands.NoOrder {
		b[0] = orderVersion
	}
	b = binary.AppendUvarint(b, uint64(bodySize(env)))
	b = append(b, env.ID[:]...)
	b = append(b, env.Ticket[:]...)
	b = append(b, env.Hash[:]...)
	b = append(b, byte(env.Policy)|byte(env.Order)<<orderShift)
	b = binary.BigEndian.AppendUint64(b, uint64(env.ReceivedAt.UnixMicro()))
	for _, text := range texts(env) {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	if env.Data == nil {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(env.Data))+1)
	return append(b, env.Data...)
}

// Size is how many bytes Append adds for a command to a frame that has begun; to an empty one it adds
// one more.
func Size(env *commands.Envelope) int {
	body := bodySize(env)
	return uvarintSize(body) + body
}

func bodySize(env *commands.Envelope) int {
	size := fixedSize
	for _, text := range texts(env) {
		size += uvarintSize(len(text)) + len(text)
	}
	if env.Data == nil {
		return size + 1
	}
	return size + uvarintSize(len(env.Data)+1) + len(env.Data)
}

// texts are the text fields in the order of the wire; Decode reads them in the same order.
func texts(env *commands.Envelope) [textFields]string {
	return [...]string{
		env.Stream.Tenant, env.Stream.Type, env.Stream.ID, env.Type,
		env.Session, env.Actor, env.ReplyTo, env.CorrelationID, env.TraceParent,
	}
}

func uvarintSize(n int) int { return (bits.Len64(uint64(n)|1) + 6) / 7 }
