package rabbitmq

import (
	"fmt"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/commands"
)

// Incoming is a message of another service in hand.
type Incoming struct {
	message commands.Message
	stay    *stay
	tag     uint64
	state   atomic.Int32
	acked   bool // the broker was told; known to the stay's goroutine alone
}

const (
	unsettled = iota
	isSettled
	isLost
)

// Message is what came. It is not to be changed.
func (m *Incoming) Message() *commands.Message { return &m.message }

// Settle says that the message has been answered for, so that the broker may forget it. After it was lost that is not
// noticed.
func (m *Incoming) Settle() {
	if m.state.CompareAndSwap(unsettled, isSettled) {
		m.stay.purse.give(m.stay.turn, int64(len(m.message.Body)))
		signal(m.stay.settled)
	}
}

// Lost tells whether the message was given back to the broker, and comes again, here or elsewhere.
func (m *Incoming) Lost() bool { return m.state.Load() == isLost }

const (
	// keepsWaiting is how long the oldest message may keep others from being acknowledged. Acknowledging one by one
	// costs the broker as much as delivering.
	keepsWaiting = 200 * time.Millisecond
	// gathered is how long acknowledgements wait for more that go with one word. What was settled within it comes again
	// when a gateway is killed.
	gathered = 5 * time.Millisecond
	// fewWords may be on their way to a quorum queue's disk. While 32 are, the broker keeps others back
	// (rabbit_fifo_client, soft limit); two may be from before they were counted.
	fewWords = 30
)

// stay is an ingress's consumer at the broker, from its first message until its channel ends. Its goroutine alone
// uses the channel.
type stay struct {
	ingress    *Ingress
	session    *session
	channel    *amqp.Channel
	deliveries <-chan amqp.Delivery
	tag        string // of the consumer
	purse      *purse
	turn       int
	settled    chan struct{} // holds a token when something was settled

	alone  bool // one message at a time is in hand
	inHand fifo[*Incoming]
	oldest time.Time // since when the oldest of them is that

	// What was settled in a row and the broker has not been told: how many, and the last.
	untold int
	last   uint64
	tell   *time.Timer // set while there is any
	words  int         // with which it was told since it was last asked for an answer

	batch   []*Incoming
	unready time.Time // since when nothing can be taken; zero while it can
}

// ask consumes, with so many messages in hand at most.
func (s *stay) ask(prefetch int) (err error) {
	if err = s.channel.Qos(prefetch, 0, false); err != nil {
		return fmt.Errorf("bound deliveries: %w", err)
	}
	s.tag = fmt.Sprintf("doorman-%d-%d", s.turn, prefetch)
	queue := s.ingress.config.exchange(CommandsExchange)
	if s.deliveries, err = s.channel.Consume(queue, s.tag, false, false, false, false, nil); err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	return nil
}

// consume takes messages and tells the broker of those that were settled, until the channel is lost, nothing can be
// taken for a while, or the ingress ends.
func (s *stay) consume(ceased func()) {
	defer s.leave()
	i := s.ingress
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	stop := i.ctx.Done()
	for {
		select {
		case d, open := <-s.deliveries:
			if !open || !s.take(&d) {
				return
			}
		case <-s.settled:
		case <-s.tell.C:
			s.acknowledge()
		case <-tick.C:
			if s.deliveries != nil && s.givesUp(time.Now()) {
				i.config.Logger.Info("commands that cannot be taken are left to others", "in_hand", s.inHand.len())
				return
			}
		case <-stop:
			if i.over.Err() != nil || !s.cease() {
				return
			}
			ceased()
			stop = i.over.Done()
		case <-s.session.ended:
			return
		}
		s.settle()
	}
}

// take takes a message, and what there is besides; false when the channel is lost.
func (s *stay) take(d *amqp.Delivery) bool {
	s.add(d)
	switch {
	case s.alone && s.batch[0].message.Deliveries >= suspicious: // the next one comes when it is settled
	case s.alone:
		if err := s.widen(); err != nil {
			s.ingress.config.Logger.Warn("cannot go on consuming commands", "err", err)
			return false
		}
	default:
		if !s.gather() {
			return false
		}
	}
	s.ingress.taker.Take(s.batch)
	clear(s.batch)
	s.batch = s.batch[:0]
	return true
}

// gather takes what comes without waiting.
func (s *stay) gather() bool {
	for len(s.batch) < ingressBatch {
		select {
		case d, open := <-s.deliveries:
			if !open {
				return false
			}
			s.add(&d)
		default:
			return true
		}
	}
	return true
}

// widen goes on with as many messages in hand as are allowed, when the one that came first is nobody's end.
func (s *stay) widen() error {
	defer s.session.limit(s.ingress.config.ConnectTimeout)()
	if err := s.channel.Cancel(s.tag, false); err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	s.alone = false
	return s.ask(s.ingress.config.Prefetch)
}

// cease takes no more.
func (s *stay) cease() bool {
	s.purse.shut() // what is on its way is not waited for
	met := s.session.limit(flushGrace)
	err := s.flush()
	met()
	s.deliveries = nil
	return err == nil
}

func (s *stay) add(d *amqp.Delivery) {
	m := &Incoming{stay: s, tag: d.DeliveryTag}
	m.message = commands.Message{
		Body: d.Body, Size: len(d.Body), ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, MessageID: d.MessageId,
		CorrelationID: d.CorrelationId, ReplyTo: d.ReplyTo, UserID: d.UserId, Exchange: d.Exchange, RoutingKey: d.RoutingKey,
		Headers: d.Headers, AppID: d.AppId, Type: d.Type, Expiration: d.Expiration, Priority: d.Priority,
		Persistent: d.DeliveryMode == amqp.Persistent, SentAt: d.Timestamp, Deliveries: int(deliveries(d)),
	}
	if size, cut := d.Headers[wholeSize].(int64); cut {
		m.message.Size = int(size)
	}
	if s.inHand.len() == 0 {
		s.oldest = time.Now()
	}
	s.inHand.push(m)
	s.ingress.inHand.Add(1)
	s.batch = append(s.batch, m)
}

// givesUp tells whether what is in hand is better left to others: nothing can be taken here for a while. Those of which
// nobody knows what becomes of them are waited for, since whoever gets them does not know the ids that some have got.
func (s *stay) givesUp(now time.Time) bool {
	const late = 15 * time.Second // until then the bus has answered
	if s.ingress.taker.Ready() == nil {
		s.unready = time.Time{}
		return false
	}
	if s.unready.IsZero() {
		s.unready = now
	}
	over := now.Sub(s.unready) - s.ingress.config.Patience
	return over >= 0 && (s.ingress.taker.UnderWay() == 0 || over >= late)
}

// settle takes note of what was settled, in a row from the oldest on, of which the broker is told with one word soon.
// Of others it is told one by one, once the oldest keeps them waiting for long.
func (s *stay) settle() {
	before := s.inHand.len()
	for s.inHand.len() > 0 && s.inHand.at(0).state.Load() == isSettled {
		if m := s.inHand.pop(); !m.acked {
			if s.untold == 0 {
				s.tell.Reset(gathered)
			}
			s.untold, s.last = s.untold+1, m.tag
		}
	}
	settled := before - s.inHand.len()
	s.ingress.inHand.Add(-int64(settled))
	switch {
	case settled > 0:
		s.oldest = time.Now()
		if s.alone || s.untold >= s.ingress.config.Prefetch/4 { // more come only after that, or soon
			s.acknowledge()
		}
	case s.inHand.len() > 1 && time.Since(s.oldest) > keepsWaiting:
		s.acknowledgeEach()
	}
}

// acknowledge tells the broker of what was settled in a row. Its errors need no answer: the channel is closed then, and
// everything comes again.
func (s *stay) acknowledge() {
	if s.untold > 0 {
		_ = s.channel.Ack(s.last, true)
		s.words++
	}
	s.untold = 0
	s.tell.Stop()
}

func (s *stay) acknowledgeEach() {
	for at := range s.inHand.len() {
		if m := s.inHand.at(at); !m.acked && m.state.Load() == isSettled {
			m.acked = true
			_ = s.channel.Ack(m.tag, false)
			s.words++
		}
	}
}

// leave gives back what is not settled, and ends the channel.
func (s *stay) leave() {
	s.purse.shut()
	s.settle()
	s.acknowledge()
	s.acknowledgeEach()
	if !s.channel.IsClosed() {
		met := s.session.limit(flushGrace)
		_ = s.flush()
		_ = s.channel.Close()
		met()
	}
	s.ingress.inHand.Add(-int64(s.inHand.len()))
	for s.inHand.len() > 0 {
		s.inHand.pop().state.CompareAndSwap(unsettled, isLost)
	}
}

// flush ends the consumer, and waits until the queue has what was acknowledged. With the channel the broker forgets what
// it keeps back: such messages come again, and a command without an id takes effect twice. What is asked of the queue
// itself is answered after the words under way, whereupon the others follow. Without a consumer to cancel that is for a
// message, which is given back with the channel as one that was delivered.
func (s *stay) flush() (err error) {
	switch {
	case s.deliveries != nil:
		err = s.channel.Cancel(s.tag, false)
	case s.words > fewWords:
		_, _, err = s.channel.Get(s.ingress.config.exchange(CommandsExchange), false)
	}
	s.words = 0
	return err
}
