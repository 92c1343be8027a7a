package admin

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// Moment is a time, told as all times are: RFC 3339 in UTC with whole microseconds.
type Moment time.Time

// MarshalText is encoding.TextMarshaler's.
func (m Moment) MarshalText() ([]byte, error) { return commands.AppendTime(nil, time.Time(m)), nil }

// UnmarshalText is encoding.TextUnmarshaler's.
func (m *Moment) UnmarshalText(text []byte) error { return (*time.Time)(m).UnmarshalText(text) }

// answer writes a view.
func answer(w http.ResponseWriter, view any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(view); err != nil {
		return err
	}
	write(w, http.StatusOK, bytes.TrimRight(b.Bytes(), "\n"))
	return nil
}

// Payload is data as it was sent: JSON as such, what is none as text, and what is no text either in base64.
type Payload struct {
	Data   json.RawMessage `json:"data,omitempty"`
	Text   string          `json:"data_text,omitempty"`
	Base64 []byte          `json:"data_base64,omitempty"`
}

func payloadOf(data []byte) Payload {
	switch {
	case len(data) == 0:
		return Payload{}
	case json.Valid(data):
		return Payload{Data: data}
	case utf8.Valid(data):
		return Payload{Text: string(data)}
	}
	return Payload{Base64: data}
}

// ParkedListView is one page of what is parked.
type ParkedListView struct {
	Items []ParkedView `json:"items"`
	After *uint64      `json:"after"` // what to ask for the next page with; null on the last one
}

// ParkedView is a command that waits.
type ParkedView struct {
	ID       commands.ID     `json:"id"`
	Stream   commands.Stream `json:"stream"`
	Type     string          `json:"type"`
	Actor    string          `json:"actor"`
	WaitsFor commands.ID     `json:"waits_for"`
	ParkedAt Moment          `json:"parked_at"`
	Until    Moment          `json:"until"`
}

func viewParked(status *store.CommandStatus) ParkedView {
	w := status.Waiting
	return ParkedView{ID: w.ID, Stream: w.Stream, Type: w.Type, Actor: w.Actor, WaitsFor: w.Ticket,
		ParkedAt: Moment(w.ParkedAt), Until: Moment(status.Until)}
}

// ParkedWholeView is one that is looked at.
type ParkedWholeView struct {
	ParkedView
	Payload
	Policy     string       `json:"policy"`
	ReceivedAt Moment       `json:"received_at"`
	Waiting    []ParkedView `json:"waiting"` // on it, directly or not
}

// LettersView is one page of dead letters.
type LettersView struct {
	Items []LetterView `json:"items"`
	After *uint64      `json:"after"`
}

// LetterView is a dead letter. In a list it is without what may be large, and of the cause there is the beginning.
type LetterView struct {
	N        uint64          `json:"n"`
	At       Moment          `json:"at"`
	Origin   store.Origin    `json:"origin"`
	Reason   commands.Reason `json:"reason"`
	Cause    string          `json:"cause"`
	Command  *FailedView     `json:"command,omitempty"` // one of these three is there
	Frame    *FrameView      `json:"frame,omitempty"`
	Message  *MessageView    `json:"message,omitempty"`
	Decision *DecisionView   `json:"decision"`
	// Retried is where the command stands that came of it.
	Retried *commands.CommandView `json:"retried,omitempty"`
}

// FailedView is a command that ended as failed.
type FailedView struct {
	ID         commands.ID     `json:"id"`
	Stream     commands.Stream `json:"stream"`
	Type       string          `json:"type"`
	Ticket     commands.ID     `json:"ticket,omitzero"`
	Policy     string          `json:"policy"`
	Actor      string          `json:"actor"`
	ReceivedAt Moment          `json:"received_at"`
	Payload
}

// FrameView is a message on a lane that could not be read.
type FrameView struct {
	Size   int    `json:"size,omitempty"`
	Base64 []byte `json:"base64,omitempty"`
}

// MessageView is a message of another service.
type MessageView struct {
	Payload
	Size            int             `json:"size"` // of the body, of which the first MiB is kept
	ContentType     string          `json:"content_type,omitempty"`
	ContentEncoding string          `json:"content_encoding,omitempty"`
	MessageID       string          `json:"message_id,omitempty"`
	CorrelationID   string          `json:"correlation_id,omitempty"`
	ReplyTo         string          `json:"reply_to,omitempty"`
	UserID          string          `json:"user_id,omitempty"`
	Exchange        string          `json:"exchange,omitempty"`
	RoutingKey      string          `json:"routing_key,omitempty"`
	Properties      json.RawMessage `json:"properties,omitempty"`
}

// DecisionView is what was decided.
type DecisionView struct {
	Resolution store.Resolution `json:"resolution"`
	At         Moment           `json:"at"`
	By         string           `json:"by"`
	Why        string           `json:"why"`
	RetriedAs  commands.ID      `json:"retried_as,omitzero"`
}

func viewLetter(l *store.DeadLetter) LetterView {
	v := LetterView{N: l.N, At: Moment(l.At), Origin: l.Origin, Reason: l.Reason, Cause: l.Cause}
	switch e := l.Envelope; {
	case l.Message != nil:
		v.Message = viewMessage(l.Message)
	case unreadable(l):
		v.Frame = &FrameView{Size: len(e.Data), Base64: e.Data}
	default:
		v.Command = &FailedView{ID: e.ID, Stream: e.Stream, Type: e.Type, Ticket: e.Ticket, Policy: e.Policy.String(), Actor: e.Actor,
			ReceivedAt: Moment(e.ReceivedAt), Payload: payloadOf(e.Data)}
	}
	if d := &l.Decision; d.Resolution != "" {
		v.Decision = &DecisionView{Resolution: d.Resolution, At: Moment(d.At), By: d.By, Why: d.Why, RetriedAs: d.RetriedAs}
	}
	return v
}

// unreadable tells a frame that could not be read, or held an order that could not be carried out, from a command.
func unreadable(l *store.DeadLetter) bool {
	return l.Envelope == nil || l.Envelope.ID == commands.None && l.Envelope.Stream == (commands.Stream{})
}

func viewMessage(m *store.Message) *MessageView {
	v := &MessageView{Payload: payloadOf(commands.WithoutSessions(m.Body)), Size: m.Size, ContentType: m.ContentType,
		ContentEncoding: m.ContentEncoding, MessageID: m.MessageID, CorrelationID: m.CorrelationID, ReplyTo: m.ReplyTo,
		UserID: m.UserID, Exchange: m.Exchange, RoutingKey: m.RoutingKey}
	if json.Valid(m.Properties) {
		v.Properties = m.Properties
	}
	return v
}
