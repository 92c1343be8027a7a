package rabbitmq

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus"
)

// Subscriber subscribes to lane topics over a connection of its own. Its methods may be called from many
// goroutines at once.
type Subscriber struct {
	config Config
	link   *link

	ctx   context.Context
	leave context.CancelFunc

	mu            sync.Mutex
	closed        bool
	live          map[*subscription]struct{}
	turns         map[string]chan struct{} // of each queue: holds a token while nobody asks the broker for it
	subscriptions sync.WaitGroup
	closeOnce     sync.Once
}

var (
	_ message.Subscriber           = (*Subscriber)(nil)
	_ message.SubscribeInitializer = (*Subscriber)(nil)
)

// NewSubscriber connects and returns once that is done. It gives up with the context, or after
// Config.ConnectTimeout, or at once when the broker refuses. From then on it connects again whenever the
// connection is lost.
func NewSubscriber(ctx context.Context, config Config) (*Subscriber, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	s := &Subscriber{config: config.withDefaults(), live: map[*subscription]struct{}{}, turns: map[string]chan struct{}{}}
	s.ctx, s.leave = context.WithCancel(context.Background())
	s.link = newLink(&s.config, "subscriber", consumeHeartbeat)
	if err := s.link.start(ctx); err != nil {
		return nil, fmt.Errorf("subscriber: %w", err)
	}
	return s, nil
}

// Subscribe starts a subscription that ends with the context or the subscriber. It returns once the broker
// knows of it, or gives up after Config.ConnectTimeout. From then on it goes on over lost connections: what
// the broker was not told to be acknowledged comes again.
//
// When it ends, the broker is told what has been acknowledged before the channel is closed, and gets everything else
// back; acknowledgements after that are not noticed. Only one subscription of a topic gets messages at a time, the one
// that came first; the next gets them from the first unacknowledged one on.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	queue, err := s.config.queue(topic)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	sub := newSubscription(ctx, s, queue)
	s.mu.Lock()
	if sub.turn = s.turns[queue]; sub.turn == nil {
		sub.turn = make(chan struct{}, 1)
		sub.turn <- struct{}{}
		s.turns[queue] = sub.turn
	}
	if s.closed {
		s.mu.Unlock()
		sub.cancel()
		return nil, fmt.Errorf("subscribe to %s: %w", topic, bus.ErrClosed)
	}
	s.live[sub] = struct{}{}
	s.subscriptions.Go(func() {
		sub.run()
		s.mu.Lock()
		delete(s.live, sub)
		s.mu.Unlock()
	})
	s.mu.Unlock()
	patience := time.NewTimer(s.config.ConnectTimeout)
	defer patience.Stop()
	select {
	case err = <-sub.begun:
	case <-patience.C:
		sub.cancel()
		err = fmt.Errorf("%w: RabbitMQ did not answer within %s", bus.ErrUnavailable, s.config.ConnectTimeout)
	}
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	return sub.out, nil
}

// SubscribeInitialize declares the topic's queue.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	queue, err := s.config.queue(topic)
	if err != nil {
		return fmt.Errorf("declare %s: %w", topic, err)
	}
	session, problem, _ := s.link.state()
	if session == nil {
		return fmt.Errorf("declare %s: %w: no connection to RabbitMQ: %w", topic, bus.ErrUnavailable, problem)
	}
	defer session.limit(s.config.ConnectTimeout)()
	if _, err := session.open(&s.config, queue, (*amqp.Channel).Close); err != nil {
		return fmt.Errorf("declare %s: %w: %w", topic, bus.ErrUnavailable, err)
	}
	return nil
}

// Ready says why nothing can be consumed at the moment; nil when it can.
func (s *Subscriber) Ready() error {
	if session, problem, _ := s.link.state(); session == nil {
		return fmt.Errorf("%w: no connection to RabbitMQ: %w", bus.ErrUnavailable, problem)
	}
	return nil
}

// Consuming tells since when a topic's subscription has had the consumer at the broker that it has now, or why it
// brings nothing at the moment. A consumer that has just begun may have to wait until the broker finds that the one
// before it is dead, and gets what that one had in hand first.
func (s *Subscriber) Consuming(topic string) (since time.Time, err error) {
	queue, err := s.config.queue(topic)
	if err == nil {
		err = s.Ready()
	}
	if err != nil {
		return time.Time{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.live {
		if sub.queue != queue || sub.ctx.Err() != nil {
			continue
		}
		began := sub.consuming.Load()
		if began == nil {
			return time.Time{}, fmt.Errorf("%w: the queue %s has not been given a consumer yet", bus.ErrUnavailable, queue)
		}
		if began.After(since) {
			since = *began
		}
	}
	if since.IsZero() {
		return since, fmt.Errorf("%w: nobody has subscribed to the queue %s", bus.ErrUnavailable, queue)
	}
	return since, nil
}

// Close ends all subscriptions, which gives back what they have not acknowledged, and the connection. It
// waits for none of their consumers. It may be called again.
func (s *Subscriber) Close() error {
	s.closeOnce.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.leave()
		if session, _, _ := s.link.state(); session != nil {
			defer session.limit(closeGrace)() // for those that wait for an answer of the broker's
		}
		s.subscriptions.Wait()
		s.link.stop()
	})
	return nil
}
