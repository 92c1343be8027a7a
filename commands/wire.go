package commands

import (
	"encoding/json"
	"strconv"
	"time"
)

// Views are what the API answers with, in JSON. Each has an AppendTo that writes it without reflection,
// which is also what encoding/json writes for it, and is read back with encoding/json. Members that were
// added since a reader was built are ignored by it.

// AppendTo appends the command as the JSON that [DecodeRequest] reads. What is zero is left out, and so is
// the default policy.
func (c *Command) AppendTo(b []byte) []byte {
	b = append(b, '{')
	if c.ID != None {
		b = append(c.ID.AppendTo(append(b, `"id":"`...)), `",`...)
	}
	b = append(c.Stream.AppendTo(append(b, `"stream":"`...)), '"')
	b = appendTextMember(b, `"type":`, c.Type)
	if c.Ticket != None {
		b = appendIDMember(b, `"ticket":`, c.Ticket)
	}
	if c.Policy != PolicyTicket {
		b = appendTextMember(b, `"policy":`, c.Policy.String())
	}
	if c.Session != "" {
		b = appendTextMember(b, `"session":`, c.Session)
	}
	if c.Actor != "" {
		b = appendTextMember(b, `"actor":`, c.Actor)
	}
	if c.Data != nil {
		b = appendValueMember(b, `"data":`, c.Data)
	}
	return append(b, '}')
}

// AppendAccepted appends what is told of a command that was accepted and of which no more is known:
// {"id","stream","status":"accepted"}.
func AppendAccepted(b []byte, id ID, stream Stream) []byte {
	b = append(id.AppendTo(append(b, `{"id":"`...)), '"')
	b = appendStreamMember(b, stream)
	return append(b, `,"status":"accepted"}`...)
}

// CommandView tells where a command stands. What is filled in depends on Status:
//
//	unknown   ID
//	accepted  ID, Stream
//	parked    ID, Stream, Type, WaitsFor, Until
//	landed    ID, Stream, Type, Position, Version, Ticket
//	rejected  ID, Stream, Type, Position, Version, Ticket, Reason, Detail, Root, RootReason; Refusal when
//	          Reason is refused; State and Missed unless it was rejected in one cascade with its root
//
//nolint:recvcheck // encoding/json looks for MarshalJSON on values
type CommandView struct {
	ID       ID       `json:"id"`
	Stream   Stream   `json:"stream,omitzero"`
	Type     string   `json:"type,omitempty"`
	Status   Status   `json:"status"`
	Position Position `json:"position,omitzero"`
	Version  uint64   `json:"version"`
	Ticket   ID       `json:"ticket,omitzero"` // the one to send next

	Reason     Reason          `json:"reason,omitempty"`
	Refusal    string          `json:"refusal,omitempty"` // the aggregate's own code
	Detail     string          `json:"detail,omitempty"`
	Root       ID              `json:"root,omitzero"`
	RootReason Reason          `json:"root_reason,omitempty"`
	State      json.RawMessage `json:"state,omitempty"`  // nil: not told
	Missed     []ChangeView    `json:"missed,omitempty"` // nil: not told

	WaitsFor ID        `json:"waits_for,omitzero"`
	Until    time.Time `json:"until,omitzero"`

	// Cascaded: rejected in one cascade with its root. It is not told itself.
	Cascaded bool `json:"-"`
}

// MaxMissed is how many changes a rejection tells at most, the newest.
const MaxMissed = 100

// ViewOutcome is the view of an outcome in the log of an epoch. A rejection lacks what is filled in when
// it is told; see [CommandView.FillIn].
func ViewOutcome(epoch string, o *Outcome) CommandView {
	v := CommandView{
		ID: o.ID, Stream: o.Stream, Type: o.Type, Status: StatusLanded,
		Position: Position{Epoch: epoch, N: o.Position}, Version: o.Version, Ticket: o.ID,
	}
	if o.Landed() {
		return v
	}
	v.Status, v.Ticket = StatusRejected, None
	v.Reason, v.Refusal, v.Detail = o.Reason, o.Refusal, o.Detail
	v.Root, v.RootReason, v.Cascaded = o.Root, o.RootReason, o.Cascaded
	return v
}

// FillIn completes a rejection with the stream as of one moment: the ticket to send next, the version,
// the state (nil before the first event) and the changes missed since the ticket it came with, oldest
// first, of which the newest [MaxMissed] are kept. What was cascaded takes no state and no changes.
func (v *CommandView) FillIn(ticket ID, version uint64, state []byte, missed []ChangeView) {
	v.Ticket, v.Version = ticket, version
	if v.Cascaded {
		return
	}
	if state == nil {
		state = []byte("null")
	}
	v.State = state
	v.Missed = append([]ChangeView{}, missed[max(0, len(missed)-MaxMissed):]...)
}

// AppendTo appends the view as JSON.
func (v *CommandView) AppendTo(b []byte) []byte {
	b = append(v.ID.AppendTo(append(b, `{"id":"`...)), '"')
	if v.Stream != (Stream{}) {
		b = appendStreamMember(b, v.Stream)
	}
	if v.Type != "" {
		b = appendTextMember(b, `"type":`, v.Type)
	}
	b = appendTextMember(b, `"status":`, string(v.Status))
	switch v.Status {
	case StatusUnknown, StatusAccepted: // no more is known
	case StatusParked:
		b = appendIDMember(b, `"waits_for":`, v.WaitsFor)
		b = appendTimeMember(b, `"until":`, v.Until)
	case StatusLanded:
		b = v.appendPlace(b)
	case StatusRejected:
		b = v.appendPlace(b)
		b = appendTextMember(b, `"detail":`, v.Detail)
		b = v.appendRejection(b)
	}
	return append(b, '}')
}

// AppendMembers appends what a rejection's problem tells beyond its own members, each after a comma: id,
// stream, position, version, ticket, reason, refusal, root, root_reason, state and missed. A problem's
// own type and status are other things than a command's, which are therefore left out.
func (v *CommandView) AppendMembers(b []byte) []byte {
	b = appendIDMember(b, `"id":`, v.ID)
	b = appendStreamMember(b, v.Stream)
	b = v.appendPlace(b)
	return v.appendRejection(b)
}

func (v *CommandView) appendPlace(b []byte) []byte {
	b = appendPositionMember(b, v.Position)
	b = appendNumberMember(b, `"version":`, v.Version)
	if v.Ticket != None {
		b = appendIDMember(b, `"ticket":`, v.Ticket)
	}
	return b
}

func (v *CommandView) appendRejection(b []byte) []byte {
	b = appendTextMember(b, `"reason":`, string(v.Reason))
	if v.Refusal != "" {
		b = appendTextMember(b, `"refusal":`, v.Refusal)
	}
	b = appendIDMember(b, `"root":`, v.Root)
	b = appendTextMember(b, `"root_reason":`, string(v.RootReason))
	if v.State != nil {
		b = appendValueMember(b, `"state":`, v.State)
	}
	if v.Missed != nil {
		b = append(b, `,"missed":`...)
		b = AppendChanges(b, v.Missed)
	}
	return b
}

// MarshalJSON is AppendTo.
func (v CommandView) MarshalJSON() ([]byte, error) { return v.AppendTo(nil), nil }

// ActorView names a command by what everybody may see of it.
type ActorView struct {
	ID       ID     `json:"id"`
	Type     string `json:"type"`
	Actor    string `json:"actor"`
	Override bool   `json:"override,omitempty"` // let in by policy any, its ticket unchecked
}

// AppendTo appends the view as JSON.
func (v *ActorView) AppendTo(b []byte) []byte {
	b = append(v.ID.AppendTo(append(b, `{"id":"`...)), '"')
	b = appendTextMember(b, `"type":`, v.Type)
	b = appendTextMember(b, `"actor":`, v.Actor)
	if v.Override {
		b = append(b, `,"override":true`...)
	}
	return append(b, '}')
}

// ChangeView is one entry of a stream's changelog: an event and the command that caused it.
//
//nolint:recvcheck // encoding/json looks for MarshalJSON on values
type ChangeView struct {
	Version  uint64          `json:"version"`
	Position Position        `json:"position,omitzero"`
	Type     string          `json:"type"` // the event's
	Data     json.RawMessage `json:"data"`
	Command  ActorView       `json:"command"`
	At       time.Time       `json:"at"`
}

// AppendTo appends the view as JSON.
func (v *ChangeView) AppendTo(b []byte) []byte {
	b = strconv.AppendUint(append(b, `{"version":`...), v.Version, 10)
	b = appendPositionMember(b, v.Position)
	b = appendTextMember(b, `"type":`, v.Type)
	b = appendValueMember(b, `"data":`, v.Data)
	b = v.Command.AppendTo(append(b, `,"command":`...))
	b = appendTimeMember(b, `"at":`, v.At)
	return append(b, '}')
}

// MarshalJSON is AppendTo.
func (v ChangeView) MarshalJSON() ([]byte, error) { return v.AppendTo(nil), nil }

// AppendChanges appends a changelog as a JSON array.
func AppendChanges(b []byte, changes []ChangeView) []byte {
	b = append(b, '[')
	for i := range changes {
		if i > 0 {
			b = append(b, ',')
		}
		b = changes[i].AppendTo(b)
	}
	return append(b, ']')
}

// StreamView is a stream as of one version.
//
//nolint:recvcheck // encoding/json looks for MarshalJSON on values
type StreamView struct {
	Stream   Stream          `json:"stream"`
	Version  uint64          `json:"version"`
	Ticket   ID              `json:"ticket"`            // the one to send next
	State    json.RawMessage `json:"state,omitempty"`   // nil: not told, as in the catalog
	At       time.Time       `json:"at"`                // when the last action landed
	Position Position        `json:"position,omitzero"` // where to go on with notifications
}

// AppendTo appends the view as JSON.
func (v *StreamView) AppendTo(b []byte) []byte {
	b = append(v.Stream.AppendTo(append(b, `{"stream":"`...)), '"')
	b = appendNumberMember(b, `"version":`, v.Version)
	b = appendIDMember(b, `"ticket":`, v.Ticket)
	if v.State != nil {
		b = appendValueMember(b, `"state":`, v.State)
	}
	b = appendTimeMember(b, `"at":`, v.At)
	b = appendPositionMember(b, v.Position)
	return append(b, '}')
}

// MarshalJSON is AppendTo.
func (v StreamView) MarshalJSON() ([]byte, error) { return v.AppendTo(nil), nil }

// StreamsView is one page of the catalog of streams.
//
//nolint:recvcheck // encoding/json looks for MarshalJSON on values
type StreamsView struct {
	Items []StreamView `json:"items"` // without their states
	After string       `json:"after"` // what to ask for the next page with; empty on the last one
}

// AppendTo appends the view as JSON.
func (v *StreamsView) AppendTo(b []byte) []byte {
	b = append(b, `{"items":[`...)
	for i := range v.Items {
		if i > 0 {
			b = append(b, ',')
		}
		b = v.Items[i].AppendTo(b)
	}
	return append(appendTextMember(append(b, ']'), `"after":`, v.After), '}')
}

// MarshalJSON is AppendTo.
func (v StreamsView) MarshalJSON() ([]byte, error) { return v.AppendTo(nil), nil }

// LimitsView is what GET /v1/limits answers.
type LimitsView struct {
	MaxArray         int `json:"max_array"`          // commands in one POST
	MaxBody          int `json:"max_body"`           // bytes
	MaxDepth         int `json:"max_depth"`          // of nested arrays and objects
	MaxWatched       int `json:"max_watched"`        // streams of one connection
	ParkedPerStream  int `json:"parked_per_stream"`  // commands waiting
	ParkedPerSession int `json:"parked_per_session"` // commands waiting
	Parked           int `json:"parked"`             // commands waiting, in all
	ParkSeconds      int `json:"park_seconds"`       // how long one waits, unless its type says otherwise
}
