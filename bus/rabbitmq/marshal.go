package rabbitmq

import (
	"fmt"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus"
)

// The headers in which a quorum queue counts how often a message was delivered before. From RabbitMQ 4.3 on the
// first one counts only what a consumer refused, and the second one everything.
const (
	deliveryCount = "x-delivery-count"
	acquiredCount = "x-acquired-count"
)

// check finds what AMQP cannot carry: written all the same, it would break the connection.
func check(m *message.Message) error {
	if len(m.UUID) > maxName {
		return fmt.Errorf("%w: the message's id has %d bytes and may have %d", bus.ErrUnavailable, len(m.UUID), maxName)
	}
	size := len(m.Payload)
	for key, value := range m.Metadata {
		if len(key) > maxName {
			return fmt.Errorf("%w: the metadata key %.20s… has %d bytes and may have %d", bus.ErrUnavailable, key, len(key), maxName)
		}
		size += len(key) + len(value)
	}
	if size > maxBody {
		return fmt.Errorf("%w: the message has %d bytes and may have %d", bus.ErrUnavailable, size, maxBody)
	}
	return nil
}

// marshal makes what is published as the nth of a channel, which the broker tells back when it returns it.
func marshal(m *message.Message, number uint64) amqp.Publishing {
	p := amqp.Publishing{
		MessageId:     m.UUID,
		CorrelationId: strconv.FormatUint(number, 10),
		ContentType:   "application/octet-stream",
		DeliveryMode:  amqp.Persistent,
		Body:          m.Payload,
	}
	for key, value := range m.Metadata {
		if key == deliveryCount || key == acquiredCount || key == bus.DeliveriesKey { // they belong to a delivery
			continue
		}
		if p.Headers == nil {
			p.Headers = make(amqp.Table, len(m.Metadata))
		}
		p.Headers[key] = value
	}
	return p
}

// unmarshal makes the message of a delivery. Headers that are plain values become text, whoever put them
// there; lists and tables are left out. How often it was delivered before is the broker's word alone.
func unmarshal(d *amqp.Delivery) *message.Message {
	m := message.NewMessage(d.MessageId, d.Body)
	for key, value := range d.Headers {
		if key == deliveryCount || key == acquiredCount || key == bus.DeliveriesKey {
			continue
		}
		if text, plain := plainText(value); plain {
			m.Metadata[key] = text
		}
	}
	if n := deliveries(d); n > 0 {
		m.Metadata[bus.DeliveriesKey] = strconv.FormatInt(n, 10)
	}
	return m
}

// deliveries is how often a message was delivered before. Not every way of coming back is counted by every
// version of the broker, but each is flagged. Without the flag a count is not the broker's: the message brought it
// along, as one does that was moved here from another quorum queue.
func deliveries(d *amqp.Delivery) int64 {
	if !d.Redelivered {
		return 0
	}
	return max(counted(d.Headers[deliveryCount]), counted(d.Headers[acquiredCount]), 1)
}

func counted(header any) int64 {
	switch count := header.(type) {
	case int64:
		return count
	case int32:
		return int64(count)
	case int16:
		return int64(count)
	case int8:
		return int64(count)
	case byte:
		return int64(count)
	}
	return 0
}

func plainText(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	case time.Time:
		return v.UTC().Format(time.RFC3339), true
	case nil, amqp.Table, []any:
		return "", false
	default: // numbers and truth values
		return fmt.Sprint(v), true
	}
}
