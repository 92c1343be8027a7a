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
// It makes none. It is the broker's word, who takes a queue whose leader does not answer for empty ([Used] does not).
func Inspect(ctx context.Context, config Config) ([]QueueState, error) {
	states := make([]QueueState, len(config.Topics))
	err := onQueues(ctx, config, func(i int, queue string, channel *amqp.Channel) error {
		q, exists, err := stand(channel, queue)
		states[i] = QueueState{Topic: config.Topics[i], Exists: exists, Messages: q.Messages, Consumers: q.Consumers}
		return err
	})
	return states, err
}

// Used tells how many queues of the configured topics have messages or consumers, over a connection of its own. A queue
// whose leader does not answer is an error, or counts.
func Used(ctx context.Context, config Config) (used int, err error) {
	err = onQueues(ctx, config, func(_ int, queue string, channel *amqp.Channel) error {
		busy, _, err := inUse(channel, queue)
		if busy {
			used++
		}
		return err
	})
	return used, err
}

// DeleteUnused deletes those queues of the configured topics that are empty and nobody consumes from, and
// tells how many of the others there are. It looks first and deletes then, as quorum queues cannot be told to
// be deleted only if so: nobody may be publishing to them any more.
func DeleteUnused(ctx context.Context, config Config) (left int, err error) {
	err = onQueues(ctx, config, func(_ int, queue string, channel *amqp.Channel) error {
		used, exists, err := inUse(channel, queue)
		switch {
		case used:
			left++
			return err
		case err != nil || !exists:
			return err
		}
		_, err = channel.QueueDelete(queue, false, false, false)
		return err
	})
	return left, err
}

// statTimeout is how long RabbitMQ asks the leader of a quorum queue for its numbers (rabbit_quorum_queue:stat). After
// that, and at once while there is no leader, it says that there are no messages and no consumers.
const statTimeout = 250 * time.Millisecond

// inUse tells whether a queue has messages or consumers, and whether it exists. The broker's word that it has none is
// taken only when it comes from the leader: one that has just answered for a consumer, which it would have handed a
// message, and in less time than it may be kept waiting. Where a message was handed out, the channel is closed, and it is
// where it was.
func inUse(channel *amqp.Channel, queue string) (used, exists bool, err error) {
	q, exists, err := stand(channel, queue)
	if !exists || q.Messages+q.Consumers > 0 {
		return exists, exists, err
	}
	if err := channel.Qos(1, 0, false); err != nil {
		return false, true, fmt.Errorf("bound deliveries: %w", err)
	}
	deliveries, err := channel.Consume(queue, queue, false, false, false, false, nil)
	if err != nil {
		return false, true, fmt.Errorf("consume: %w", err)
	}
	if err := channel.Cancel(queue, false); err != nil {
		return false, true, fmt.Errorf("cancel: %w", err)
	}
	if _, some := <-deliveries; some {
		return true, true, channel.Close()
	}
	asked := time.Now()
	q, exists, err = stand(channel, queue)
	return exists && (q.Messages+q.Consumers > 0 || time.Since(asked) >= statTimeout), exists, err
}

// stand asks the broker how a queue stands; the channel is closed when there is none.
func stand(channel *amqp.Channel, queue string) (q amqp.Queue, exists bool, err error) {
	q, err = channel.QueueDeclarePassive(queue, true, false, false, false, nil)
	if refused := new(amqp.Error); errors.As(err, &refused) && refused.Code == amqp.NotFound {
		return q, false, nil
	}
	return q, err == nil, err
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
	defer context.AfterFunc(ctx, s.cut)()
	var channel *amqp.Channel
	one := func(i int, queue string) (err error) {
		defer s.limit(config.ConnectTimeout)()
		if channel == nil || channel.IsClosed() {
			if channel, err = s.conn.Channel(); err != nil {
				return fmt.Errorf("open a channel: %w", err)
			}
		}
		return do(i, queue, channel)
	}
	for i, topic := range config.Topics {
		queue, err := config.queue(topic)
		if err != nil {
			return err
		}
		if err := one(i, queue); err != nil {
			return fmt.Errorf("%w: queue %s: %w", bus.ErrUnavailable, queue, err)
		}
	}
	return nil
}
