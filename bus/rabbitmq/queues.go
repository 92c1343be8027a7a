package rabbitmq

import (
	"context"
	"errors"
	"fmt"

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
		q, err := channel.QueueDeclarePassive(queue, true, false, false, false, nil)
		switch refused := new(amqp.Error); {
		case errors.As(err, &refused) && refused.Code == amqp.NotFound:
			return nil
		case err != nil:
			return err
		case q.Messages+q.Consumers > 0:
			left++
			return nil
		}
		_, err = channel.QueueDelete(queue, false, false, false)
		return err
	})
	return left, err
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
