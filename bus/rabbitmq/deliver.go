package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus"
)

const (
	// couriers is how many calls of Deliver go on at once.
	couriers = 2
	// mostReturned is how many returned notices a courier remembers: more than are under way at once.
	mostReturned = 8 * chunk
)

// courier is a channel for notices that are delivered one by one, of which those come back that have no queue.
type courier struct {
	channel *amqp.Channel
	asked   chan chan map[address]bool // for what came back since it was asked last
	ended   chan struct{}
	retired atomic.Bool
}

// address is by what a notice that came back is known again.
type address struct{ key, messageID string }

// hire opens the channels of a connection that notices are delivered over.
func (e *Exchanges) hire(s *session) error {
	s.couriers = make(chan *courier, couriers)
	for range couriers {
		if err := e.hireOne(s); err != nil {
			return err
		}
	}
	return nil
}

func (e *Exchanges) hireOne(s *session) error {
	channel, err := s.conn.Channel()
	if err != nil {
		return fmt.Errorf("open a channel: %w", err)
	}
	c := &courier{channel: channel, asked: make(chan chan map[address]bool), ended: make(chan struct{})}
	if err := e.confirming(s, channel, c.retired.Load); err != nil {
		return err
	}
	returns := channel.NotifyReturn(make(chan amqp.Return))
	s.run(func() { c.collect(returns) })
	s.couriers <- c
	return nil
}

// retire replaces a courier that something was left unanswered of: the library remembers all confirmations that
// come after one that does not.
func (e *Exchanges) retire(s *session, c *courier) {
	c.retired.Store(true)
	s.run(func() {
		if err := c.channel.Close(); err == nil {
			err = e.hireOne(s)
			if err == nil {
				return
			}
		}
		s.cut()
	})
}

// collect keeps what comes back, until the connection ends. As nothing waits between the library and it, whoever
// sees a confirmation and then asks is told of all that came back before.
func (c *courier) collect(returns <-chan amqp.Return) {
	defer close(c.ended)
	back := map[address]bool{}
	for {
		select {
		case r, open := <-returns:
			if !open {
				return
			}
			if len(back) == mostReturned { // of deliveries that were given up
				clear(back)
			}
			back[address{r.RoutingKey, r.MessageId}] = true
		case reply := <-c.asked:
			reply <- back
			back = map[address]bool{}
		}
	}
}

// returned is what came back since it was asked for last.
func (c *courier) returned() (map[address]bool, error) {
	reply := make(chan map[address]bool, 1)
	select {
	case c.asked <- reply:
		return <-reply, nil
	case <-c.ended:
		return nil, errLost
	}
}

// Deliver publishes each notice by itself and tells what became of each: so nobody waits for a queue that refuses,
// or of which nothing is heard, longer than the time given, which is counted for some notices together. Nothing
// is tried again that the broker has answered. When the connection is lost, or the broker takes nothing for a while,
// it waits, and publishes again what was not answered. What goes to somebody over direct reply-to counts as taken,
// since the broker does not tell. It fails only with the context or Close. Two calls go on at
// once; to deliver is one thing and to publish another, and neither waits for the other.
func (e *Exchanges) Deliver(ctx context.Context, notices []bus.Notice, within time.Duration) ([]bus.Receipt, error) {
	receipts := make([]bus.Receipt, len(notices))
	var todo []int
	for i := range notices {
		if err := sendable(&notices[i]); err != nil {
			e.config.Logger.Error("a notice cannot be sent", "message_id", fmt.Sprintf("%.255s", notices[i].MessageID), "err", err)
			receipts[i] = bus.Unsendable
			continue
		}
		todo = append(todo, i)
	}
	for len(todo) > 0 {
		s, err := e.connected(ctx)
		if err == nil {
			d := delivery{e: e, s: s, notices: notices, receipts: receipts, todo: todo[:min(len(todo), chunk)], within: within}
			if err = d.run(ctx); err == nil {
				todo = todo[len(d.todo):]
			} else if errors.Is(err, errLost) {
				err = e.await(ctx, s.ended) // so that the next attempt finds another one
			}
		}
		if err != nil {
			return nil, fmt.Errorf("deliver: %d of %d notices are not answered: %w", len(todo), len(notices), err)
		}
	}
	return receipts, nil
}

// delivery is some notices on their way over one connection.
type delivery struct {
	e        *Exchanges
	s        *session
	notices  []bus.Notice
	receipts []bus.Receipt
	todo     []int // of the notices
	within   time.Duration
	confirms []*amqp.DeferredConfirmation // of todo
	late     bool                         // some are not answered
}

// run delivers. When the connection is lost it is as if nothing had been sent.
func (d *delivery) run(ctx context.Context) error {
	if err := d.e.awaitRoom(ctx, d.s); err != nil {
		return err
	}
	if err := d.awaitGrave(ctx); err != nil {
		return err
	}
	var c *courier
	select {
	case c = <-d.s.couriers:
	case <-ctx.Done():
		return unknown(ctx)
	case <-d.s.ended:
		return errLost
	}
	defer func() {
		if d.late {
			d.e.retire(d.s, c)
			return
		}
		d.s.couriers <- c
	}()
	if _, err := c.returned(); err != nil { // of earlier ones
		return err
	}
	if err := d.write(ctx, c); err != nil {
		return err
	}
	if err := d.settle(ctx, c); err != nil {
		return err
	}
	back, err := c.returned()
	if err != nil {
		return err
	}
	for _, i := range d.todo {
		if n := &d.notices[i]; d.receipts[i] == bus.Taken && back[address{n.RoutingKey, n.MessageID}] {
			d.receipts[i] = bus.Unrouted
		}
	}
	return nil
}

// awaitGrave waits for the queue for dead letters, where there are some, but not for long.
func (d *delivery) awaitGrave(ctx context.Context) error {
	if !slices.ContainsFunc(d.todo, func(i int) bool { return d.notices[i].Exchange == bus.DeadExchange }) {
		return nil
	}
	over := time.NewTimer(d.within)
	defer over.Stop()
	select {
	case <-d.s.grave:
	case <-over.C:
	case <-ctx.Done():
		return unknown(ctx)
	case <-d.s.ended:
		return errLost
	}
	return nil
}

func (d *delivery) write(ctx context.Context, c *courier) error {
	select {
	case <-d.e.turn:
	case <-ctx.Done():
		return unknown(ctx)
	case <-d.s.ended:
		return errLost
	}
	defer func() { d.e.turn <- struct{}{} }()
	unhook := context.AfterFunc(ctx, d.s.cut) // a write can get stuck
	defer unhook()
	d.s.socket.put()
	for _, i := range d.todo {
		n := &d.notices[i]
		confirm, err := c.channel.PublishWithDeferredConfirm(
			d.e.config.exchange(n.Exchange), n.RoutingKey, !direct(n), false, publishing(n))
		if err != nil {
			d.s.cut()
			return errLost
		}
		d.confirms = append(d.confirms, confirm)
	}
	if d.s.socket.pull() != nil {
		d.s.cut()
	}
	return nil
}

// direct tells whether a notice answers over direct reply-to, which is no queue: were it to come back when there is
// none, it would come back always, having arrived or not.
func direct(n *bus.Notice) bool {
	return n.Exchange == "" && strings.HasPrefix(n.RoutingKey, "amq.rabbitmq.reply-to.")
}

// settle notes what the broker answers within the time.
func (d *delivery) settle(ctx context.Context, c *courier) error {
	over := time.NewTimer(d.within)
	defer over.Stop()
	for at, confirm := range d.confirms {
		select {
		case <-confirm.Done():
		default:
			if d.late {
				d.receipts[d.todo[at]] = bus.Unanswered
				continue
			}
			select {
			case <-confirm.Done():
			case <-over.C:
				d.late = true
				d.receipts[d.todo[at]] = bus.Unanswered
				continue
			case <-ctx.Done():
				return unknown(ctx)
			}
		}
		switch {
		case confirm.Acked():
			d.receipts[d.todo[at]] = bus.Taken
		case c.channel.IsClosed(): // the library calls everything refused when a channel closes
			return errLost
		default:
			d.receipts[d.todo[at]] = bus.Refused
		}
	}
	return nil
}
