package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus"
)

// subscription is one consumer of a queue. One goroutine takes deliveries, hands them out and tells the
// broker of acknowledgements; all it knows is its own, so there is no lock.
type subscription struct {
	config *Config
	link   *link
	queue  string
	ctx    context.Context
	cancel context.CancelFunc
	unhook func() bool
	out    chan *message.Message // has room for all that can be in hand, so handing out never waits
	begun  chan error            // told once whether the first attempt succeeded
	turn   chan struct{}         // of the queue

	consuming atomic.Pointer[time.Time] // since when it has had its consumer; nil while it has none

	inHand fifo[delivered] // in the order of delivery

	// What was acknowledged on the channel that there is and the broker has not been told: how many, and the last.
	untold int
	last   uint64
	tell   *time.Timer // set while there is any
}

type delivered struct {
	message *message.Message
	cancel  context.CancelFunc // of the message's context
	tag     uint64
}

func newSubscription(ctx context.Context, s *Subscriber, queue string) *subscription {
	sub := &subscription{
		config: &s.config, link: s.link, queue: queue,
		out: make(chan *message.Message, s.config.Prefetch), begun: make(chan error, 1),
	}
	sub.tell = time.NewTimer(sub.config.AckEvery)
	sub.tell.Stop()
	sub.ctx, sub.cancel = context.WithCancel(ctx)
	sub.unhook = context.AfterFunc(s.ctx, sub.cancel)
	return sub
}

// run consumes until the subscription ends, over as many connections as it takes.
func (s *subscription) run() {
	defer close(s.out)
	defer s.cancel()
	defer s.unhook()
	session, channel, deliveries, err := s.begin()
	s.begun <- err
	if err != nil {
		return
	}
	for channel != nil { // also when all is over meanwhile: a consumer that nobody ends keeps the lane's messages
		now := time.Now()
		s.consuming.Store(&now)
		s.consume(session, channel, deliveries)
		s.consuming.Store(nil)
		if s.ctx.Err() != nil {
			return
		}
		session, channel, deliveries = s.again()
	}
}

// begin makes the first attempt.
func (s *subscription) begin() (*session, *amqp.Channel, <-chan amqp.Delivery, error) {
	for {
		session, _, changed := s.link.state()
		if session != nil {
			channel, deliveries, err := s.open(session)
			if err == nil {
				return session, channel, deliveries, nil
			}
			if refused := new(amqp.Error); errors.As(err, &refused) && permanent(refused) {
				return nil, nil, nil, fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
			}
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
			return nil, nil, nil, context.Cause(s.ctx)
		}
	}
}

// again consumes anew after the channel or the connection was lost, however long that takes. It returns
// nothing when the subscription ends first.
func (s *subscription) again() (*session, *amqp.Channel, <-chan amqp.Delivery) {
	pause := minBackoff
	for s.ctx.Err() == nil {
		session, _, changed := s.link.state()
		if session == nil {
			select {
			case <-changed:
			case <-s.ctx.Done():
			}
			continue
		}
		channel, deliveries, err := s.open(session)
		if err == nil {
			return session, channel, deliveries
		}
		s.config.Logger.Warn("cannot consume", "queue", s.queue, "err", err)
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
		}
		pause = min(2*pause, s.config.MaxBackoff)
	}
	return nil, nil, nil
}

// opened is a consumer at the broker.
type opened struct {
	channel    *amqp.Channel
	deliveries <-chan amqp.Delivery
	err        error
}

// open waits for the broker, which does not answer for a queue without a leader, but not beyond the
// subscription's end. A queue is asked for by one at a time, since what asks for it goes on after that: whoever
// subscribes again and again has one channel of the connection's waiting at the broker, not all that there are.
func (s *subscription) open(session *session) (*amqp.Channel, <-chan amqp.Delivery, error) {
	select {
	case <-s.turn:
	case <-session.ended:
		return nil, nil, errLost
	case <-s.ctx.Done():
		return nil, nil, context.Cause(s.ctx)
	}
	answer := make(chan opened, 1)
	asking := session.run(func() {
		answer <- s.ask(session)
		s.turn <- struct{}{}
	})
	if !asking {
		s.turn <- struct{}{}
		return nil, nil, errLost
	}
	select {
	case o := <-answer:
		return o.channel, o.deliveries, o.err
	case <-s.ctx.Done():
		session.run(func() { // what comes too late is given back
			if o := <-answer; o.err == nil {
				s.leave(session, o.channel)
			}
		})
		return nil, nil, context.Cause(s.ctx)
	}
}

func (s *subscription) ask(session *session) (o opened) {
	o.channel, o.err = session.open(s.config, s.queue, func(channel *amqp.Channel) (err error) {
		if err = channel.Qos(s.config.Prefetch, 0, false); err == nil {
			o.deliveries, err = channel.Consume(s.queue, "", false, false, false, false, nil)
		}
		return err
	})
	return o
}

// consume works until the channel is lost or the subscription ends. Acknowledgements are gathered, up to half of what
// may be in hand and for Config.AckEvery, so that one word to the broker covers many.
func (s *subscription) consume(session *session, channel *amqp.Channel, deliveries <-chan amqp.Delivery) {
	for {
		if !s.half() {
			select {
			case d, open := <-deliveries:
				if !open {
					s.lose(session, channel)
					return
				}
				s.hand(&d)
				continue
			default:
			}
		}
		acked, nacked := s.oldest()
		select {
		case d, open := <-deliveries:
			if !open {
				s.lose(session, channel)
				return
			}
			s.hand(&d)
		case <-acked:
			s.settle(channel)
		case <-nacked:
			s.settle(channel)
		case <-s.tell.C:
			s.acknowledge(channel)
		case <-s.ctx.Done():
			s.release(session, channel)
			return
		}
	}
}

// half tells whether half of what may be in hand, as the broker sees it, is.
func (s *subscription) half() bool { return s.inHand.len()+s.untold >= s.config.Prefetch/2 }

func (s *subscription) hand(d *amqp.Delivery) {
	m := unmarshal(d)
	s.config.Metrics.Delivered(d.Redelivered)
	ctx, cancel := context.WithCancel(s.ctx)
	m.SetContext(ctx)
	s.inHand.push(delivered{message: m, cancel: cancel, tag: d.DeliveryTag})
	s.out <- m
}

// oldest gives the channels of the message that is in hand longest; nil ones when there is none.
func (s *subscription) oldest() (acked, nacked <-chan struct{}) {
	if s.inHand.len() == 0 {
		return nil, nil
	}
	m := s.inHand.at(0).message
	return m.Acked(), m.Nacked()
}

// settle takes note of what has been acknowledged or refused, from the oldest up to the first that is neither.
func (s *subscription) settle(channel *amqp.Channel) {
	before := s.inHand.len()
	for s.inHand.len() > 0 {
		verdict := verdictOn(s.inHand.at(0).message)
		if verdict == undecided {
			break
		}
		d := s.inHand.pop()
		d.cancel()
		if verdict == acknowledged {
			if s.untold == 0 {
				s.tell.Reset(s.config.AckEvery)
			}
			s.untold, s.last = s.untold+1, d.tag
			continue
		}
		s.acknowledge(channel)
		_ = channel.Nack(d.tag, false, true)
	}
	s.config.Metrics.Settled(before - s.inHand.len())
	if s.half() {
		s.acknowledge(channel)
	}
}

// acknowledge tells the broker of what has been acknowledged. Its errors need no answer: the channel is closed then,
// and everything comes again.
func (s *subscription) acknowledge(channel *amqp.Channel) {
	if s.untold > 0 {
		_ = channel.Ack(s.last, true)
	}
	s.untold = 0
	s.tell.Stop()
}

// release ends the subscription at the broker, which puts back what is not acknowledged, before anything
// that has not been delivered.
func (s *subscription) release(session *session, channel *amqp.Channel) {
	s.settle(channel)
	s.acknowledge(channel)
	for i := range s.inHand.len() {
		if d := s.inHand.at(i); verdictOn(d.message) == acknowledged {
			_ = channel.Ack(d.tag, false)
		}
	}
	s.forget()
	s.leave(session, channel)
}

// lose gives up a channel. It may still be open: a queue that is deleted takes only its consumers along.
func (s *subscription) lose(session *session, channel *amqp.Channel) {
	s.forget()
	if !channel.IsClosed() {
		s.leave(session, channel)
	}
}

// leave closes the channel without waiting for the broker, which takes long where its disk is busy. Only who asks for the
// same queue after that waits for it: a worker that takes lanes over is not kept from the others.
func (s *subscription) leave(session *session, channel *amqp.Channel) {
	free := func() {}
	select {
	case <-s.turn:
		free = func() { s.turn <- struct{}{} }
	default: // somebody has begun to ask already
	}
	closing := session.run(func() {
		defer free()
		defer session.limit(leaveGrace)()
		_ = channel.Close()
	})
	if !closing { // the channel went with the session
		free()
	}
}

// forget lets go of what is in hand. What nobody has read is taken back, because it comes again.
func (s *subscription) forget() {
	s.untold = 0
	s.tell.Stop()
	s.config.Metrics.Settled(s.inHand.len())
	for s.inHand.len() > 0 {
		d := s.inHand.pop()
		d.cancel()
	}
	for {
		select {
		case <-s.out:
		default:
			return
		}
	}
}

type verdict uint8

const (
	undecided verdict = iota
	acknowledged
	refused
)

func verdictOn(m *message.Message) verdict {
	select {
	case <-m.Acked():
		return acknowledged
	case <-m.Nacked():
		return refused
	default:
		return undecided
	}
}
