package rabbitmq

import (
	"context"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const followerPrefetch = 512

// follower is one subscription to the tail.
type follower struct {
	tail *Tail
	keys []string
	body func([]byte)

	tag   uint64 // of the newest delivery
	acked uint64 // up to which the broker has been told
}

func (f *follower) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.tail.ctx, cancel)()
	pause := minBackoff
	for ctx.Err() == nil {
		s, _, changed := f.tail.consuming.state()
		if s == nil {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		channel, deliveries, err := f.open(s)
		if err == nil {
			pause = minBackoff
			f.follow(ctx, channel, deliveries)
			if !channel.IsClosed() {
				met := s.limit(closeGrace)
				_ = channel.Close()
				met()
			}
			continue
		}
		f.tail.config.Logger.Warn("cannot follow the tail", "err", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, f.tail.config.MaxBackoff)
	}
}

// open makes a queue of the follower's own, which ends with the channel's consumer, and consumes from it.
func (f *follower) open(s *session) (*amqp.Channel, <-chan amqp.Delivery, error) {
	defer s.limit(f.tail.config.ConnectTimeout)()
	channel, err := s.conn.Channel()
	if err != nil {
		return nil, nil, fmt.Errorf("open a channel: %w", err)
	}
	deliveries, err := f.bind(channel)
	if err != nil {
		if !channel.IsClosed() {
			_ = channel.Close()
		}
		return nil, nil, err
	}
	return channel, deliveries, nil
}

func (f *follower) bind(channel *amqp.Channel) (<-chan amqp.Delivery, error) {
	if err := f.tail.declare(channel); err != nil {
		return nil, err
	}
	queue, err := channel.QueueDeclare("", false, true, true, false, amqp.Table{
		amqp.QueueTypeArg: amqp.QueueTypeClassic, "x-max-length-bytes": int64(tailBytes), "x-overflow": "drop-head",
	})
	if err != nil {
		return nil, fmt.Errorf("declare a queue: %w", err)
	}
	for _, key := range f.keys {
		if err := channel.QueueBind(queue.Name, key, f.tail.config.exchange(tailExchange), false, nil); err != nil {
			return nil, fmt.Errorf("bind the queue to %s: %w", key, err)
		}
	}
	// Acknowledgements bound what the library takes in; the broker is not asked to keep anything.
	if err := channel.Qos(followerPrefetch, 0, false); err != nil {
		return nil, fmt.Errorf("bound deliveries: %w", err)
	}
	deliveries, err := channel.Consume(queue.Name, "", false, true, false, false, nil)
	if err != nil {
		return nil, fmt.Errorf("consume: %w", err)
	}
	return deliveries, nil
}

func (f *follower) follow(ctx context.Context, channel *amqp.Channel, deliveries <-chan amqp.Delivery) {
	f.tag, f.acked = 0, 0
	for {
		select {
		case d, open := <-deliveries:
			if !open {
				return
			}
			f.take(channel, &d)
			continue
		default:
		}
		f.ack(channel)
		select {
		case d, open := <-deliveries:
			if !open {
				return
			}
			f.take(channel, &d)
		case <-ctx.Done():
			return
		}
		if ctx.Err() != nil {
			return
		}
	}
}

func (f *follower) take(channel *amqp.Channel, d *amqp.Delivery) {
	if f.tag = d.DeliveryTag; f.tag-f.acked >= followerPrefetch/2 {
		f.ack(channel)
	}
	f.body(d.Body)
}

// ack tells the broker of all deliveries so far. Its errors need no answer: the channel is closed then.
func (f *follower) ack(channel *amqp.Channel) {
	if f.tag > f.acked {
		_ = channel.Ack(f.tag, true)
		f.acked = f.tag
	}
}
