package rabbitmq

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus"
)

// EventQueue is a durable queue to which all of the events exchange is bound, as a service might have one that
// is away: it fills. It is there to see, or to measure, what is published.
type EventQueue struct {
	link    *link
	config  Config
	name    string
	channel *amqp.Channel
}

// NewEventQueue makes <prefix>.<name>, and binds it.
func NewEventQueue(ctx context.Context, config Config, name string) (*EventQueue, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	q := &EventQueue{config: config.withDefaults()}
	q.link = newLink(&q.config, "event queue", publishHeartbeat)
	if err := q.link.start(ctx); err != nil {
		return nil, err
	}
	if err := q.make(name); err != nil {
		q.link.stop()
		return nil, err
	}
	return q, nil
}

func (q *EventQueue) make(name string) error {
	s, err := q.link.usable()
	if err != nil {
		return err
	}
	defer s.limit(q.config.ConnectTimeout)()
	if q.name, err = q.config.queue(name); err != nil {
		return err
	}
	if q.channel, err = s.conn.Channel(); err != nil {
		return fmt.Errorf("open a channel: %w", err)
	}
	exchange := q.config.exchange(bus.EventsExchange)
	if err := q.channel.ExchangeDeclare(exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		return fmt.Errorf("declare exchange %s: %w", exchange, err)
	}
	quorum := amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}
	if _, err := q.channel.QueueDeclare(q.name, true, false, false, false, quorum); err != nil {
		return fmt.Errorf("declare queue %s: %w", q.name, err)
	}
	if err := q.channel.QueueBind(q.name, "#", exchange, false, nil); err != nil {
		return fmt.Errorf("bind queue %s: %w", q.name, err)
	}
	return nil
}

// Count is how many messages are in the queue, as the broker tells it: a moment late.
func (q *EventQueue) Count() (int, error) {
	state, err := q.channel.QueueDeclarePassive(q.name, true, false, false, false, nil)
	if err != nil {
		return 0, fmt.Errorf("count the messages of queue %s: %w", q.name, err)
	}
	return state.Messages, nil
}

// Remove deletes the queue with all that is in it.
func (q *EventQueue) Remove() error {
	defer q.link.stop()
	if _, err := q.channel.QueueDelete(q.name, false, false, false); err != nil {
		return fmt.Errorf("delete queue %s: %w", q.name, err)
	}
	return nil
}
