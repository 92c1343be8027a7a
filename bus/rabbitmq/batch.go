package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus"
)

// batch is the notices of one Publish on their way.
type batch struct {
	e       *Exchanges
	notices []bus.Notice
	todo    []int // the notices to be published, in order
	refused []int // those of the attempt that a queue refused

	confirms []*amqp.DeferredConfirmation // of todo, in the attempt
	settled  int                          // that many of todo are answered, in the attempt
	left     []int                        // those of the answered ones that the lost connection left open

	refusing time.Time     // since when some are refused; zero while none are
	wait     time.Duration // before the next try of those
}

func (e *Exchanges) batch(notices []bus.Notice) *batch {
	b := &batch{e: e, notices: notices, todo: make([]int, 0, len(notices))}
	for i := range notices {
		if err := sendable(&notices[i]); err != nil {
			e.config.Logger.Error("a notice cannot be sent and is passed over",
				"message_id", fmt.Sprintf("%.255s", notices[i].MessageID), "err", err)
			e.config.Metrics.PassedOver(1)
			continue
		}
		b.todo = append(b.todo, i)
	}
	b.confirms = make([]*amqp.DeferredConfirmation, 0, len(b.todo))
	return b
}

// attempt publishes all that is to do over one connection. Afterwards todo is what that connection left open,
// and refused what a queue has refused. It fails with the context or when the exchanges are closed.
func (b *batch) attempt(ctx context.Context, s *session) error {
	began := time.Now()
	slow := time.AfterFunc(b.e.config.ConfirmTimeout, func() {
		b.e.config.Logger.Warn("RabbitMQ has not confirmed notices; a queue that is bound to the exchanges may have no leader",
			"waited", b.e.config.ConfirmTimeout)
	})
	defer slow.Stop()
	b.confirms, b.settled, b.left, b.refused = b.confirms[:0], 0, nil, nil
	var err error
	for err == nil && len(b.confirms) < len(b.todo) {
		if err = b.settle(ctx, s, len(b.confirms)-noticesInFlight+chunk); err == nil {
			err = b.write(ctx, s)
		}
	}
	if err == nil {
		err = b.settle(ctx, s, len(b.todo))
	}
	b.e.config.Metrics.Announced(b.settled-len(b.left)-len(b.refused), time.Since(began))
	b.todo = append(b.left, b.todo[b.settled:]...)
	if errors.Is(err, errLost) {
		return b.e.await(ctx, s.ended) // so that the next attempt finds another one
	}
	return err
}

// write writes the next chunk, once the broker takes messages and nobody else writes.
func (b *batch) write(ctx context.Context, s *session) error {
	if err := b.e.awaitRoom(ctx, s); err != nil {
		return err
	}
	select {
	case <-b.e.turn:
	case <-ctx.Done():
		return unknown(ctx)
	case <-s.ended:
		return errLost
	}
	defer func() { b.e.turn <- struct{}{} }()
	unhook := context.AfterFunc(ctx, s.cut) // a write can get stuck
	defer unhook()
	s.socket.put()
	for end := min(len(b.confirms)+chunk, len(b.todo)); len(b.confirms) < end; {
		n := &b.notices[b.todo[len(b.confirms)]]
		confirm, err := s.outlet.PublishWithDeferredConfirm(
			b.e.config.exchange(n.Exchange), n.RoutingKey, false, false, publishing(n))
		if err != nil {
			s.cut()
			return errLost
		}
		b.confirms = append(b.confirms, confirm)
	}
	if s.socket.pull() != nil {
		s.cut()
	}
	return nil
}

func publishing(n *bus.Notice) amqp.Publishing {
	p := amqp.Publishing{
		Headers: n.Headers, MessageId: n.MessageID, ContentType: n.ContentType, ContentEncoding: n.ContentEncoding,
		CorrelationId: n.CorrelationID,
		DeliveryMode:  amqp.Transient, Body: n.Body,
	}
	if n.Persistent {
		p.DeliveryMode = amqp.Persistent
	}
	return p
}

// settle waits until the first n that are written are answered.
func (b *batch) settle(ctx context.Context, s *session, n int) error {
	for ; b.settled < n; b.settled++ {
		confirm := b.confirms[b.settled]
		select {
		case <-confirm.Done():
		default:
			select {
			case <-confirm.Done():
			case <-ctx.Done():
				return unknown(ctx)
			}
		}
		i := b.todo[b.settled]
		switch {
		case confirm.Acked():
			b.e.refusals.taken(&b.notices[i])
		case s.outlet.IsClosed(): // the library calls everything refused when a channel closes
			b.left = append(b.left, i)
		default:
			b.refused = append(b.refused, i)
		}
	}
	return nil
}

// pause sees to what was refused: it is tried again after a while, or given up.
func (b *batch) pause(ctx context.Context) error {
	if len(b.refused) == 0 {
		return nil
	}
	now := time.Now()
	if b.refusing.IsZero() {
		b.refusing, b.wait = now, minRefusalPause
	}
	given, one := 0, 0
	for _, i := range b.refused {
		if since := b.e.refusals.refused(&b.notices[i], b.refusing, now); now.Sub(since) < b.e.config.RefusalPatience {
			b.todo = append(b.todo, i)
		} else {
			given, one = given+1, i
		}
	}
	if given > 0 {
		b.e.config.Metrics.PassedOver(given)
		if n := b.e.refusals.tell(given, now); n > 0 {
			b.e.config.Logger.Warn("queues refuse notices, which are passed over", "since_last_told", n,
				"exchange", b.notices[one].Exchange, "routing_key", b.notices[one].RoutingKey)
		}
	}
	again := len(b.refused) > given
	b.refused = nil
	if !again {
		return nil
	}
	slices.Sort(b.todo)
	select {
	case <-time.After(b.wait):
	case <-ctx.Done():
		return unknown(ctx)
	case <-b.e.link.ctx.Done():
		return errClosed
	}
	b.wait = min(2*b.wait, maxRefusalPause)
	return nil
}
