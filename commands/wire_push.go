package commands

import (
	"encoding/json"
	"time"
)

// The names of what is pushed over GET /v1/notifications (DESIGN section 3).
const (
	PushState    = "state"    // a stream changed, or is as it is told: [PushView]
	PushParked   = "parked"   // one of the session's commands waits: [ParkedView]
	PushLanded   = "landed"   // one of the session's commands landed: [LandedView]
	PushRejected = "rejected" // one of the session's commands was rejected: [CommandView]
	PushReset    = "reset"    // what follows does not go on from where the reader was: [ResetView]
	PushRefused  = "refused"  // a stream cannot be watched, or an id is another command's: [RefusedView]
)

// PushView is a stream after a landing, or after several that were merged, or as it is when somebody
// begins to watch it.
//
//nolint:recvcheck // encoding/json looks for MarshalJSON on values
type PushView struct {
	Stream   Stream          `json:"stream"`
	Version  uint64          `json:"version"`
	Ticket   ID              `json:"ticket"`          // the one to send next
	State    json.RawMessage `json:"state,omitempty"` // nil: not told
	Position Position        `json:"position"`        // of the newest landing told
	Command  *ActorView      `json:"command,omitempty"`
	Events   []ChangeView    `json:"events,omitzero"`  // the newest [MaxMissed] of those told; nil: not told
	Merged   uint64          `json:"merged,omitempty"` // how many landings are told at once, when it is more than one
	At       time.Time       `json:"at,omitzero"`
}

// AppendTo appends the view as JSON.
func (v *PushView) AppendTo(b []byte) []byte {
	b = append(v.Stream.AppendTo(append(b, `{"stream":"`...)), '"')
	b = appendNumberMember(b, `"version":`, v.Version)
	b = appendIDMember(b, `"ticket":`, v.Ticket)
	if v.State != nil {
		b = appendValueMember(b, `"state":`, v.State)
	}
	b = appendPositionMember(b, v.Position)
	if v.Command != nil {
		b = v.Command.AppendTo(append(b, `,"command":`...))
	}
	if v.Events != nil {
		b = AppendChanges(append(b, `,"events":`...), v.Events)
	}
	if v.Merged > 1 {
		b = appendNumberMember(b, `"merged":`, v.Merged)
	}
	if !v.At.IsZero() {
		b = appendTimeMember(b, `"at":`, v.At)
	}
	return append(b, '}')
}

// MarshalJSON is AppendTo.
func (v PushView) MarshalJSON() ([]byte, error) { return v.AppendTo(nil), nil }

// LandedView tells a session that one of its commands landed.
type LandedView struct {
	ID       ID       `json:"id"`
	Stream   Stream   `json:"stream"`
	Version  uint64   `json:"version"`
	Ticket   ID       `json:"ticket"` // the one to send next: its own id
	Position Position `json:"position"`
}

// AppendTo appends the view as JSON.
func (v *LandedView) AppendTo(b []byte) []byte {
	b = append(v.ID.AppendTo(append(b, `{"id":"`...)), '"')
	b = appendStreamMember(b, v.Stream)
	b = appendNumberMember(b, `"version":`, v.Version)
	b = appendIDMember(b, `"ticket":`, v.Ticket)
	return append(appendPositionMember(b, v.Position), '}')
}

// ParkedView tells a session that one of its commands waits, and until when at the most.
type ParkedView struct {
	ID       ID        `json:"id"`
	Stream   Stream    `json:"stream"`
	WaitsFor ID        `json:"waits_for"`
	Until    time.Time `json:"until"`
}

// AppendTo appends the view as JSON.
func (v *ParkedView) AppendTo(b []byte) []byte {
	b = append(v.ID.AppendTo(append(b, `{"id":"`...)), '"')
	b = appendStreamMember(b, v.Stream)
	b = appendIDMember(b, `"waits_for":`, v.WaitsFor)
	return append(appendTimeMember(b, `"until":`, v.Until), '}')
}

// ResetReason says why a reader cannot go on from where it was.
type ResetReason string

// The reasons of a reset.
const (
	ResetEpoch     ResetReason = "epoch"     // the log is another history, as after a restore
	ResetAhead     ResetReason = "ahead"     // the position or version lies above the head
	ResetTooFar    ResetReason = "too_far"   // it is too long ago to tell everything since
	ResetMalformed ResetReason = "malformed" // the position cannot be read
)

// ResetView tells a reader that snapshots follow anew, and that outcomes of its own commands may have
// been missed: ask for those by id.
type ResetView struct {
	Reason ResetReason `json:"reason"`
}

// AppendTo appends the view as JSON.
func (v *ResetView) AppendTo(b []byte) []byte {
	return append(AppendJSONString(append(b, `{"reason":`...), string(v.Reason)), '}')
}

// RefusedView tells that a stream is not watched (unknown_type; failed when the type's code cannot tell
// its state), or with an ID that what was sent under it was not taken (id_conflict).
type RefusedView struct {
	ID     ID     `json:"id,omitzero"`
	Stream Stream `json:"stream"`
	Code   Reason `json:"code"`
	Detail string `json:"detail,omitempty"`
}

// AppendTo appends the view as JSON.
func (v *RefusedView) AppendTo(b []byte) []byte {
	b = append(v.Stream.AppendTo(append(b, `{"stream":"`...)), '"')
	if v.ID != None {
		b = appendIDMember(b, `"id":`, v.ID)
	}
	b = appendTextMember(b, `"code":`, string(v.Code))
	if v.Detail != "" {
		b = appendTextMember(b, `"detail":`, v.Detail)
	}
	return append(b, '}')
}

// ItemView is one push in the answer of a long poll: what an SSE message would have been.
type ItemView struct {
	Event string          `json:"event"`
	ID    string          `json:"id,omitempty"`
	Data  json.RawMessage `json:"data"`
}

// PollView is the answer of a long poll: where to go on, and what was pushed.
type PollView struct {
	After string     `json:"after"`
	Items []ItemView `json:"items"`
}

// AppendTo appends the view as JSON.
func (v *PollView) AppendTo(b []byte) []byte {
	b = AppendJSONString(append(b, `{"after":`...), v.After)
	b = append(b, `,"items":[`...)
	for i := range v.Items {
		if i > 0 {
			b = append(b, ',')
		}
		item := &v.Items[i]
		b = AppendJSONString(append(b, `{"event":`...), item.Event)
		if item.ID != "" {
			b = AppendJSONString(append(b, `,"id":`...), item.ID)
		}
		b = append(append(b, `,"data":`...), item.Data...)
		b = append(b, '}')
	}
	return append(b, ']', '}')
}
