package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus"
)

// QueueState is how the queue of a topic stands.
type QueueState struct {
	Topic     string
	Exists    bool
	Messages  int // not handed to a consumer
	Consumers int
}

// Inspect tells how the queues of the configured topics stand, in that order, over a connection of its own.
// It makes none.
func Inspect(ctx context.Context, config Config) ([]QueueState, error) {
	states := make([]QueueState, len(config.Topics))
	err := onQueues(ctx, config, func(i int, queue string, channel *amqp.Channel) error {
		states[i].Topic = config.Topics[i]
		q, err := channel.QueueDeclarePassive(queue, true, false, false, false, nil)
		if refused := new(amqp.Error); errors.As(err, &refused) && refused.Code == amqp.NotFound {
			return nil
		}
		states[i].Exists, states[i].Messages, states[i].Consumers = err == nil, q.Messages, q.Consumers
		return err
	})
	return states, err
}

// DeleteUnused deletes those queues of the configured topics that are empty and nobody consumes from, and
// tells how many of the others there are. It looks first and deletes then, as quorum queues cannot be told to
// be deleted only if so: nobody may be publishing to them any more.
func DeleteUnused(ctx context.Context, config Config) (left int, err error) {
	err = onQueues(ctx, config, func(_ int, queue string, channel *amqp.Channel) error {
		unused, err := unused(channel, queue)
		switch refused := new(amqp.Error); {
		case errors.As(err, &refused) && refused.Code == amqp.NotFound:
			return nil
		case err != nil:
			return err
		case !unused:
			left++
			return nil
		}
		_, err = channel.QueueDelete(queue, false, false, false)
		return err
	})
	return left, err
}

// statTimeout is how long RabbitMQ asks the leader of a quorum queue for its numbers (rabbit_quorum_queue:stat). After
// that, and at once while there is no leader, it says that there are no messages and no consumers.
const statTimeout = 250 * time.Millisecond

// unused tells whether a queue is empty and nobody consumes from it. The broker's word for that is taken only when it
// comes from the leader: one that has just answered for a consumer, which it hands a message that there is, and in less
// time than it may be kept waiting. The channel is closed where a message is to be given back, to where it was.
func unused(channel *amqp.Channel, queue string) (bool, error) {
	q, err := channel.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil || q.Messages+q.Consumers > 0 {
		return false, err
	}
	if err := channel.Qos(1, 0, false); err != nil {
		return false, fmt.Errorf("bound deliveries: %w", err)
	}
	deliveries, err := channel.Consume(queue, queue, false, false, false, false, nil)
	if err != nil {
		return false, fmt.Errorf("consume: %w", err)
	}
	if err := channel.Cancel(queue, false); err != nil {
		return false, fmt.Errorf("cancel: %w", err)
	}
	if _, some := <-deliveries; some {
		return false, channel.Close()
	}
	asked := time.Now()
	q, err = channel.QueueDeclarePassive(queue, true, false, false, false, nil)
	return err == nil && q.Messages+q.Consumers == 0 && time.Since(asked) < statTimeout, err
}

// onQueues calls for each configured topic's queue, on a channel that is opened again after a refusal.
func onQueues(ctx context.Context, config Config, do func(i int, queue string, channel *amqp.Channel) error) error {
	if err := config.Validate(); err != nil {
		return err
	}
	config = config.withDefaults()
	l := newLink(&config, "operator", publishHeartbeat)
	if err := l.start(ctx); err != nil {
		return fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
	}
	defer l.stop()
	s, err, _ := l.state()
	if s == nil {
		return fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
	}
	defer s.limit(config.ConnectTimeout)()
	defer context.AfterFunc(ctx, s.cut)()
	var channel *amqp.Channel
	for i, topic := range config.Topics {
		queue, err := config.queue(topic)
		if err != nil {
			return err
		}
		if channel == nil || channel.IsClosed() {
			if channel, err = s.conn.Channel(); err != nil {
				return fmt.Errorf("%w: open a channel: %w", bus.ErrUnavailable, err)
			}
		}
		if err := do(i, queue, channel); err != nil {
			return fmt.Errorf("%w: queue %s: %w", bus.ErrUnavailable, queue, err)
		}
	}
	return nil
}
