package rabbitmq

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus"
)

// returnsRoom is for what comes back of offers whose context ended before; the next offer clears it away.
const returnsRoom = 64

// Offer publishes one notice as Publish does, and tells whether any queue wanted it at that moment. Offers go one
// at a time. It is for asking now and then whether anybody listens: a notice that nobody wants comes back whole.
func (e *Exchanges) Offer(ctx context.Context, notice bus.Notice) (wanted bool, err error) {
	if sendable(&notice) != nil {
		return true, e.Publish(ctx, []bus.Notice{notice}) // it is passed over there
	}
	select {
	case <-e.offering:
	case <-ctx.Done():
		return false, unknown(ctx)
	}
	defer func() { e.offering <- struct{}{} }()
	for {
		s, err := e.connected(ctx)
		if err == nil {
			wanted, err = e.offer(ctx, s, &notice)
		}
		switch {
		case err == nil:
			return wanted, nil
		case errors.Is(err, errRefused):
			return true, e.Publish(ctx, []bus.Notice{notice}) // which tries again for a while
		case errors.Is(err, errLost):
			err = e.await(ctx, s.ended) // so that the next attempt finds another one
		}
		if err != nil {
			return false, fmt.Errorf("offer a notice to exchange %s: %w", notice.Exchange, err)
		}
	}
}

// offer is Offer over one connection.
func (e *Exchanges) offer(ctx context.Context, s *session, n *bus.Notice) (wanted bool, err error) {
	for len(s.returns) > 0 {
		<-s.returns
	}
	confirm, err := e.writeOffer(ctx, s, n)
	if err != nil {
		return false, err
	}
	select {
	case <-confirm.Done():
	case <-ctx.Done():
		return false, unknown(ctx)
	}
	if !confirm.Acked() {
		if s.outlet.IsClosed() {
			return false, errLost
		}
		return false, errRefused
	}
	for { // what comes back comes before its confirmation
		select {
		case back, open := <-s.returns:
			if !open {
				return false, errLost
			}
			if back.MessageId == n.MessageID && back.RoutingKey == n.RoutingKey {
				return false, nil
			}
		default:
			return true, nil
		}
	}
}

func (e *Exchanges) writeOffer(ctx context.Context, s *session, n *bus.Notice) (*amqp.DeferredConfirmation, error) {
	if err := e.awaitRoom(ctx, s); err != nil {
		return nil, err
	}
	select {
	case <-e.turn:
	case <-ctx.Done():
		return nil, unknown(ctx)
	case <-s.ended:
		return nil, errLost
	}
	defer func() { e.turn <- struct{}{} }()
	unhook := context.AfterFunc(ctx, s.cut) // a write can get stuck
	defer unhook()
	confirm, err := s.outlet.PublishWithDeferredConfirm(e.config.exchange(n.Exchange), n.RoutingKey, true, false, publishing(n))
	if err != nil {
		s.cut()
		return nil, errLost
	}
	return confirm, nil
}
