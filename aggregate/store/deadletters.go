package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ticketed/doorman/commands"
)

var (
	// ErrNoDeadLetter: there is no dead letter of that number, or none any more.
	ErrNoDeadLetter = errors.New("there is no such dead letter")
	// ErrDecided: what becomes of the dead letter has been decided before.
	ErrDecided = errors.New("the dead letter has been decided already")
)

// Origin is where a dead letter comes from.
type Origin string

// The origins. A letter that is kept without one is the worker's.
const (
	OriginWorker Origin = "worker" // a command whose aggregate code broke, or a frame that could not be read
	OriginAMQP   Origin = "amqp"   // a message of another service that was refused
)

// DeadLetter is a message that could not be carried out, kept with the original and the cause.
type DeadLetter struct {
	// N is given by the store. It rises from 1 and is not dense; letters that are kept at the same moment by
	// several processes may become visible in another order than that of their numbers.
	N      uint64
	At     time.Time
	Origin Origin

	// The original. Of a frame that could not be read the envelope has its bytes as Data, and nothing else.
	Envelope *commands.Envelope // of OriginWorker
	Message  *Message           // of OriginAMQP

	Reason commands.Reason
	Cause  string // for an engineer: the error, the stack; of a message, what is wrong with it

	Told     bool // other services have been told of it
	Decision Decision

	// Key and Again are for Bury alone, and of OriginAMQP; reads leave them empty. Whoever refuses a message once more
	// gives it the same key; None stands for no key. Again says that it may have been refused before, within AgainWithin.
	Key   commands.ID
	Again bool
}

// Message is a message of another service, as it came.
type Message struct {
	// Body is what was refused: of an array one item. Bury keeps the first MaxMessageBody bytes, and Size says
	// how many there were; 0 stands for all that are in Body.
	Body []byte
	Size int

	// What AMQP allows 255 bytes each for, and MaxMessageText are kept of.
	ContentType     string
	ContentEncoding string
	MessageID       string
	CorrelationID   string
	ReplyTo         string
	UserID          string // that the broker has checked
	Exchange        string
	RoutingKey      string

	// Properties are the headers and what other properties there were, as a JSON object for people to read; nil
	// when there were none. Of more than MaxMessageProperties none are kept.
	Properties []byte
}

// What Bury keeps of one letter, in bytes, and by default of all letters of OriginAMQP: of those beyond, the ones
// kept first go. The worker's letters, each of which is an outcome in the log, stay.
const (
	MaxMessageBody       = 1 << 20
	MaxMessageText       = 255
	MaxMessageProperties = 64 << 10
	MaxCause             = 64 << 10

	// AgainWithin is how long after the first letter of a message one that comes again is taken for it. A broker gives
	// a message to somebody else as soon as it knows that who had it is gone.
	AgainWithin = 10 * time.Minute

	MaxRefused      = 100_000
	MaxRefusedBytes = 1 << 30
)

// Bounded is the letter as Bury keeps it, and an error for one that has not the original its origin says. It shares
// memory with the letter.
func (l DeadLetter) Bounded() (DeadLetter, error) {
	if l.Origin == "" {
		l.Origin = OriginWorker
	}
	switch {
	case l.Origin == OriginWorker && l.Envelope != nil && l.Message == nil:
	case l.Origin == OriginAMQP && l.Message != nil && l.Envelope == nil:
		l.Message = l.Message.bounded()
	default:
		return l, fmt.Errorf("a dead letter of origin %q has not the original that it should", l.Origin)
	}
	l.Cause = l.Cause[:min(len(l.Cause), MaxCause)]
	return l, nil
}

func (m Message) bounded() *Message {
	if m.Size == 0 {
		m.Size = len(m.Body)
	}
	m.Body = m.Body[:min(len(m.Body), MaxMessageBody)]
	for _, text := range []*string{&m.ContentType, &m.ContentEncoding, &m.MessageID, &m.CorrelationID, &m.ReplyTo, &m.UserID,
		&m.Exchange, &m.RoutingKey} {
		*text = (*text)[:min(len(*text), MaxMessageText)]
	}
	if len(m.Properties) > MaxMessageProperties {
		m.Properties = nil
	}
	return &m
}

// Resolution is what an operator made of a dead letter.
type Resolution string

// The resolutions. A letter has none while it is open; Open is for asking alone.
const (
	Retried   Resolution = "retried"
	Discarded Resolution = "discarded"
	Open      Resolution = "open"
)

// Decision is an operator's word on a dead letter. It is given once.
type Decision struct {
	Resolution Resolution // empty: the letter is open, and nothing else is filled in
	At         time.Time
	By         string
	Why        string
	RetriedAs  commands.ID // the command that came of Retried
}

// Validate says what is wrong with a decision that is to be noted.
func (d *Decision) Validate() error {
	if d.Resolution != Retried && d.Resolution != Discarded {
		return fmt.Errorf("%q is no decision on a dead letter", d.Resolution)
	}
	return nil
}

// DeadQuery says which dead letters are wanted: those with numbers above After, Limit at most.
type DeadQuery struct {
	After      uint64
	Limit      int
	Origin     Origin     // empty: any
	Resolution Resolution // empty: any
}

const (
	// MaxListedCause is how many bytes of a cause are listed.
	MaxListedCause = 1 << 10
	// MaxUntoldBytes is how many bytes Untold gives, about.
	MaxUntoldBytes = 8 << 20
)

// DeadLetters are the letters that a store keeps: those that a batch brings (Batch.Dead) and those that are buried
// by themselves. Errors other than those named are those of every read, of which ErrUnavailable may be tried again.
type DeadLetters interface {
	// Bury keeps letters that no batch brings, within the bounds above, in one transaction, and fills in their
	// numbers, which rise in the order given. It tells how many letters of OriginAMQP it had to let go, the ones
	// that were kept first, for others to have room. Instead of a letter that comes again, one that was kept under its
	// key within AgainWithin stays the only one, and gives it its number. After ErrFateUnknown letters may be kept or not; to bury them
	// again as if for the first time may double them.
	Bury(ctx context.Context, letters []DeadLetter) (gone int, err error)

	// DeadLetter reads one letter, whole. When there is none it is ErrNoDeadLetter.
	DeadLetter(ctx context.Context, n uint64) (DeadLetter, error)

	// DeadLetters reads letters by number. They are without what may be large: Data of envelopes, Body and
	// Properties of messages are nil, and of a cause there are the first MaxListedCause bytes.
	DeadLetters(ctx context.Context, query DeadQuery) ([]DeadLetter, error)

	// Decide notes what becomes of a letter, and gives it as it is then, whole. The first decision stands: after
	// it, any other, an equal one included, is ErrDecided, with the letter as it was decided.
	Decide(ctx context.Context, n uint64, decision Decision) (DeadLetter, error)

	// Untold reads letters of which other services have not been told, whole, by number: limit at most, and no
	// more of them than come to about MaxUntoldBytes, but one at least.
	Untold(ctx context.Context, limit int) ([]DeadLetter, error)

	// Told notes that other services were told of letters. Those that are gone are passed over.
	Told(ctx context.Context, ns []uint64) error
}
