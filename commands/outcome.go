package commands

import (
	"strconv"
	"strings"
	"time"
)

// Event is a fact that happened on a stream, never edited.
type Event struct {
	Type   string // past tense, e.g. line_added
	Schema int    // the version of the event's own shape, from 1; older ones are upcast when read
	Data   []byte // JSON, the bytes as the type wrote them
}

// Outcome is the one terminal result of a command: landed with its events, or rejected with a reason.
type Outcome struct {
	Position uint64 // place in the global log, from 1; given by the store at commit
	ID       ID
	Stream   Stream
	Type     string // the command's
	Ticket   ID
	Policy   Policy
	Session  string
	Actor    string
	Hash     Hash
	At       time.Time // when it was judged, UTC, whole microseconds
	// ReceivedAt is when a gateway took the command. It is told to those who watch commits, not stored.
	ReceivedAt time.Time
	// Via is the gateway that took it, as far as that is known; likewise.
	Via     string
	Version uint64 // the stream's version after it

	Events []Event // of a landing; the last one has version Version

	Reason     Reason // empty: landed
	Refusal    string // the aggregate's own code when Reason is refused
	Detail     string // one sentence for a person
	Root       ID     // the rejected command at the start of the cascade; its own id when it is the root
	RootReason Reason
	Cascaded   bool // rejected together with its root, in one cascade

	ReplyTo       string
	CorrelationID string
	TraceParent   string
}

// Landed tells a landing from a rejection.
func (o *Outcome) Landed() bool { return o.Reason == "" }

// FirstVersion is the version of the first event of a landing, Version+1 when it has none.
func (o *Outcome) FirstVersion() uint64 { return o.Version - uint64(len(o.Events)) + 1 }

// Status is where a command stands.
type Status string

// The values of Status.
const (
	StatusUnknown  Status = "unknown"
	StatusAccepted Status = "accepted"
	StatusParked   Status = "parked"
	StatusLanded   Status = "landed"
	StatusRejected Status = "rejected"
)

// Position is a place in the log of one epoch; its text is "<epoch>-<n>".
type Position struct {
	Epoch string
	N     uint64
}

func (p Position) String() string {
	return p.Epoch + "-" + strconv.FormatUint(p.N, 10)
}

// ParsePosition reads "<epoch>-<n>".
func ParsePosition(text string) (Position, error) {
	if cut := strings.LastIndexByte(text, '-'); cut > 0 {
		if n, err := strconv.ParseUint(text[cut+1:], 10, 64); err == nil && text[cut+1] != '+' {
			return Position{Epoch: text[:cut], N: n}, nil
		}
	}
	return Position{}, &FormatError{What: "position", Value: text, Want: "<epoch>-<number>"}
}
