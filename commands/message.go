package commands

import "time"

// Message is what another service published for commands to be taken from: over a broker, in its terms, but of no
// broker's library.
type Message struct {
	Body []byte // as much of it as was kept
	Size int    // of the whole body, in bytes: more than are in Body when the rest was not kept

	ContentType     string
	ContentEncoding string
	MessageID       string
	CorrelationID   string // what the sender calls it; goes back with every answer
	ReplyTo         string // the queue that answers go to; empty for none
	UserID          string // of the sender, checked by the broker; empty when the sender did not say
	Exchange        string
	RoutingKey      string

	// Headers are what the sender added: nil, truth values, numbers, text, bytes, times, and lists and maps of those.
	// They are not to be changed.
	Headers map[string]any

	// What means nothing to us, for people who look at the message.
	AppID      string
	Type       string
	Expiration string
	Priority   uint8
	Persistent bool
	SentAt     time.Time // zero: not said

	// Deliveries is how often it was delivered before and came back, at least.
	Deliveries int
}
