// Package problem is how Doorman says no over HTTP: problem details after RFC 9457, made from a reason,
// written as application/problem+json, and read back by the client.
//
//	p := problem.New(commands.PolicyForbidden, "An order takes any for assign_owner alone.")
//	p.Allowed = []string{"ticket", "strict", "session"}
//	problem.Write(w, p)
//
// # Members
//
// code is the reason, and what programs go by. type is /problems/<code>, a reference from the server's
// root (RFC 9457 section 3.1.1) where [Explain] answers; title is the reason's own and never changes;
// detail is about this occurrence. A rejection told as a problem carries all that
// [commands.CommandView] does, except that type and status are the problem's here, and instance is where
// the command's status is found. A refusal carries what helps to do better: pointer and offset of what is
// wrong in the body, ticket to start with, allowed policies or methods, retry_after in seconds.
package problem

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ticketed/doorman/commands"
)

// ContentType is the media type of a problem.
const ContentType = "application/problem+json"

// TypePrefix comes before the code in a problem's type.
const TypePrefix = "/problems/"

// Problem is one refusal or rejection. It is an error too, so that a client can hand it on.
//
//nolint:errname // it is what RFC 9457 calls it, and an error besides
type Problem struct {
	Code     commands.Reason
	Type     string // URI reference of the kind of problem
	Title    string // of the kind
	Status   int    // HTTP
	Detail   string // of this occurrence, one sentence; empty when the title says all
	Instance string // URI reference of this occurrence; empty for none

	Place      *Place          // what is wrong in the body; nil when it is not that
	ID         commands.ID     // of the command refused, where it is known
	Stream     commands.Stream // of the command refused, where it is known
	Ticket     commands.ID     // the one to send next; None when it is not told
	Allowed    []string        // policies or methods; nil when that is not the question
	RetryAfter time.Duration   // when to try again, told in whole seconds, rounded up; 0 when it is not told

	// Rejection is set when this tells the outcome of a command that was turned away. ID, Stream and
	// Ticket are repeated from it.
	Rejection *commands.CommandView
}

// Place is where in a body something is wrong.
type Place struct {
	Pointer string // JSON pointer (RFC 6901); empty for the whole body
	Offset  int    // bytes from the start of the body
}

// New is the problem of a reason; detail may be empty.
func New(code commands.Reason, detail string) *Problem {
	return &Problem{
		Code: code, Type: TypePrefix + string(code), Title: code.Title(), Status: code.Status(), Detail: detail,
	}
}

// Newf is New with a formatted detail.
func Newf(code commands.Reason, format string, args ...any) *Problem {
	return New(code, fmt.Sprintf(format, args...))
}

// Rejected is the problem of a rejection, which it keeps.
func Rejected(view *commands.CommandView) *Problem {
	p := New(view.Reason, view.Detail)
	p.Instance = "/v1/commands/" + view.ID.String()
	p.ID, p.Stream, p.Ticket = view.ID, view.Stream, view.Ticket
	p.Rejection = view
	return p
}

// From is the problem of an error: itself if it is one, the place of what is malformed, else internal,
// with no word of the cause, which is for the log and not for the client.
func From(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if m, ok := errors.AsType[*commands.MalformedError](err); ok {
		p := New(m.Code, m.Detail)
		p.Place = &Place{Pointer: m.Pointer, Offset: m.Offset}
		return p
	}
	return New(commands.Internal, "")
}

func (p *Problem) Error() string {
	text := string(p.Code)
	if text == "" {
		text = strconv.Itoa(p.Status)
	}
	switch {
	case p.Detail != "":
		text += ": " + p.Detail
	case p.Title != "":
		text += ": " + p.Title
	}
	if p.Place != nil {
		text += fmt.Sprintf(" (%s, at byte %d)", strconv.Quote(p.Place.Pointer), p.Place.Offset)
	}
	return text
}

// AppendTo appends the problem as JSON: the body of an answer, or an item of an array's answer.
func (p *Problem) AppendTo(b []byte) []byte {
	b = commands.AppendJSONString(append(b, `{"type":`...), p.Type)
	b = commands.AppendJSONString(append(b, `,"title":`...), p.Title)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(p.Status), 10)
	if p.Detail != "" || p.Rejection != nil {
		b = commands.AppendJSONString(append(b, `,"detail":`...), p.Detail)
	}
	if p.Instance != "" {
		b = commands.AppendJSONString(append(b, `,"instance":`...), p.Instance)
	}
	b = commands.AppendJSONString(append(b, `,"code":`...), string(p.Code))
	if p.Place != nil {
		b = commands.AppendJSONString(append(b, `,"pointer":`...), p.Place.Pointer)
		b = strconv.AppendInt(append(b, `,"offset":`...), int64(p.Place.Offset), 10)
	}
	if p.Allowed != nil {
		b = append(b, `,"allowed":[`...)
		for i, name := range p.Allowed {
			if i > 0 {
				b = append(b, ',')
			}
			b = commands.AppendJSONString(b, name)
		}
		b = append(b, ']')
	}
	if seconds := p.retrySeconds(); seconds > 0 {
		b = strconv.AppendInt(append(b, `,"retry_after":`...), seconds, 10)
	}
	if p.Rejection != nil {
		return append(p.Rejection.AppendMembers(b), '}')
	}
	return append(p.appendNames(b), '}')
}

func (p *Problem) appendNames(b []byte) []byte {
	if p.ID != commands.None {
		b = append(p.ID.AppendTo(append(b, `,"id":"`...)), '"')
	}
	if p.Stream != (commands.Stream{}) {
		b = append(p.Stream.AppendTo(append(b, `,"stream":"`...)), '"')
	}
	if p.Ticket != commands.None {
		b = append(p.Ticket.AppendTo(append(b, `,"ticket":"`...)), '"')
	}
	return b
}

// retrySeconds is never less than RetryAfter (RFC 9110 section 10.2.3 knows whole seconds only).
func (p *Problem) retrySeconds() int64 {
	return int64((p.RetryAfter + time.Second - 1) / time.Second)
}

// MarshalJSON is AppendTo.
func (p *Problem) MarshalJSON() ([]byte, error) { return p.AppendTo(nil), nil }

// wire is a problem as it is read. What is missing has the value RFC 9457 gives it.
type wire struct {
	Type       *string         `json:"type"`
	Title      string          `json:"title"`
	Status     int             `json:"status"`
	Detail     string          `json:"detail"`
	Instance   string          `json:"instance"`
	Code       commands.Reason `json:"code"`
	Pointer    string          `json:"pointer"`
	Offset     *int            `json:"offset"`
	Allowed    []string        `json:"allowed"`
	RetryAfter int64           `json:"retry_after"`

	ID         commands.ID           `json:"id"`
	Stream     commands.Stream       `json:"stream"`
	Ticket     commands.ID           `json:"ticket"`
	Position   commands.Position     `json:"position"`
	Version    uint64                `json:"version"`
	Reason     commands.Reason       `json:"reason"`
	Refusal    string                `json:"refusal"`
	Root       commands.ID           `json:"root"`
	RootReason commands.Reason       `json:"root_reason"`
	State      json.RawMessage       `json:"state"`
	Missed     []commands.ChangeView `json:"missed"`
}

// UnmarshalJSON reads a problem, Doorman's or another's: one without code has an empty one. The type of
// a rejected command is not told in its problem, so Rejection.Type is empty.
func (p *Problem) UnmarshalJSON(text []byte) error {
	var w wire
	if err := json.Unmarshal(text, &w); err != nil {
		return fmt.Errorf("read problem: %w", err)
	}
	*p = Problem{
		Code: w.Code, Type: "about:blank", Title: w.Title, Status: w.Status, Detail: w.Detail, Instance: w.Instance,
		ID: w.ID, Stream: w.Stream, Ticket: w.Ticket, Allowed: w.Allowed,
		RetryAfter: time.Duration(w.RetryAfter) * time.Second,
	}
	if w.Type != nil {
		p.Type = *w.Type
	}
	if w.Offset != nil {
		p.Place = &Place{Pointer: w.Pointer, Offset: *w.Offset}
	}
	if w.Reason != "" {
		p.Rejection = &commands.CommandView{
			ID: w.ID, Stream: w.Stream, Status: commands.StatusRejected, Position: w.Position, Version: w.Version,
			Ticket: w.Ticket, Reason: w.Reason, Refusal: w.Refusal, Detail: w.Detail, Root: w.Root,
			RootReason: w.RootReason, State: w.State, Missed: w.Missed,
		}
	}
	return nil
}
