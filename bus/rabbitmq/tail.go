package rabbitmq

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus"
)

const (
	tailExchange = "tail"
	// tailMessages and tailBytes bound what waits to be written, and tailBytes also what the broker keeps
	// for one subscriber.
	tailMessages = 4096
	tailBytes    = 16 << 20
	// tailBeat is after what time of silence a publisher tells how far it got, so that the loss of its last
	// words is noticed.
	tailBeat = time.Second
	// beat marks a message that says just that.
	beat = "beat"
)

// Tail tells every process what has just happened, if it can: nothing is confirmed, kept on disk or sent
// again, and what does not fit is dropped. Whoever subscribes is told when something may have been lost, and
// must be able to find it elsewhere.
//
// It connects when it is first used, with one connection for publishing and one for all subscriptions, and
// again whenever a connection is lost. Its methods may be called from many goroutines at once.
type Tail struct {
	config Config
	id     string // of this publisher
	ctx    context.Context
	leave  context.CancelFunc

	mu          sync.Mutex
	closed      bool
	publishing  *link // nil until it is needed
	consuming   *link // as above
	waiting     fifo[tailMessage]
	bytes       int           // of these
	number      uint64        // of the newest message, from 1
	wake        chan struct{} // holds a token when something waits
	followers   sync.WaitGroup
	closingOnce sync.Once
}

type tailMessage struct {
	number uint64
	body   []byte
}

// NewTail checks the configuration; it does not connect yet.
func NewTail(config Config) (*Tail, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	t := &Tail{config: config.withDefaults(), id: rand.Text(), wake: make(chan struct{}, 1)}
	t.ctx, t.leave = context.WithCancel(context.Background())
	return t, nil
}

// Publish hands a message over and waits for nothing. The body must not be changed any more.
func (t *Tail) Publish(body []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if t.publishing == nil {
		t.publishing = newLink(&t.config, "tail publisher", publishHeartbeat)
		t.publishing.greet = t.openOutlet
		t.publishing.began = func(s *session) { s.run(func() { t.write(s) }) }
		go t.publishing.keep()
	}
	t.number++ // those that are dropped too, so that they are missed
	if t.waiting.len() >= tailMessages || len(body) > maxBody || t.bytes > 0 && t.bytes+len(body) > tailBytes {
		t.config.Metrics.TailDropped()
		return
	}
	t.waiting.push(tailMessage{t.number, body})
	t.bytes += len(body)
	signal(t.wake)
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
	if err := channel.ExchangeDeclare(exchange, amqp.ExchangeFanout, true, false, false, false, nil); err != nil {
		return fmt.Errorf("declare exchange %s: %w", exchange, err)
	}
	return nil
}

// write publishes over one connection what waits. It begins with how far it got before: the connection
// before this one may have taken some with it.
func (t *Tail) write(s *session) {
	closes := s.outlet.NotifyClose(make(chan *amqp.Error, 1))
	silence := time.NewTimer(0)
	defer silence.Stop()
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
			silence.Reset(tailBeat)
		case <-silence.C:
		case <-changed:
			continue
		case <-closes: // the connection is nobody else's
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

// flush writes what waits, or how far that got when nothing does.
func (t *Tail) flush(s *session) error {
	t.mu.Lock()
	messages := make([]tailMessage, 0, t.waiting.len())
	for t.waiting.len() > 0 {
		messages = append(messages, t.waiting.pop())
	}
	t.bytes = 0
	number := t.number
	t.mu.Unlock()
	s.socket.put()
	for _, m := range messages {
		if err := t.publish(s, m.number, amqp.Publishing{Body: m.body}); err != nil {
			return err
		}
	}
	if len(messages) == 0 && number > 0 {
		if err := t.publish(s, number, amqp.Publishing{Type: beat}); err != nil {
			return err
		}
	}
	return s.socket.pull()
}

func (t *Tail) publish(s *session, number uint64, p amqp.Publishing) error {
	p.MessageId, p.CorrelationId, p.DeliveryMode = t.id, strconv.FormatUint(number, 10), amqp.Transient
	return s.outlet.Publish(t.config.exchange(tailExchange), "", false, false, p)
}

// Subscribe calls body for every message that is published from now on, by anybody, one after another, until
// the context ends or the tail is closed; those of one publisher come in order. It calls lost, from the same
// goroutine, whenever messages before the next one may have been missed: at the beginning and whenever there
// is a new connection, and when a publisher or the broker had to drop some. The loss of a publisher's last
// messages is noticed a second later. Neither function may wait for long, because the broker drops what
// waits for them, oldest first, beyond 16 MiB; nor close the tail.
func (t *Tail) Subscribe(ctx context.Context, body func([]byte), lost func()) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return fmt.Errorf("subscribe to the tail: %w", bus.ErrClosed)
	}
	if t.consuming == nil {
		t.consuming = newLink(&t.config, "tail subscriber", consumeHeartbeat)
		go t.consuming.keep()
	}
	f := &follower{tail: t, body: body, lost: lost}
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
