package bus

// The topic exchanges to which other services bind their queues (DESIGN section 4), without the prefix that
// all names on a broker have.
const (
	EventsExchange   = "events"   // every event that landed
	OutcomesExchange = "outcomes" // every outcome
	DeadExchange     = "dead"     // every dead letter
)

// Notice is one message for whoever wants to know: it goes to every queue that is bound to its exchange for
// its routing key, and nowhere when there is none. It must not be changed until it is published.
type Notice struct {
	// Exchange is one of those above. Empty, the notice goes to the one queue that RoutingKey names, as an
	// answer does to whoever asked for one.
	Exchange    string
	RoutingKey  string // 255 bytes at most, as is MessageID
	MessageID   string
	ContentType string
	// ContentEncoding is of an original that was encoded; nothing of ours is.
	ContentEncoding string
	// CorrelationID is what whoever asked called the question.
	CorrelationID string
	// Headers are text, numbers (not unsigned ones of 32 or 64 bits), truth values, times or nil.
	Headers map[string]any
	Body    []byte
	// Persistent has durable queues keep it over a restart of the broker.
	Persistent bool
}

// Receipt is what became of a notice that was delivered by itself.
type Receipt uint8

// The receipts.
const (
	Unanswered Receipt = iota // not known: nothing was said of it in time
	Taken                     // a queue has it
	Unrouted                  // there is no queue that it could go to
	Refused                   // a queue would not take it, being full
	Unsendable                // it cannot be carried, now or ever
)

func (r Receipt) String() string {
	return [...]string{"unanswered", "taken", "unrouted", "refused", "unsendable"}[r]
}
