package record

import (
	"encoding/binary"
	"errors"
	"time"
	"unsafe"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// layout is the version of the layout that this program writes, the first byte of every body.
const layout = 1

// ErrCorrupt is returned for a body that is damaged, or of a layout this program does not know.
var ErrCorrupt = errors.New("record is corrupt")

// The flags of a body, its second byte: what follows, and what goes without saying.
const (
	hasTicket  = 1 << iota // 16 bytes of ticket follow; otherwise it is None
	genesis                // the ticket is Genesis
	isRejected             // reason, refusal, detail, root and the root's reason follow
	isCascaded
	hasReply // reply address, correlation and trace follow
	hasData  // data follow; otherwise there were none, which is not the same as empty ones
	allFlags = 1<<iota - 1
)

// AppendOutcome appends the body of an outcome: everything but its position, id, stream and version. It
// grows b at most once.
func AppendOutcome(b []byte, o *commands.Outcome) []byte {
	b = grow(b, outcomeBound(o))
	flags := ticketFlags(o.Ticket)
	if !o.Landed() {
		flags |= isRejected
	}
	if o.Cascaded {
		flags |= isCascaded
	}
	if o.ReplyTo != "" || o.CorrelationID != "" || o.TraceParent != "" {
		flags |= hasReply
	}
	b = append(b, layout, flags)
	b = append(b, o.Hash[:]...)
	b = appendTicket(b, flags, o.Ticket)
	if flags&isRejected != 0 {
		b = append(b, o.Root[:]...)
		b = appendText(b, string(o.RootReason))
		b = appendText(b, string(o.Reason))
		b = appendText(b, o.Refusal)
		b = appendText(b, o.Detail)
	}
	b = append(b, byte(o.Policy))
	b = appendTime(b, o.At)
	b = appendText(b, o.Type)
	b = appendText(b, o.Session)
	b = appendText(b, o.Actor)
	if flags&hasReply != 0 {
		b = appendText(b, o.ReplyTo)
		b = appendText(b, o.CorrelationID)
		b = appendText(b, o.TraceParent)
	}
	b = binary.AppendUvarint(b, uint64(len(o.Events)))
	for i := range o.Events {
		event := &o.Events[i]
		b = appendText(b, event.Type)
		b = binary.AppendUvarint(b, uint64(event.Schema))
		b = appendData(b, event.Data)
	}
	return b
}

// DecodeOutcome reads what [AppendOutcome] wrote into o, whose position, id, stream and version it leaves
// as they are. Texts and data share body's memory, which must not change any more.
func DecodeOutcome(body []byte, o *commands.Outcome) error {
	r := reader{rest: body}
	flags := r.flags(hasTicket | genesis | isRejected | isCascaded | hasReply)
	o.Hash = commands.Hash(r.sixteen())
	o.Ticket = r.ticket(flags)
	o.Root, o.RootReason, o.Reason, o.Refusal, o.Detail = commands.None, "", "", "", ""
	if flags&isRejected != 0 {
		o.Root = r.sixteen()
		o.RootReason = commands.Reason(r.text())
		if o.Reason = commands.Reason(r.text()); o.Reason == "" {
			r.fail("a rejection has no reason")
		}
		o.Refusal = r.text()
		o.Detail = r.text()
	}
	o.Cascaded = flags&isCascaded != 0
	o.Policy = commands.Policy(r.byte())
	o.At = r.time()
	o.Type = r.text()
	o.Session = r.text()
	o.Actor = r.text()
	o.ReplyTo, o.CorrelationID, o.TraceParent = "", "", ""
	if flags&hasReply != 0 {
		o.ReplyTo = r.text()
		o.CorrelationID = r.text()
		o.TraceParent = r.text()
	}
	o.Events = r.events()
	return r.end()
}

// Fact reads of an outcome's body what is to be known of its id: standing, hash, and for a rejection
// ticket, root and the root's reason. Stream and version are columns and left as they are.
func Fact(body []byte, f *aggregate.Fact) error {
	r := reader{rest: body}
	flags := r.flags(allFlags)
	f.Standing, f.Hash = aggregate.Landed, commands.Hash(r.sixteen())
	f.Ticket, f.Root, f.RootReason = commands.None, commands.None, ""
	if flags&isRejected != 0 {
		f.Standing = aggregate.Rejected
		f.Ticket = r.ticket(flags)
		f.Root = r.sixteen()
		f.RootReason = commands.Reason(r.text())
	}
	return r.err()
}

// AppendEnvelope appends the body of an envelope: everything but its id and stream. It grows b at most
// once.
func AppendEnvelope(b []byte, e *commands.Envelope) []byte {
	b = grow(b, envelopeBound(e))
	flags := ticketFlags(e.Ticket)
	if e.ReplyTo != "" || e.CorrelationID != "" || e.TraceParent != "" {
		flags |= hasReply
	}
	if e.Data != nil {
		flags |= hasData
	}
	b = append(b, layout, flags)
	b = append(b, e.Hash[:]...)
	b = appendTicket(b, flags, e.Ticket)
	b = append(b, byte(e.Policy))
	b = appendTime(b, e.ReceivedAt)
	b = appendText(b, e.Type)
	b = appendText(b, e.Session)
	b = appendText(b, e.Actor)
	if flags&hasReply != 0 {
		b = appendText(b, e.ReplyTo)
		b = appendText(b, e.CorrelationID)
		b = appendText(b, e.TraceParent)
	}
	if flags&hasData != 0 {
		b = appendText(b, unsafe.String(unsafe.SliceData(e.Data), len(e.Data)))
	}
	return b
}

// DecodeEnvelope reads what [AppendEnvelope] wrote into e, whose id and stream it leaves as they are.
// Texts and data share body's memory, which must not change any more.
func DecodeEnvelope(body []byte, e *commands.Envelope) error {
	r := reader{rest: body}
	flags := r.envelope(e)
	if flags&hasData != 0 {
		e.Data = r.bytes(r.number())
	}
	return r.end()
}

// envelope reads everything that comes before the data.
func (r *reader) envelope(e *commands.Envelope) (flags byte) {
	flags = r.flags(hasTicket | genesis | hasReply | hasData)
	e.Hash = commands.Hash(r.sixteen())
	e.Ticket = r.ticket(flags)
	e.Policy = commands.Policy(r.byte())
	e.ReceivedAt = r.time()
	e.Type = r.text()
	e.Session = r.text()
	e.Actor = r.text()
	e.ReplyTo, e.CorrelationID, e.TraceParent = "", "", ""
	if flags&hasReply != 0 {
		e.ReplyTo = r.text()
		e.CorrelationID = r.text()
		e.TraceParent = r.text()
	}
	e.Data = nil
	return flags
}

// EnvelopeHash reads of an envelope's body the hash of its payload.
func EnvelopeHash(body []byte) (commands.Hash, error) {
	r := reader{rest: body}
	r.flags(allFlags)
	return commands.Hash(r.sixteen()), r.err()
}

// EnvelopeHead is how many bytes of an envelope's body [EnvelopeTicket] needs; a shorter body is whole.
const EnvelopeHead = 2 + 16 + 16

// EnvelopeTicket reads of the first [EnvelopeHead] bytes of an envelope's body its ticket.
func EnvelopeTicket(head []byte) (commands.ID, error) {
	r := reader{rest: head}
	flags := r.flags(allFlags)
	r.sixteen() // the hash
	ticket := r.ticket(flags)
	return ticket, r.err()
}

func ticketFlags(ticket commands.ID) byte {
	switch ticket {
	case commands.None:
		return 0
	case commands.Genesis:
		return genesis
	}
	return hasTicket
}

func appendTicket(b []byte, flags byte, ticket commands.ID) []byte {
	if flags&hasTicket == 0 {
		return b
	}
	return append(b, ticket[:]...)
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// appendData counts from one, so that zero can say that there are no data at all.
func appendData(b []byte, data []byte) []byte {
	if data == nil {
		return append(b, 0)
	}
	return append(binary.AppendUvarint(b, uint64(len(data))+1), data...)
}

func appendTime(b []byte, at time.Time) []byte { return binary.AppendVarint(b, at.UnixMicro()) }

// fixedBound is room for everything of one body that is not a text: flags, ids, numbers, lengths.
const fixedBound = 2 + 3*16 + 1 + 14*binary.MaxVarintLen64

func outcomeBound(o *commands.Outcome) int {
	bound := fixedBound + len(o.Type) + len(o.Session) + len(o.Actor) + len(o.ReplyTo) +
		len(o.CorrelationID) + len(o.TraceParent)
	if !o.Landed() {
		bound += len(o.Reason) + len(o.Refusal) + len(o.Detail) + len(o.RootReason)
	}
	for i := range o.Events {
		bound += 3*binary.MaxVarintLen64 + len(o.Events[i].Type) + len(o.Events[i].Data)
	}
	return bound
}

func envelopeBound(e *commands.Envelope) int {
	return fixedBound + len(e.Type) + len(e.Session) + len(e.Actor) + len(e.ReplyTo) +
		len(e.CorrelationID) + len(e.TraceParent) + len(e.Data)
}

func grow(b []byte, by int) []byte {
	if cap(b)-len(b) >= by {
		return b
	}
	grown := make([]byte, len(b), max(2*cap(b), len(b)+by))
	copy(grown, b)
	return grown
}
