package record

import (
	"encoding/binary"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// AppendMessage appends the body of a message of another service. What may be large comes last.
func AppendMessage(b []byte, m *store.Message) []byte {
	b = append(b, layout, 0)
	b = binary.AppendUvarint(b, uint64(m.Size)) //nolint:gosec // a length
	for _, text := range messageTexts(m) {
		b = appendText(b, *text)
	}
	b = appendData(b, m.Properties)
	return appendData(b, m.Body)
}

// DecodeMessage reads what [AppendMessage] wrote. Texts and data share body's memory, which must not change any
// more.
func DecodeMessage(body []byte, m *store.Message) error {
	r := reader{rest: body}
	r.message(m)
	m.Properties = r.data()
	m.Body = r.data()
	return r.end()
}

func (r *reader) message(m *store.Message) {
	r.flags(0)
	m.Size = int(r.number()) //nolint:gosec // a length
	for _, text := range messageTexts(m) {
		*text = r.text()
	}
}

func messageTexts(m *store.Message) [8]*string {
	return [...]*string{&m.ContentType, &m.ContentEncoding, &m.MessageID, &m.CorrelationID, &m.ReplyTo, &m.UserID, &m.Exchange,
		&m.RoutingKey}
}

// Head is how many bytes of an envelope's or a message's body hold all that is not large: everything but data,
// properties and the message's own body. Texts are no longer than what gateways and brokers let through; of one
// that is, and of those after it, nothing is read. A shorter body is whole.
const Head = 4 << 10

// DecodeEnvelopeHead reads of the first [Head] bytes of an envelope's body all but the data.
func DecodeEnvelopeHead(head []byte, e *commands.Envelope) error {
	r := reader{rest: head[:min(len(head), Head)]}
	r.envelope(e)
	return r.head(head)
}

// DecodeMessageHead reads of the first [Head] bytes of a message's body all but properties and body.
func DecodeMessageHead(head []byte, m *store.Message) error {
	r := reader{rest: head[:min(len(head), Head)]}
	r.message(m)
	return r.head(head)
}

// DecodeLetter reads the original of a dead letter from its body, or, when that may be cut short, from its head. The
// envelope, with id and stream filled in, is used when the letter's origin has one.
func DecodeLetter(body []byte, short bool, e *commands.Envelope, l *store.DeadLetter) error {
	switch {
	case l.Origin == store.OriginWorker:
		l.Envelope = e
		if short {
			return DecodeEnvelopeHead(body, e)
		}
		return DecodeEnvelope(body, e)
	case short:
		l.Message = &store.Message{}
		return DecodeMessageHead(body, l.Message)
	}
	l.Message = &store.Message{}
	return DecodeMessage(body, l.Message)
}

// head is err for what may be the beginning of a body only.
func (r *reader) head(head []byte) error {
	if len(head) >= Head && r.what == early {
		return nil
	}
	return r.err()
}
