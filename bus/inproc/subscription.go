package inproc

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
)

// subscription is one consumer of a topic. A goroutine of its own watches the oldest message in hand and
// settles with it all that follow and are settled too, so a batch of acknowledgements costs one wake-up.
type subscription struct {
	topic  *topic
	ctx    context.Context
	cancel context.CancelFunc
	out    chan *message.Message // has room for all that can be in hand, so a send never blocks
	wake   chan struct{}         // inHand is no longer empty

	inHand line // in the order of delivery; guarded by topic.mu
}

// hand delivers an entry. The caller holds topic.mu and has seen that there is room.
func (s *subscription) hand(e *entry) {
	ctx, cancel := context.WithCancel(s.ctx)
	e.copy, e.cancel = e.message.Copy(), cancel
	e.copy.SetContext(ctx)
	if s.inHand.n == 0 {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	s.inHand.push(e)
	s.out <- e.copy
}

func (s *subscription) watch() {
	defer s.end()
	for {
		acked, nacked := s.oldest()
		select {
		case <-acked:
		case <-nacked:
		case <-s.wake:
			continue
		case <-s.ctx.Done():
			return
		}
		s.settle()
	}
}

// oldest gives the channels of the message that is in hand longest; nil ones when there is none.
func (s *subscription) oldest() (acked, nacked <-chan struct{}) {
	s.topic.mu.Lock()
	defer s.topic.mu.Unlock()
	if e := s.inHand.first; e != nil {
		return e.copy.Acked(), e.copy.Nacked()
	}
	return nil, nil
}

// settle takes out of hand what has been acknowledged or refused, from the oldest up to the first that is
// neither, hands out what there is room for then, and confirms.
func (s *subscription) settle() {
	var acked line
	s.topic.mu.Lock()
	for s.inHand.n > 0 {
		verdict := verdictOn(s.inHand.first.copy)
		if verdict == open {
			break
		}
		e := s.inHand.pop()
		e.cancel()
		if verdict == acknowledged {
			acked.push(e)
		} else {
			e.handled = true
			s.topic.queue.putBack(e)
		}
	}
	s.topic.unacked -= acked.n
	s.topic.deliver()
	s.topic.mu.Unlock()
	confirm(&acked)
}

// end gives back what is not acknowledged: unread messages as if they had never been delivered.
func (s *subscription) end() {
	var acked line
	s.topic.mu.Lock()
	s.cancel()
	s.topic.leave(s)
	unread := s.drain()
	for s.inHand.n > 0 {
		e := s.inHand.pop()
		e.cancel()
		switch {
		case len(unread) > 0 && unread[0] == e.copy:
			unread = unread[1:]
			s.topic.queue.putBack(e)
		case verdictOn(e.copy) == acknowledged:
			acked.push(e)
		default:
			e.handled = true
			s.topic.queue.putBack(e)
		}
	}
	s.topic.unacked -= acked.n
	s.topic.deliver()
	s.topic.mu.Unlock()
	confirm(&acked)
}

// drain takes back what nobody has read, in the order of delivery, and closes the channel. A consumer may
// be reading at the same time.
func (s *subscription) drain() []*message.Message {
	var unread []*message.Message
	for {
		select {
		case m := <-s.out:
			unread = append(unread, m)
		default:
			close(s.out)
			return unread
		}
	}
}

func confirm(acked *line) {
	for acked.n > 0 {
		if e := acked.pop(); e.done != nil {
			e.done(nil)
		}
	}
}

type verdict uint8

const (
	open verdict = iota
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
		return open
	}
}
