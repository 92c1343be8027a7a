package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus"
)

const (
	// chunk is how many notices are written with one word to the system.
	chunk = 128
	// noticesInFlight is how many of a Publish may be written and unconfirmed: some milliseconds' worth.
	noticesInFlight = 2048
	// The pauses between tries.
	minRefusalPause = 50 * time.Millisecond
	maxRefusalPause = time.Second
	// askEvery is how often a connection asks whether the broker takes messages: one that is short of memory tells
	// it only to those who publish just then.
	askEvery = 500 * time.Millisecond
)

// Exchanges publishes notices to the topic exchanges that other services bind their queues to, over a
// connection of its own. Its methods may be called from many goroutines at once.
type Exchanges struct {
	config    Config
	link      *link
	closeOnce sync.Once

	turn     chan struct{} // of whoever writes: holds a token while nobody does
	offering chan struct{} // of whoever offers, likewise
	refusals refusals
}

// NewExchanges connects, declares the exchanges <prefix>.events, <prefix>.outcomes and <prefix>.dead, durable and of
// type topic, and returns once that is done. It gives up with the context, or after Config.ConnectTimeout, or at
// once when the broker refuses. From then on it connects again whenever the connection is lost.
func NewExchanges(ctx context.Context, config Config) (*Exchanges, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	e := &Exchanges{config: config.withDefaults(), turn: make(chan struct{}, 1), offering: make(chan struct{}, 1),
		refusals: newRefusals()}
	e.turn <- struct{}{}
	e.offering <- struct{}{}
	e.link = newLink(&e.config, "exchanges", publishHeartbeat)
	e.link.greet = e.open
	if err := e.link.start(ctx); err != nil {
		return nil, fmt.Errorf("exchanges: %w", err)
	}
	return e, nil
}

// exchange names an exchange on the broker.
func (c Config) exchange(name string) string {
	if name == "" {
		return ""
	}
	return c.Prefix + "." + name
}

// open declares what is published to, and the channels. A channel that breaks takes the connection along,
// which is nobody else's, and the next one declares anew.
func (e *Exchanges) open(s *session) error {
	channel, err := s.conn.Channel()
	if err != nil {
		return fmt.Errorf("open a channel: %w", err)
	}
	for _, name := range []string{bus.EventsExchange, bus.OutcomesExchange, bus.DeadExchange} {
		exchange := e.config.exchange(name)
		if err := channel.ExchangeDeclare(exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
			return fmt.Errorf("declare exchange %s: %w", exchange, err)
		}
	}
	if err := e.confirming(s, channel, func() bool { return false }); err != nil {
		return err
	}
	s.outlet, s.returns = channel, channel.NotifyReturn(make(chan amqp.Return, returnsRoom))
	asking, err := s.conn.Channel()
	if err != nil {
		return fmt.Errorf("open a channel: %w", err)
	}
	s.run(func() { e.ask(s, asking) })
	s.grave = make(chan struct{})
	s.run(func() { e.dig(s) })
	return e.hire(s)
}

// confirming has the broker confirm what is published on a channel, whose end is that of the connection, unless it was
// meant.
func (e *Exchanges) confirming(s *session, channel *amqp.Channel, meant func() bool) error {
	if err := channel.Confirm(false); err != nil {
		return fmt.Errorf("have publishing confirmed: %w", err)
	}
	closes := channel.NotifyClose(make(chan *amqp.Error, 1))
	s.run(func() {
		problem, some := <-closes
		if meant() {
			return
		}
		if some {
			e.config.Logger.Warn("RabbitMQ closed the channel to the exchanges", "err", problem)
		}
		s.cut()
	})
	return nil
}

// ask publishes a message that goes to no queue, now and then: Ready is to tell the truth also of a connection
// over which there is nothing to say.
func (e *Exchanges) ask(s *session, channel *amqp.Channel) {
	ticks := time.NewTicker(askEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-s.ended:
			return
		}
		if s.blocked.Load() != nil {
			continue
		}
		if channel.Publish("", e.config.Prefix+".nobody", false, false, amqp.Publishing{}) != nil {
			return // with the connection, or for good where it may not be asked
		}
	}
}

// Publish publishes notices in order and returns nil once the broker has confirmed each of them, that is,
// once every queue that wanted it has it: a quorum queue on the disks of most of its nodes. Notices that no
// queue wants are confirmed too. When the connection is lost, or the broker takes nothing for a while, it
// waits, and publishes again what was not confirmed. So each arrives at least once, and Publish fails only
// with the context or Close, when any of them may have arrived or not.
//
// What a queue gets of one call, and of calls one after another, it gets in order, first deliveries that
// is: what is published again after a lost connection it may have had before. A queue that refuses a notice
// (reject-publish) loses its place: the notice is tried again, behind those that followed it, for 10 s, and
// then counted and passed over. While the notices of a routing key are refused for longer than that, they are
// passed over at the first refusal, so that nobody waits for such a queue again and again. Other queues
// may get a notice that was tried again more than once. Calls at the same time have no order among them.
//
// A notice that AMQP cannot carry (a name or header key of more than 255 bytes, a header of a strange type,
// more than 16 MiB) is counted and passed over too: it would never arrive.
func (e *Exchanges) Publish(ctx context.Context, notices []bus.Notice) error {
	b := e.batch(notices)
	for len(b.todo) > 0 {
		s, err := e.connected(ctx)
		if err == nil {
			err = b.attempt(ctx, s)
		}
		if err == nil {
			err = b.pause(ctx)
		}
		if err != nil {
			return fmt.Errorf("publish to exchanges: %d of %d notices are not confirmed: %w",
				len(b.todo)+len(b.refused), len(notices), err)
		}
	}
	return nil
}

// connected waits for a connection.
func (e *Exchanges) connected(ctx context.Context) (*session, error) {
	for {
		s, _, changed := e.link.state()
		if s != nil {
			return s, nil
		}
		if err := e.await(ctx, changed); err != nil {
			return nil, err
		}
	}
}

// awaitRoom waits until the broker takes messages over a connection.
func (e *Exchanges) awaitRoom(ctx context.Context, s *session) error {
	for {
		now, _, changed := e.link.state()
		if now != s {
			return errLost
		}
		if s.blocked.Load() == nil {
			return nil
		}
		if err := e.await(ctx, changed); err != nil {
			return err
		}
	}
}

func (e *Exchanges) await(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return unknown(ctx)
	case <-e.link.ctx.Done():
		return errClosed
	}
}

// What ends a Publish leaves open what became of the notices.
var errClosed = fmt.Errorf("%w: %w", bus.ErrFateUnknown, bus.ErrClosed)

func unknown(ctx context.Context) error {
	return fmt.Errorf("%w: %w", bus.ErrFateUnknown, context.Cause(ctx))
}

// Ready says why nothing can be published at the moment; nil when it can.
func (e *Exchanges) Ready() error {
	_, err := e.link.usable()
	return err
}

// Close ends the connection, and with it whatever is being published, which may have arrived or not. It
// may be called again.
func (e *Exchanges) Close() error {
	e.closeOnce.Do(e.link.stop)
	return nil
}

// refusals are the routing keys whose notices some queue refuses, and since when. It is bounded: those that
// it has no room for are tried for the whole time in each batch.
type refusals struct {
	mu    sync.Mutex
	since map[routing]time.Time

	told   time.Time // when it was logged last that some are passed over
	untold int       // passed over since then, whoever refused them
}

// tellEvery is how often it is logged that notices are passed over: a queue may refuse thousands a second, for days.
const tellEvery = 10 * time.Second

// tell counts notices that are passed over, and says how many are to be logged now.
func (r *refusals) tell(given int, now time.Time) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.untold += given
	if now.Sub(r.told) < tellEvery {
		return 0
	}
	n, r.untold, r.told = r.untold, 0, now
	return n
}

type routing struct{ exchange, key string }

const mostRefusals = 4096

func newRefusals() refusals { return refusals{since: map[routing]time.Time{}} }

// refused notes a refusal, and says since when there have been such: of this routing key, or in the batch.
func (r *refusals) refused(n *bus.Notice, inBatch, now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := routing{n.Exchange, n.RoutingKey}
	since, known := r.since[at]
	if !known {
		since = now
		if len(r.since) < mostRefusals {
			r.since[at] = now
		}
	}
	return earlier(since, inBatch)
}

// taken notes that a notice was not refused.
func (r *refusals) taken(n *bus.Notice) {
	r.mu.Lock()
	if len(r.since) > 0 {
		delete(r.since, routing{n.Exchange, n.RoutingKey})
	}
	r.mu.Unlock()
}

// sendable says why a notice cannot be sent; nil when it can.
func sendable(n *bus.Notice) error {
	for _, name := range []string{n.RoutingKey, n.MessageID, n.ContentType, n.ContentEncoding, n.CorrelationID} {
		if len(name) > maxName {
			return fmt.Errorf("%.20s… has %d bytes and may have %d", name, len(name), maxName)
		}
	}
	size := len(n.Body)
	for key, value := range n.Headers {
		if len(key) > maxName {
			return fmt.Errorf("the header %.20s… has %d bytes and may have %d", key, len(key), maxName)
		}
		if text, some := value.(string); some {
			size += len(text)
		}
		size += len(key)
	}
	if size > maxBody {
		return fmt.Errorf("it has %d bytes and may have %d", size, maxBody)
	}
	switch n.Exchange {
	case "", bus.EventsExchange, bus.OutcomesExchange, bus.DeadExchange:
	default:
		return fmt.Errorf("there is no exchange %s", n.Exchange)
	}
	return amqp.Table(n.Headers).Validate()
}

var errLost = errors.New("the connection was lost")
