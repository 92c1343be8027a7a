package frame

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/ticketed/doorman/commands"
)

// Count tells how many commands a frame has without reading them. Its errors are those of Decode, which
// may find more.
func Count(payload []byte) (int, error) {
	if len(payload) == 0 {
		return 0, &CorruptError{Offset: 0, Problem: "nothing there, not even a version"}
	}
	if payload[0] != version && payload[0] != orderVersion {
		return 0, &VersionError{Version: payload[0]}
	}
	r := reader{payload: payload, at: 1, end: len(payload)}
	n := 0
	for r.at < len(payload) {
		size := r.size(0)
		if r.problem == "" && size < smallest {
			r.fail("a command of %d bytes, which is too short for one", size)
		}
		if r.problem != "" {
			return 0, r.err()
		}
		r.at += size
		n++
	}
	return n, nil
}

// Decode reads a frame: its commands in the order they were appended, none for a frame that has only
// begun. Anything else than a whole frame is a *CorruptError, or a *VersionError when the frame is of a
// version that this program does not know.
//
// The Data of the envelopes is a part of the payload, which must not be changed any more, and their texts
// are parts of one string: whoever keeps a small piece for long should clone it, or it keeps the frame.
func Decode(payload []byte) ([]commands.Envelope, error) {
	n, err := Count(payload)
	if err != nil {
		return nil, err
	}
	envs := make([]commands.Envelope, n)
	r := reader{payload: payload, text: string(payload), at: 1}
	for i := range envs {
		r.end = len(payload)
		size := r.size(0)
		r.end = r.at + size
		r.command(&envs[i])
		if r.problem == "" && r.at != r.end {
			r.fail("%d bytes too many in a command", r.end-r.at)
		}
		if r.problem != "" {
			return nil, r.err()
		}
	}
	return envs, nil
}

// reader walks over a payload up to end. After a problem it stands still at the byte in question.
type reader struct {
	payload []byte
	text    string // the same bytes
	at, end int
	problem string
}

func (r *reader) fail(format string, args ...any) {
	r.problem = fmt.Sprintf(format, args...)
	r.end = r.at
}

func (r *reader) err() error { return &CorruptError{Offset: r.at, Problem: r.problem} }

func (r *reader) command(env *commands.Envelope) {
	// Count has seen to it that a command has room for the fields of fixed size.
	b := r.payload[r.at:]
	copy(env.ID[:], b[0:16])
	copy(env.Ticket[:], b[16:32])
	copy(env.Hash[:], b[32:48])
	policy := b[48]
	if r.payload[0] == orderVersion {
		env.Order, policy = commands.Order(policy>>orderShift), policy&policyOfOrder
	}
	if env.Policy = commands.Policy(policy); int(env.Policy) >= len(policies) {
		r.at += 48
		r.fail("policy %d, which is unknown", policy)
		return
	}
	env.ReceivedAt = time.UnixMicro(int64(binary.BigEndian.Uint64(b[49:57]))).UTC()
	r.at += fixedSize
	env.Stream.Tenant = r.string()
	env.Stream.Type = r.string()
	env.Stream.ID = r.string()
	env.Type = r.string()
	env.Session = r.string()
	env.Actor = r.string()
	env.ReplyTo = r.string()
	env.CorrelationID = r.string()
	env.TraceParent = r.string()
	env.Data = r.data()
}

var policies = commands.Policies()

func (r *reader) string() string {
	at := r.at
	if at < r.end { // nearly every length is one byte; after a problem at is end
		if size := int(r.payload[at]); size < 0x80 && size < r.end-at {
			r.at = at + 1 + size
			return r.text[at+1 : r.at]
		}
	}
	return r.longString()
}

func (r *reader) longString() string {
	size := r.size(0)
	from := r.at
	if r.problem != "" {
		return ""
	}
	r.at += size
	return r.text[from:r.at]
}

func (r *reader) data() []byte {
	if r.at < r.end && r.payload[r.at] == 0 {
		r.at++
		return nil
	}
	size := r.size(1)
	from := r.at
	if r.problem != "" {
		return nil
	}
	r.at += size
	return r.payload[from:r.at:r.at]
}

// size reads a uvarint, takes off what the writer added to it, and checks that so many bytes follow.
func (r *reader) size(added uint64) int {
	if r.problem != "" {
		return 0
	}
	value, width := binary.Uvarint(r.payload[r.at:r.end])
	if width <= 0 {
		r.fail("a length that does not end")
		return 0
	}
	if value < added || value-added > uint64(r.end-r.at-width) {
		r.fail("a length of %d where %d bytes are left", value, r.end-r.at-width)
		return 0
	}
	r.at += width
	return int(value - added)
}
