package rabbitmq

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus"
)

// stint is the life of one channel on a way.
type stint struct {
	way     *way
	session *session
	channel *amqp.Channel
	closes  chan *amqp.Error
	returns chan amqp.Return // has room for all that can be under way, so the library never waits for it

	over     chan struct{}
	stopOnce sync.Once
	problem  error // why it is over

	missing  atomic.Bool     // the queue has to be declared again
	returned map[uint64]bool // numbers of what came back; guarded by way.mu
	written  uint64          // the number of the last parcel; guarded by way.mu
}

func newStint(w *way, s *session) *stint {
	return &stint{
		way: w, session: s,
		over: make(chan struct{}), returned: map[uint64]bool{},
	}
}

func (st *stint) stop(problem error) {
	st.stopOnce.Do(func() {
		st.problem = problem
		close(st.over)
	})
}

// serve carries the way's messages until the channel breaks or the session ends.
func (st *stint) serve() {
	var hearing sync.WaitGroup
	hearing.Go(st.hear)
	if err := st.open(); err != nil {
		st.stop(err)
	} else {
		st.write()
	}
	hearing.Wait()
	if st.channel != nil && !st.channel.IsClosed() {
		met := st.session.limit(closeGrace)
		_ = st.channel.Close()
		met()
	}
	st.leave()
}

func (st *stint) open() error {
	w := st.way
	channel, err := st.session.openToPublish(w.config, w.queue, func(c *amqp.Channel) error { return c.Confirm(false) })
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	st.channel = channel
	st.closes = channel.NotifyClose(make(chan *amqp.Error, 1))
	st.returns = channel.NotifyReturn(make(chan amqp.Return, w.config.InFlight+1))
	signal(w.left) // so that the channel's end is heard
	return nil
}

// write publishes what waits, in order, with a bounded number of messages unconfirmed.
func (st *stint) write() {
	w := st.way
	for {
		x := st.next()
		if x == nil {
			select {
			case <-w.wake:
				continue
			case <-st.over:
				return
			}
		}
		if st.missing.CompareAndSwap(true, false) {
			if err := st.declare(); err != nil {
				st.stop(err)
				return
			}
		}
		x.written = time.Now()
		confirm, err := st.channel.PublishWithDeferredConfirm("", w.queue, true, false, marshal(x.message, x.number))
		if err != nil {
			st.stop(err)
			return
		}
		w.mu.Lock()
		x.confirm = confirm
		if w.idle {
			w.idle = false
			signal(w.left)
		}
		w.mu.Unlock()
	}
}

func (st *stint) declare() error {
	if err := st.session.declare(st.way.config, st.channel, st.way.queue); err != nil {
		return fmt.Errorf("queue %s: %w", st.way.queue, err)
	}
	st.session.settle(st.way.config)
	return nil
}

// next takes the parcel whose turn it is; nil when there is none or enough are under way.
func (st *stint) next() *parcel {
	w := st.way
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting.len() == 0 || w.underWay.len() >= w.config.InFlight {
		return nil
	}
	x := w.waiting.pop()
	st.written++
	x.number = st.written
	w.underWay.push(x)
	return x
}

// hear answers what the broker confirms, and what it does not confirm in time.
func (st *stint) hear() {
	w := st.way
	timer := time.NewTimer(w.config.ConfirmTimeout)
	defer timer.Stop()
	for {
		oldest, closes := st.awaited()
		select {
		case <-oldest:
			w.mu.Lock()
			answers := st.settle()
			w.mu.Unlock()
			tell(answers)
		case <-w.left:
		case <-timer.C:
			timer.Reset(st.expire(time.Now()))
		case problem := <-closes:
			st.stop(channelClosed(problem))
			return
		case <-st.session.ended:
			st.stop(errors.New("the connection was lost"))
			return
		case <-st.over:
			return
		}
	}
}

func channelClosed(problem *amqp.Error) error {
	if problem == nil {
		return errors.New("the channel was closed")
	}
	return fmt.Errorf("the channel was closed: %w", problem)
}

// awaited gives what is closed when the first message under way is confirmed, nil when there is none, and
// what tells of the channel's end, nil before its beginning.
func (st *stint) awaited() (oldest <-chan struct{}, closes <-chan *amqp.Error) {
	w := st.way
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.underWay.len() {
		x := w.underWay.at(i)
		if x.answered {
			continue
		}
		if x.confirm != nil {
			return x.confirm.Done(), st.closes
		}
		break
	}
	w.idle = true
	return nil, st.closes
}

// settle closes what the broker has decided on. The caller holds way.mu and calls the dones without it.
func (st *stint) settle() (answers []answer) {
	w := st.way
	wasFull := w.underWay.len() >= w.config.InFlight
	st.collectReturns()
	for i := range w.underWay.len() {
		x := w.underWay.at(i)
		if !decided(x) {
			if x.answered { // too late; others may be confirmed behind it
				continue
			}
			break
		}
		if !x.answered {
			answers = append(answers, w.close(x, st.verdict(x)))
		}
	}
	for w.underWay.len() > 0 && w.underWay.at(0).answered && decided(w.underWay.at(0)) {
		delete(st.returned, w.underWay.pop().number)
	}
	if wasFull && w.underWay.len() < w.config.InFlight {
		signal(w.wake)
	}
	return answers
}

// decided tells whether the broker has said anything, or never will.
func decided(x *parcel) bool {
	if x.confirm == nil {
		return false
	}
	select {
	case <-x.confirm.Done():
		return true
	default:
		return false
	}
}

// verdict reads what the broker said. A returned message is confirmed too, after it was returned.
func (st *stint) verdict(x *parcel) error {
	w := st.way
	switch {
	case x.confirm.Acked() && !st.returned[x.number]:
		return nil
	case x.confirm.Acked():
		st.missing.Store(true)
		return fmt.Errorf("%w: %w %s", bus.ErrUnavailable, errReturned, w.queue)
	case st.channel.IsClosed(): // the library calls everything refused when a channel closes
		return fmt.Errorf("%w: the channel was closed", bus.ErrFateUnknown)
	default: // it says no more: a full queue and one without a leader are refused alike
		return fmt.Errorf("%w: %w: the queue %s is full, or none of its nodes leads it at the moment",
			bus.ErrUnavailable, errRefused, w.queue)
	}
}

// collectReturns notes what came back. The caller holds way.mu. The broker returns a message before it
// confirms it, so whoever sees the confirmation finds the return here.
func (st *stint) collectReturns() {
	for {
		select {
		case back, open := <-st.returns:
			if !open {
				st.returns = nil
				continue
			}
			if number, err := strconv.ParseUint(back.CorrelationId, 10, 64); err == nil {
				st.returned[number] = true
			}
		default:
			return
		}
	}
}

// expire answers what is overdue, and says when to look again. What was written stays under way: the
// broker has it to deal with, so it counts against the bound of those in flight.
func (st *stint) expire(now time.Time) time.Duration {
	w := st.way
	w.mu.Lock()
	answers := st.settle()
	next := now.Add(w.config.ConfirmTimeout)
	for i := range w.underWay.len() {
		switch x := w.underWay.at(i); {
		case x.answered:
		case decided(x):
			answers = append(answers, w.close(x, st.verdict(x)))
		case x.deadline.After(now):
			next = earlier(next, x.deadline)
		default:
			answers = append(answers, w.close(x, fmt.Errorf("%w: RabbitMQ did not confirm it within %s",
				bus.ErrFateUnknown, w.config.ConfirmTimeout)))
		}
	}
	for w.waiting.len() > 0 {
		if x := w.waiting.at(0); x.deadline.After(now) {
			next = earlier(next, x.deadline)
			break
		}
		answers = append(answers, w.close(w.waiting.pop(), fmt.Errorf("%w: RabbitMQ took nothing within %s",
			bus.ErrUnavailable, w.config.ConfirmTimeout)))
	}
	w.mu.Unlock()
	tell(answers)
	return max(next.Sub(now), time.Millisecond)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// leave ends the stint: what was written and not confirmed may have arrived or not, what was not written
// has not.
func (st *stint) leave() {
	w := st.way
	w.mu.Lock()
	var answers []answer
	if st.channel != nil {
		answers = st.settle()
	}
	answers = append(answers, w.abandon(fmt.Errorf("%w: %w", bus.ErrFateUnknown, st.problem))...)
	answers = append(answers, w.drop(fmt.Errorf("%w: RabbitMQ: %w", bus.ErrUnavailable, st.problem))...)
	w.underWay = fifo[*parcel]{}
	w.stint = nil
	w.mu.Unlock()
	tell(answers)
}
