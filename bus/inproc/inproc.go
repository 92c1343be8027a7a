// Package inproc is the bus within one process: Watermill publisher, Watermill subscriber and
// bus.Publisher in one, in memory.
//
//	b := inproc.New(inproc.Config{})
//	defer b.Close()
//	frames, err := b.Subscribe(ctx, bus.LaneTopic(0))     // the worker's end
//	b.PublishAsync(bus.LaneTopic(0), m, func(err error) { // the gateway's end
//		// nil: the worker has acknowledged it, that is, committed it
//	})
//
// # Topics are work queues
//
// A topic keeps its messages in the order they were handed over, with or without a subscriber, up to
// [Config.MaxMessages] of them; they count until they are acknowledged. A message goes to one subscriber.
// Several subscribers of a topic compete: each message goes to the one with the fewest in hand, and order
// holds for each of them but not across them.
//
// # Delivery
//
// Other than Watermill's subscribers usually do, this one does not wait for an acknowledgement before the
// next message: up to [Config.Prefetch] of a subscription may be unacknowledged, because a worker takes
// all that is there and acknowledges after one commit. They lie in the channel's buffer, so whoever reads
// it without waiting gets what is there. They may be acknowledged in any order; acknowledgements are
// noticed in the order of delivery, each one once those before it are settled.
//
// A message that is nacked goes back to its place in the queue, before everything that came after it and
// has not been delivered yet, and is delivered again as a new copy. When a subscription ends (its context,
// or Close), what it has not acknowledged goes back in the same way and to the next subscriber; an
// acknowledgement that comes later than that is not noticed. Every delivery is a copy with a context of
// its own, derived from the subscription's and cancelled when the copy is settled.
//
// # Confirmation
//
// By default a message is confirmed (done(nil), a nil of Publish) when it has been acknowledged: nothing
// in memory is durable, but what the worker acknowledges it has committed. [ConfirmQueued] confirms what
// has merely been queued.
package inproc

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ticketed/doorman/bus"
)

// The defaults of Config.
const (
	DefaultMaxMessages = 1024
	DefaultPrefetch    = 64
)

// Confirm says when a message counts as published.
type Confirm uint8

const (
	// ConfirmAcked confirms a message when a subscriber has acknowledged it.
	ConfirmAcked Confirm = iota
	// ConfirmQueued confirms it as soon as it is queued, so that it is lost when the process ends: for
	// traffic that may be lost, and for programs that publish first and subscribe later.
	ConfirmQueued
)

// Config bounds a bus. Zero or less means the default.
type Config struct {
	MaxMessages int     // of a topic that are not acknowledged yet, queued and delivered; 1,024 by default
	Prefetch    int     // messages delivered to one subscription and not acknowledged yet; 64 by default
	Confirm     Confirm // when a message counts as published; acknowledged by default
}

// Bus is an in-process bus. Its methods may be called from many goroutines at once.
type Bus struct {
	config Config

	mu     sync.RWMutex
	topics map[string]*topic
	closed bool

	watchers  sync.WaitGroup
	closeOnce sync.Once
}

var (
	_ bus.Publisher      = (*Bus)(nil)
	_ message.Subscriber = (*Bus)(nil)
)

// New makes a bus without topics; each is made when it is first named, and stays.
func New(config Config) *Bus {
	if config.MaxMessages <= 0 {
		config.MaxMessages = DefaultMaxMessages
	}
	if config.Prefetch <= 0 {
		config.Prefetch = DefaultPrefetch
	}
	return &Bus{config: config, topics: map[string]*topic{}}
}

// PublishAsync hands one message over. done is called before it returns when the message is refused, with
// bus.ErrFull or bus.ErrClosed; otherwise once it is acknowledged, with nil, or when the bus is closed
// first: bus.ErrClosed if no subscriber ever received it, bus.ErrFateUnknown if one did. The message must
// not be changed any more, except after a refusal. done must not block and must not close the bus.
func (b *Bus) PublishAsync(topic string, m *message.Message, done func(error)) {
	if err := b.publish(topic, m, done); err != nil {
		done(err)
	}
}

// Publish hands messages over in order and waits until all are confirmed. It never waits for room: at the
// first message that is refused it stops, waits for those before it and returns bus.ErrFull or
// bus.ErrClosed; the messages after that one have not been published. When the context of a message ends
// first, or the bus is closed while a subscriber has it, the error is bus.ErrFateUnknown.
func (b *Bus) Publish(topic string, messages ...*message.Message) error {
	confirms := make([]chan error, 0, len(messages))
	var problem error
	for i, m := range messages {
		confirm := make(chan error, 1)
		if err := b.publish(topic, m, func(err error) { confirm <- err }); err != nil {
			problem = publishError(topic, i, len(messages), err)
			break
		}
		confirms = append(confirms, confirm)
	}
	for i, confirm := range confirms {
		var err error
		select {
		case err = <-confirm:
		case <-messages[i].Context().Done():
			err = fmt.Errorf("%w: %w", bus.ErrFateUnknown, context.Cause(messages[i].Context()))
		}
		if err != nil {
			problem = errors.Join(problem, publishError(topic, i, len(messages), err))
		}
	}
	return problem
}

func publishError(topic string, i, n int, err error) error {
	return fmt.Errorf("publish message %d of %d to %s: %w", i+1, n, topic, err)
}

func (b *Bus) publish(topic string, m *message.Message, done func(error)) error {
	t, err := b.topic(topic)
	if err != nil {
		return err
	}
	if b.config.Confirm == ConfirmAcked {
		return t.take(&entry{message: m, done: done})
	}
	if err := t.take(&entry{message: m}); err != nil {
		return err
	}
	done(nil)
	return nil
}

// Subscribe starts a subscription that ends with the context or the bus. Its channel is closed then; what
// lies in it unread goes back to the queue.
func (b *Bus) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	s, err := b.subscribe(ctx, topic)
	if err != nil {
		return nil, err
	}
	return s.out, nil
}

func (b *Bus) subscribe(ctx context.Context, topic string) (*subscription, error) {
	t, err := b.topic(topic)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	s, err := t.join(ctx)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	return s, nil
}

// Close refuses what is published from now on, ends all subscriptions and tells the fate of every message
// that is not acknowledged: bus.ErrClosed when no subscriber ever received it, bus.ErrFateUnknown when one
// did. Stop the subscribers' work first: what they acknowledged before Close is confirmed.
func (b *Bus) Close() error {
	b.closeOnce.Do(func() {
		b.mu.Lock()
		b.closed = true
		topics := b.topics
		b.mu.Unlock()
		for _, t := range topics {
			t.shut()
		}
		b.watchers.Wait()
		for _, t := range topics {
			t.abandon()
		}
	})
	return nil
}

func (b *Bus) topic(name string) (*topic, error) {
	b.mu.RLock()
	t, closed := b.topics[name], b.closed
	b.mu.RUnlock()
	if t != nil || closed {
		return t, closedError(closed)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, bus.ErrClosed
	}
	if t = b.topics[name]; t == nil {
		t = &topic{config: &b.config, watchers: &b.watchers}
		b.topics[name] = t
	}
	return t, nil
}

func closedError(closed bool) error {
	if closed {
		return bus.ErrClosed
	}
	return nil
}
