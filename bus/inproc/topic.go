package inproc

import (
	"context"
	"slices"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ticketed/doorman/bus"
)

// topic is one work queue. A message moves from queue into the hands of a subscription and out, or back.
// Whoever makes a move possible makes it, under mu: a publisher puts its message straight into the buffer
// of a subscription that has room, so no goroutine stands between the two.
type topic struct {
	config   *Config
	watchers *sync.WaitGroup

	mu            sync.Mutex
	closed        bool
	lastSeq       uint64
	unacked       int // queued and delivered
	queue         line
	subscriptions []*subscription
}

func (t *topic) take(e *entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return bus.ErrClosed
	}
	if t.unacked >= t.config.MaxMessages {
		return bus.ErrFull
	}
	t.unacked++
	t.lastSeq++
	e.seq = t.lastSeq
	t.queue.push(e)
	t.deliver()
	return nil
}

func (t *topic) join(ctx context.Context) (*subscription, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, bus.ErrClosed
	}
	s := &subscription{
		topic: t,
		out:   make(chan *message.Message, t.config.Prefetch),
		wake:  make(chan struct{}, 1),
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	t.subscriptions = append(t.subscriptions, s)
	t.deliver()
	t.watchers.Go(s.watch)
	return s, nil
}

// deliver hands out what can be handed out. The caller holds mu.
func (t *topic) deliver() {
	for t.queue.n > 0 && !t.closed {
		s := t.idlest()
		if s == nil {
			return
		}
		s.hand(t.queue.pop())
	}
}

// idlest is the subscription with the most room, nil when none has any.
func (t *topic) idlest() *subscription {
	var best *subscription
	for _, s := range t.subscriptions {
		if s.inHand.n < t.config.Prefetch && (best == nil || s.inHand.n < best.inHand.n) {
			best = s
		}
	}
	return best
}

func (t *topic) leave(s *subscription) {
	t.subscriptions = slices.DeleteFunc(t.subscriptions, func(other *subscription) bool { return other == s })
}

// shut refuses what comes from now on and ends the subscriptions.
func (t *topic) shut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, s := range t.subscriptions {
		s.cancel()
	}
}

// abandon tells the fate of what is left when the subscriptions have ended.
func (t *topic) abandon() {
	t.mu.Lock()
	left := t.queue
	t.queue, t.unacked = line{}, 0
	t.mu.Unlock()
	for left.n > 0 {
		e := left.pop()
		if e.done == nil {
			continue
		}
		if e.handled {
			e.done(bus.ErrFateUnknown)
		} else {
			e.done(bus.ErrClosed)
		}
	}
}
