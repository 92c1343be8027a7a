package commands

import (
	"strconv"
)

// CloudEvent is one event of a landing as other services are told of it: the attributes of CloudEvents 1.0,
// each as the text that travels, and its data as they are in the log and the changelog.
type CloudEvent struct {
	ID            string // "<epoch>-<position>.<n>", n counting the events of the landing from 0
	Source        string // a URI reference: which doorman, and which history of it
	Type          string // the event's, e.g. line_added
	Subject       string // the stream
	Time          string // when it was judged, RFC 3339
	Sequence      string // the stream's version after it, decimal
	Position      string // "<epoch>-<position>"
	CorrelationID string // the sender's, otherwise the command's id
	CausationID   string // the command's id
	TraceParent   string // W3C Trace Context of the request; empty for none
	Data          []byte // JSON
}

// CloudEventSpec is the version of CloudEvents that [CloudEvent] follows.
const CloudEventSpec = "1.0"

// maxRoutingKey is the most bytes AMQP has for a routing key. Two names of [MaxNamePart] and a dot are two more.
const maxRoutingKey = 255

// NewCloudEvent is the i-th event, from 0, of an outcome in the log of an epoch.
func NewCloudEvent(source, epoch string, o *Outcome, i int) CloudEvent {
	// One text for all, of which each attribute is a part.
	b := make([]byte, 0, 192)
	var ends [6]int
	b = Position{Epoch: epoch, N: o.Position}.AppendTo(b)
	ends[0] = len(b)
	b = strconv.AppendInt(append(b, '.'), int64(i), 10)
	ends[1] = len(b)
	b = o.Stream.AppendTo(b)
	ends[2] = len(b)
	b = AppendTime(b, o.At)
	ends[3] = len(b)
	b = strconv.AppendUint(b, o.FirstVersion()+uint64(i), 10) //nolint:gosec // an index
	ends[4] = len(b)
	b = o.ID.AppendTo(b)
	ends[5] = len(b)
	text := string(b)
	e := CloudEvent{
		ID: text[:ends[1]], Source: source, Type: o.Events[i].Type, Subject: text[ends[1]:ends[2]],
		Time: text[ends[2]:ends[3]], Sequence: text[ends[3]:ends[4]], Position: text[:ends[0]],
		CorrelationID: o.CorrelationID, CausationID: text[ends[4]:ends[5]], TraceParent: o.TraceParent,
		Data: o.Events[i].Data,
	}
	if e.CorrelationID == "" {
		e.CorrelationID = e.CausationID
	}
	return e
}

// Headers are the attributes as headers of an AMQP message, by the CloudEvents AMQP binding: the data's content
// type is the message's own, and no header. The trace context is a header by itself.
//
// By the sequence extension's type Integer, sequences count from 1 without gaps, for one source and subject.
func (e *CloudEvent) Headers() map[string]any {
	h := map[string]any{
		"cloudEvents_specversion":   CloudEventSpec,
		"cloudEvents_id":            e.ID,
		"cloudEvents_source":        e.Source,
		"cloudEvents_type":          e.Type,
		"cloudEvents_subject":       e.Subject,
		"cloudEvents_time":          e.Time,
		"cloudEvents_sequence":      e.Sequence,
		"cloudEvents_sequencetype":  "Integer",
		"cloudEvents_position":      e.Position,
		"cloudEvents_correlationid": e.CorrelationID,
		"cloudEvents_causationid":   e.CausationID,
	}
	if e.TraceParent != "" {
		h["traceparent"] = e.TraceParent
	}
	return h
}

// EventKey is the routing key of an event: "<stream type>.<event type>".
func EventKey(streamType, eventType string) string {
	key := streamType + "." + eventType
	return key[:min(len(key), maxRoutingKey)]
}

// OutcomeKey is the routing key of an outcome: "<stream type>.landed" or "<stream type>.rejected".
func OutcomeKey(o *Outcome) string {
	status := StatusLanded
	if !o.Landed() {
		status = StatusRejected
	}
	return o.Stream.Type + "." + string(status)
}
