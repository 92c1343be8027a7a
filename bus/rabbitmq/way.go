package rabbitmq

import (
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus"
)

// way is one topic's way to the broker. It has a channel of its own, so that a slow or broken queue is
// nobody else's, and two goroutines while the channel lasts: one writes, one hears confirmations. Neither
// does what the other may have to wait for: a write can get stuck in the network.
type way struct {
	config *Config
	link   *link
	topic  string
	queue  string
	wake   chan struct{} // holds a token when the writer may have something to do
	left   chan struct{} // holds a token when there is something to be confirmed after there was not

	mu       sync.Mutex
	closed   bool
	stint    *stint // the channel's life; nil while there is none
	waiting  fifo[*parcel]
	underWay fifo[*parcel] // written, or being written
	pending  int           // not answered
	bytes    int           // of these
	idle     bool          // nothing is to be confirmed, the hearer waits for left
}

// parcel is one message from the moment it is taken until it is answered, and after an answer that did not
// come in time until the broker has confirmed it or the channel is gone.
type parcel struct {
	message  *message.Message
	done     func(error)
	handed   time.Time
	deadline time.Time
	written  time.Time                  // zero before; known to the writer, and to the hearer once confirm is there
	number   uint64                     // on its channel, from 1
	confirm  *amqp.DeferredConfirmation // nil until it has been written
	answered bool
}

// answer is a done to be called without locks.
type answer struct {
	done func(error)
	err  error
}

func tell(answers []answer) {
	for _, a := range answers {
		a.done(a.err)
	}
}

func newWay(config *Config, link *link, topic, queue string) *way {
	return &way{
		config: config, link: link, topic: topic, queue: queue,
		wake: make(chan struct{}, 1), left: make(chan struct{}, 1),
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take queues a parcel, or says why not.
func (w *way) take(x *parcel) error {
	s, err := w.link.usable()
	w.mu.Lock()
	defer w.mu.Unlock()
	size := len(x.message.Payload)
	switch {
	case w.closed:
		return bus.ErrClosed
	case err != nil:
		return fmt.Errorf("publish to %s: %w", w.topic, err)
	case w.pending >= w.config.MaxPending, w.pending > 0 && w.bytes+size > w.config.MaxPendingBytes:
		return fmt.Errorf("publish to %s: %w", w.topic, bus.ErrFull)
	case w.stint == nil && !w.begin(s):
		return fmt.Errorf("publish to %s: %w: the connection to RabbitMQ was lost", w.topic, bus.ErrUnavailable)
	}
	x.handed = time.Now()
	x.deadline = x.handed.Add(w.config.ConfirmTimeout)
	w.waiting.push(x)
	w.pending++
	w.bytes += size
	signal(w.wake)
	return nil
}

// begin starts a stint on the session. The caller holds mu and has seen that there is none.
func (w *way) begin(s *session) bool {
	st := newStint(w, s)
	w.stint = st
	if !s.run(st.serve) {
		w.stint = nil
		return false
	}
	return true
}

// close accounts for a parcel that will be answered. The caller holds mu and calls the answer's done
// without it.
func (w *way) close(x *parcel, err error) answer {
	x.answered = true
	w.pending--
	w.bytes -= len(x.message.Payload)
	if err != nil {
		w.config.Metrics.PublishFailed(causeOf(err))
		return answer{x.done, fmt.Errorf("publish to %s: %w", w.topic, err)}
	}
	now := time.Now()
	w.config.Metrics.Published(now.Sub(x.handed), now.Sub(x.written))
	return answer{x.done, nil}
}

// refuse answers what has not been written.
func (w *way) refuse(err error) {
	w.mu.Lock()
	answers := w.drop(err)
	w.mu.Unlock()
	tell(answers)
}

// drop closes what has not been written. The caller holds mu.
func (w *way) drop(err error) (answers []answer) {
	for w.waiting.len() > 0 {
		answers = append(answers, w.close(w.waiting.pop(), err))
	}
	return answers
}

// abandon closes what has been written. The caller holds mu and has settled what was confirmed.
func (w *way) abandon(err error) (answers []answer) {
	for i := range w.underWay.len() {
		if x := w.underWay.at(i); !x.answered {
			answers = append(answers, w.close(x, err))
		}
	}
	return answers
}

// shut answers everything, for good.
func (w *way) shut() {
	w.mu.Lock()
	w.closed = true
	var answers []answer
	if w.stint != nil {
		answers = w.stint.settle()
	}
	answers = append(answers, w.abandon(bus.ErrFateUnknown)...)
	answers = append(answers, w.drop(bus.ErrClosed)...)
	w.mu.Unlock()
	tell(answers)
}
