package rabbitmq

import (
	"errors"
	"time"

	"github.com/ticketed/doorman/bus"
)

// Metrics are told what happens on the bus. Its methods are called from many goroutines at once, once a
// message at most, and must not block. A connection is called by what it is for: publisher, subscriber,
// exchanges, ingress, tail publisher, tail subscriber.
type Metrics interface {
	// Reconnected: there is a connection again after one was lost.
	Reconnected(connection string)
	// Blocked: the broker takes no messages over the connection, as one that is short of memory or disk does,
	// or takes them again.
	Blocked(connection string, blocked bool)

	// Published: a message to a lane was confirmed, so long after it was handed over, and so long after it was
	// written to the broker.
	Published(took, confirm time.Duration)
	// PublishFailed: a message to a lane was answered with an error.
	PublishFailed(cause Cause)

	// Delivered: a message of a lane came, for the first time or again.
	Delivered(again bool)
	// Settled: so many of those that were delivered are not in hand any more, because they were acknowledged,
	// refused, or taken back with the connection.
	Settled(messages int)

	// Announced: so many notices of one batch were confirmed, after that time.
	Announced(notices int, took time.Duration)
	// PassedOver: so many notices were not published, because a queue refused them for too long or because
	// they cannot be sent.
	PassedOver(notices int)
	// TailDropped: a message to the tail was not sent, because too much waited.
	TailDropped()
}

// Cause is why a message was not published.
type Cause string

// The causes.
const (
	CauseReturned    Cause = "returned"     // there is no such queue
	CauseRefused     Cause = "refused"      // the broker said no: the queue is full or has no leader
	CauseUnavailable Cause = "unavailable"  // it was not sent
	CauseFull        Cause = "full"         // it was not sent: a bound of the publisher's was reached
	CauseFateUnknown Cause = "fate_unknown" // it was sent, and no confirmation came
)

// What the broker said of a message.
var (
	errReturned = errors.New("RabbitMQ has no queue")
	errRefused  = errors.New("RabbitMQ refused it")
)

func causeOf(err error) Cause {
	switch {
	case errors.Is(err, errReturned):
		return CauseReturned
	case errors.Is(err, errRefused):
		return CauseRefused
	case errors.Is(err, bus.ErrFateUnknown):
		return CauseFateUnknown
	case errors.Is(err, bus.ErrFull):
		return CauseFull
	default:
		return CauseUnavailable
	}
}

// NoMetrics is told and tells nobody. Who embeds it needs only those methods that matter to it.
type NoMetrics struct{}

var _ Metrics = NoMetrics{}

// Reconnected is Metrics'.
func (NoMetrics) Reconnected(string) {}

// Blocked is Metrics'.
func (NoMetrics) Blocked(string, bool) {}

// Published is Metrics'.
func (NoMetrics) Published(time.Duration, time.Duration) {}

// PublishFailed is Metrics'.
func (NoMetrics) PublishFailed(Cause) {}

// Delivered is Metrics'.
func (NoMetrics) Delivered(bool) {}

// Settled is Metrics'.
func (NoMetrics) Settled(int) {}

// Announced is Metrics'.
func (NoMetrics) Announced(int, time.Duration) {}

// PassedOver is Metrics'.
func (NoMetrics) PassedOver(int) {}

// TailDropped is Metrics'.
func (NoMetrics) TailDropped() {}
