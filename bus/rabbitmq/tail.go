package rabbitmq

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus"
)

const (
	tailExchange = "tail"
	// tailMessages and tailBytes bound what waits to be written, and tailBytes also what the broker keeps
	// for one subscriber.
	tailMessages = 4096
	tailBytes    = 16 << 20
)

// Tail carries short-lived messages between processes: each goes to all who subscribe to its key. Nothing is
// confirmed, kept on disk or sent again, and what does not fit is dropped; nobody may rely on it.
//
// It connects when it is first used, with one connection for publishing and one for all subscriptions, and
// again whenever a connection is lost. Its methods may be called from many goroutines at once.
type Tail struct {
	config  Config
	address string
	ctx     context.Context
	leave   context.CancelFunc

	mu          sync.Mutex
	closed      bool
	publishing  *link // nil until it is needed
	consuming   *link // as above
	waiting     fifo[tailMessage]
	bytes       int           // of these
	wake        chan struct{} // holds a token when something waits
	followers   sync.WaitGroup
	closingOnce sync.Once
}

type tailMessage struct {
	key  string
	body []byte
}

// NewTail checks the configuration; it does not connect yet.
func NewTail(config Config) (*Tail, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	t := &Tail{config: config.withDefaults(), address: rand.Text(), wake: make(chan struct{}, 1)}
	t.ctx, t.leave = context.WithCancel(context.Background())
	return t, nil
}

// Address is a key that nobody else has, for messages to this process.
func (t *Tail) Address() string { return t.address }

// Publish hands a message over and waits for nothing. The body must not be changed any more. Its errors, that
// too much waits already or that the tail is closed, are those of package bus.
func (t *Tail) Publish(key string, body []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return fmt.Errorf("publish to the tail: %w", bus.ErrClosed)
	}
	if t.publishing == nil {
		t.publishing = newLink(&t.config, "tail publisher", publishHeartbeat)
		t.publishing.greet = t.openOutlet
		t.publishing.began = func(s *session) { s.run(func() { t.write(s) }) }
		go t.publishing.keep()
	}
	if t.waiting.len() >= tailMessages || len(body) > maxBody || t.bytes > 0 && t.bytes+len(body) > tailBytes {
		t.config.Metrics.TailDropped()
		return fmt.Errorf("publish to the tail: %w", bus.ErrFull)
	}
	t.waiting.push(tailMessage{key, body})
	t.bytes += len(body)
	signal(t.wake)
	return nil
}

func (t *Tail) openOutlet(s *session) error {
	channel, err := s.conn.Channel()
	if err == nil {
		s.outlet = channel
		err = t.declare(channel)
	}
	return err
}

func (t *Tail) declare(channel *amqp.Channel) error {
	exchange := t.config.exchange(tailExchange)
	if err := channel.ExchangeDeclare(exchange, amqp.ExchangeDirect, true, false, false, false, nil); err != nil {
		return fmt.Errorf("declare exchange %s: %w", exchange, err)
	}
	return nil
}

// write publishes over one connection what waits.
func (t *Tail) write(s *session) {
	closes := s.outlet.NotifyClose(make(chan *amqp.Error, 1))
	for {
		_, _, changed := t.publishing.state()
		if s.blocked.Load() != nil {
			select {
			case <-changed:
				continue
			case <-s.ended:
				return
			}
		}
		select {
		case <-t.wake:
		case <-changed:
			continue
		case problem, some := <-closes: // the connection is nobody else's
			if some {
				t.config.Logger.Warn("RabbitMQ closed the channel to the tail", "err", problem)
			}
			s.cut()
			return
		case <-s.ended:
			return
		}
		if err := t.flush(s); err != nil {
			s.cut()
			return
		}
	}
}

// flush writes what waits.
func (t *Tail) flush(s *session) error {
	t.mu.Lock()
	messages := make([]tailMessage, 0, t.waiting.len())
	for t.waiting.len() > 0 {
		messages = append(messages, t.waiting.pop())
	}
	t.bytes = 0
	t.mu.Unlock()
	s.socket.put()
	exchange := t.config.exchange(tailExchange)
	for _, m := range messages {
		if err := s.outlet.Publish(exchange, m.key, false, false, amqp.Publishing{Body: m.body, DeliveryMode: amqp.Transient}); err != nil {
			return err
		}
	}
	return s.socket.pull()
}

// Subscribe calls body for every message that is published from now on under one of the keys, by anybody, one
// after another, until the context ends or the tail is closed; those of one publisher come in order. The
// function must not wait for long, because the broker drops what waits for it, oldest first, beyond 16 MiB; nor
// close the tail.
func (t *Tail) Subscribe(ctx context.Context, keys []string, body func([]byte)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return fmt.Errorf("subscribe to the tail: %w", bus.ErrClosed)
	}
	if t.consuming == nil {
		t.consuming = newLink(&t.config, "tail subscriber", consumeHeartbeat)
		go t.consuming.keep()
	}
	f := &follower{tail: t, keys: keys, body: body}
	t.followers.Go(func() { f.run(ctx) })
	return nil
}

// Close ends all subscriptions and both connections; what waits to be written is dropped. It may be called
// again.
func (t *Tail) Close() error {
	t.closingOnce.Do(func() {
		t.mu.Lock()
		t.closed = true
		publishing, consuming := t.publishing, t.consuming
		t.mu.Unlock()
		t.leave()
		t.followers.Wait()
		for _, l := range []*link{publishing, consuming} {
			if l != nil {
				l.stop()
			}
		}
	})
	return nil
}
