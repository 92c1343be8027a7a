package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus"
)

// Publisher publishes on lane topics over a connection of its own. Its methods may be called from many
// goroutines at once.
type Publisher struct {
	config Config
	link   *link

	mu     sync.RWMutex
	ways   map[string]*way // by topic
	closed bool

	greeted   bool // the queues of all configured topics have been declared; known to the link alone
	closeOnce sync.Once
}

var _ bus.Publisher = (*Publisher)(nil)

// NewPublisher connects, declares the queues of the configured topics, and returns once that is done. It
// gives up with the context, or after Config.ConnectTimeout, or at once when the broker refuses. From then
// on it connects again whenever the connection is lost.
func NewPublisher(ctx context.Context, config Config) (*Publisher, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	p := &Publisher{config: config.withDefaults(), ways: map[string]*way{}}
	p.link = newLink(&p.config, "publisher", publishHeartbeat)
	for _, topic := range p.config.Topics {
		if _, err := p.way(topic); err != nil {
			return nil, err
		}
	}
	p.link.greet, p.link.began, p.link.blocked = p.declare, p.resume, p.refuseWaiting
	if err := p.link.start(ctx); err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	return p, nil
}

// declare sees to the queues of the configured topics when the first connection is made. Later each way
// sees to its own, so that one queue that is out of order keeps no other waiting.
func (p *Publisher) declare(s *session) error {
	if p.greeted {
		return nil
	}
	for _, topic := range p.config.Topics {
		queue, err := p.config.queue(topic)
		if err != nil {
			return err
		}
		if _, err := s.open(&p.config, queue, (*amqp.Channel).Close); err != nil {
			return err
		}
	}
	if len(p.config.Topics) > 0 {
		s.settle(&p.config) // a worker may have made them a moment ago
	}
	p.greeted = true
	return nil
}

// resume opens all ways that there are, with their queues declared, so that the next message finds them
// open.
func (p *Publisher) resume(s *session) {
	for _, w := range p.allWays() {
		w.mu.Lock()
		if w.stint == nil {
			w.begin(s)
		}
		w.mu.Unlock()
	}
}

// refuseWaiting answers what has not been written when the broker takes nothing any more.
func (p *Publisher) refuseWaiting() {
	_, err := p.link.usable()
	if err == nil {
		return
	}
	for _, w := range p.allWays() {
		w.refuse(err)
	}
}

// PublishAsync hands one message over. done is called before it returns when the message is refused, and
// otherwise once the broker has it on disk, or once that is out of the question. Its error matches
//
//   - bus.ErrUnavailable: there is no connection, the broker takes nothing or refuses this message, there
//     is no such queue, or the message cannot be sent at all. The broker has not got it.
//   - bus.ErrFull: a bound of the publisher's is reached. The broker has not got it.
//   - bus.ErrFateUnknown: it was written, and the connection was lost, or no confirmation came in time.
//   - bus.ErrClosed: it was handed over after Close, or not written before.
func (p *Publisher) PublishAsync(topic string, m *message.Message, done func(error)) {
	if err := p.take(topic, m, done); err != nil {
		done(err)
	}
}

func (p *Publisher) take(topic string, m *message.Message, done func(error)) error {
	err := p.hand(topic, m, done)
	if err != nil {
		p.config.Metrics.PublishFailed(causeOf(err))
	}
	return err
}

func (p *Publisher) hand(topic string, m *message.Message, done func(error)) error {
	if err := check(m); err != nil {
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	w, err := p.way(topic)
	if err != nil {
		return err
	}
	return w.take(&parcel{message: m, done: done})
}

// Publish hands messages over in order and waits until all are confirmed, with no more than
// Config.InFlight of them under way. At the first one that is refused it stops, waits for those before it,
// and returns what went wrong; the messages after that one have not been published. When the context of a
// message ends first, its fate is unknown.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	confirms := make([]chan error, len(messages))
	var problem error
	settle := func(i int) {
		var err error
		select {
		case err = <-confirms[i]:
		case <-messages[i].Context().Done():
			err = fmt.Errorf("%w: %w", bus.ErrFateUnknown, context.Cause(messages[i].Context()))
		}
		if err != nil {
			problem = errors.Join(problem, publishError(topic, i, len(messages), err))
		}
	}
	settled, taken := 0, 0
	for ; taken < len(messages) && problem == nil; taken++ {
		if taken-settled >= p.config.InFlight {
			if settle(settled); problem != nil {
				settled++
				break
			}
			settled++
		}
		confirm := make(chan error, 1)
		if err := p.take(topic, messages[taken], func(err error) { confirm <- err }); err != nil {
			problem = publishError(topic, taken, len(messages), err)
			break
		}
		confirms[taken] = confirm
	}
	for ; settled < taken; settled++ {
		settle(settled)
	}
	return problem
}

func publishError(topic string, i, n int, err error) error {
	return fmt.Errorf("publish message %d of %d to %s: %w", i+1, n, topic, err)
}

// Ready says why nothing can be published at the moment; nil when it can.
func (p *Publisher) Ready() error {
	_, err := p.link.usable()
	return err
}

// Close refuses what is published from now on and waits for nothing: what has not been written is answered
// with bus.ErrClosed, what has been written and is not confirmed with bus.ErrFateUnknown. Close the
// bus.Sender first, which waits for all of them. It may be called again.
func (p *Publisher) Close() error {
	p.closeOnce.Do(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		for _, w := range p.allWays() {
			w.shut()
		}
		p.link.stop()
	})
	return nil
}

func (p *Publisher) allWays() []*way {
	p.mu.RLock()
	defer p.mu.RUnlock()
	list := make([]*way, 0, len(p.ways))
	for _, w := range p.ways {
		list = append(list, w)
	}
	return list
}

func (p *Publisher) way(topic string) (*way, error) {
	p.mu.RLock()
	w, closed := p.ways[topic], p.closed
	p.mu.RUnlock()
	if closed {
		return nil, bus.ErrClosed
	}
	if w != nil {
		return w, nil
	}
	queue, err := p.config.queue(topic)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, bus.ErrClosed
	}
	if w = p.ways[topic]; w != nil {
		return w, nil
	}
	if len(p.ways) >= maxTopics {
		return nil, fmt.Errorf("%w: %s would be topic %d of this publisher, which may have %d",
			bus.ErrUnavailable, topic, len(p.ways)+1, maxTopics)
	}
	w = newWay(&p.config, p.link, topic, queue)
	p.ways[topic] = w
	return w, nil
}
