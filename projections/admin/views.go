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

// moment is told as all times are.
type moment time.Time

// MarshalText is encoding.TextMarshaler's.
func (m moment) MarshalText() ([]byte, error) { return commands.AppendTime(nil, time.Time(m)), nil }

// answer writes a view.
func answer(w http.ResponseWriter, status int, view any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(view); err != nil {
		return err
	}
	write(w, status, bytes.TrimRight(b.Bytes(), "\n"))
	return nil
}

// payload is data as it was sent: JSON as such, what is none as text, and what is no text either in base64.
type payload struct {
	Data   json.RawMessage `json:"data,omitempty"`
	Text   string          `json:"data_text,omitempty"`
	Base64 []byte          `json:"data_base64,omitempty"`
}

func payloadOf(data []byte) payload {
	switch {
	case len(data) == 0:
		return payload{}
	case json.Valid(data):
		return payload{Data: data}
	case utf8.Valid(data):
		return payload{Text: string(data)}
	}
	return payload{Base64: data}
}

// parkedPage is one page of what is parked.
type parkedPage struct {
	Items []parkedItem `json:"items"`
	After *uint64      `json:"after"` // what to ask for the next page with; null on the last one
}

// parkedItem is a command that waits.
type parkedItem struct {
	ID       commands.ID     `json:"id"`
	Stream   commands.Stream `json:"stream"`
	Type     string          `json:"type"`
	Actor    string          `json:"actor"`
	WaitsFor commands.ID     `json:"waits_for"`
	ParkedAt moment          `json:"parked_at"`
	Until    moment          `json:"until"`
}

func parkedItemOf(status *store.CommandStatus) parkedItem {
	w := status.Waiting
	return parkedItem{ID: w.ID, Stream: w.Stream, Type: w.Type, Actor: w.Actor, WaitsFor: w.Ticket,
		ParkedAt: moment(w.ParkedAt), Until: moment(status.Until)}
}

// parkedWhole is one that is looked at.
type parkedWhole struct {
	parkedItem
	payload
	Policy     string       `json:"policy"`
	ReceivedAt moment       `json:"received_at"`
	Waiting    []parkedItem `json:"waiting"` // on it, directly or not
}

// lettersPage is one page of dead letters.
type lettersPage struct {
	Items []letterView `json:"items"`
	After *uint64      `json:"after"`
}

// letterView is a dead letter. In a list it is without what may be large, and of the cause there is the beginning.
type letterView struct {
	N        uint64          `json:"n"`
	At       moment          `json:"at"`
	Origin   store.Origin    `json:"origin"`
	Reason   commands.Reason `json:"reason"`
	Cause    string          `json:"cause"`
	Command  *commandView    `json:"command,omitempty"` // one of these three is there
	Frame    *frameView      `json:"frame,omitempty"`
	Message  *messageView    `json:"message,omitempty"`
	Decision *decisionView   `json:"decision"`
	// Retried is where the command stands that came of it.
	Retried *commands.CommandView `json:"retried,omitempty"`
}

// commandView is a command that ended as failed.
type commandView struct {
	ID         commands.ID     `json:"id"`
	Stream     commands.Stream `json:"stream"`
	Type       string          `json:"type"`
	Ticket     commands.ID     `json:"ticket,omitzero"`
	Policy     string          `json:"policy"`
	Actor      string          `json:"actor"`
	ReceivedAt moment          `json:"received_at"`
	payload
}

// frameView is a message on a lane that could not be read.
type frameView struct {
	Size   int    `json:"size,omitempty"`
	Base64 []byte `json:"base64,omitempty"`
}

// messageView is a message of another service.
type messageView struct {
	payload
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

// decisionView is what was decided.
type decisionView struct {
	Resolution store.Resolution `json:"resolution"`
	At         moment           `json:"at"`
	By         string           `json:"by"`
	Why        string           `json:"why"`
	RetriedAs  commands.ID      `json:"retried_as,omitzero"`
}

func viewLetter(l *store.DeadLetter) letterView {
	v := letterView{N: l.N, At: moment(l.At), Origin: l.Origin, Reason: l.Reason, Cause: l.Cause}
	switch e := l.Envelope; {
	case l.Message != nil:
		v.Message = viewMessage(l.Message)
	case unreadable(l):
		v.Frame = &frameView{Size: len(e.Data), Base64: e.Data}
	default:
		v.Command = &commandView{ID: e.ID, Stream: e.Stream, Type: e.Type, Ticket: e.Ticket, Policy: e.Policy.String(), Actor: e.Actor,
			ReceivedAt: moment(e.ReceivedAt), payload: payloadOf(e.Data)}
	}
	if d := &l.Decision; d.Resolution != "" {
		v.Decision = &decisionView{Resolution: d.Resolution, At: moment(d.At), By: d.By, Why: d.Why, RetriedAs: d.RetriedAs}
	}
	return v
}

// unreadable tells a frame that could not be read, or held an order that could not be carried out, from a command.
func unreadable(l *store.DeadLetter) bool {
	return l.Envelope == nil || l.Envelope.ID == commands.None && l.Envelope.Stream == (commands.Stream{})
}

func viewMessage(m *store.Message) *messageView {
	v := &messageView{payload: payloadOf(withoutSessions(m.Body)), Size: m.Size, ContentType: m.ContentType,
		ContentEncoding: m.ContentEncoding, MessageID: m.MessageID, CorrelationID: m.CorrelationID, ReplyTo: m.ReplyTo,
		UserID: m.UserID, Exchange: m.Exchange, RoutingKey: m.RoutingKey}
	if json.Valid(m.Properties) {
		v.Properties = m.Properties
	}
	return v
}
