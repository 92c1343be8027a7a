package worker_test

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

// broker is a bus that keeps what it was given until it is acknowledged, over any number of workers, and
// gives it out again when one of them dies.
type broker struct {
	mu    sync.Mutex
	lanes []*queue
	acked func(payload []byte) // told before a message is forgotten
}

type queue struct {
	waiting [][]byte // not handed out
	out     [][]byte // handed out, not acknowledged
	more    chan struct{}
}

func newBroker(lanes int, acked func([]byte)) *broker {
	b := &broker{acked: acked}
	for range lanes {
		b.lanes = append(b.lanes, &queue{more: make(chan struct{}, 1)})
	}
	return b
}

func (q *queue) wake() {
	select {
	case q.more <- struct{}{}:
	default:
	}
}

func (b *broker) publish(lane int, payload []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lanes[lane].waiting = append(b.lanes[lane].waiting, payload)
	b.lanes[lane].wake()
}

// left is how many messages have not been acknowledged.
func (b *broker) left() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range b.lanes {
		n += len(q.waiting) + len(q.out)
	}
	return n
}

// giveBack is what happens when a worker is gone: what it had goes to the front again, in the order that
// the caller makes of it.
func (b *broker) giveBack(reorder func([][]byte)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range b.lanes {
		reorder(q.out)
		q.waiting = append(q.out, q.waiting...)
		q.out = nil
		q.wake()
	}
}

// connection is one worker's side of the broker. After it is cut nothing it acknowledges counts.
type connection struct {
	*broker
	prefetch int
	alive    context.Context
	cut      context.CancelFunc
}

var _ message.Subscriber = (*connection)(nil)

func (b *broker) connect(prefetch int) *connection {
	c := &connection{broker: b, prefetch: prefetch}
	c.alive, c.cut = context.WithCancel(context.Background())
	return c
}

// Subscribe is message.Subscriber's.
func (c *connection) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	var lane int
	if _, err := fmt.Sscanf(topic, "lane.%d", &lane); err != nil {
		return nil, err
	}
	messages := make(chan *message.Message)
	go func() {
		defer close(messages)
		for {
			payload, ok := c.take(c.lanes[lane])
			if !ok {
				select {
				case <-c.lanes[lane].more:
					continue
				case <-ctx.Done():
					return
				case <-c.alive.Done():
					return
				}
			}
			m := message.NewMessage("m", payload)
			go c.awaitAck(c.lanes[lane], m)
			select {
			case messages <- m:
			case <-ctx.Done():
				return
			case <-c.alive.Done():
				return
			}
		}
	}()
	return messages, nil
}

// Close is message.Subscriber's.
func (c *connection) Close() error { c.cut(); return nil }

func (c *connection) take(q *queue) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(q.waiting) == 0 || len(q.out) >= c.prefetch || c.alive.Err() != nil {
		return nil, false
	}
	payload := q.waiting[0]
	q.waiting = q.waiting[1:]
	q.out = append(q.out, payload)
	return payload, true
}

func (c *connection) awaitAck(q *queue, m *message.Message) {
	select {
	case <-m.Acked():
	case <-c.alive.Done():
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.alive.Err() != nil {
		return
	}
	c.acked(m.Payload)
	at := slices.IndexFunc(q.out, func(p []byte) bool { return &p[0] == &m.Payload[0] })
	q.out = slices.Delete(q.out, at, at+1)
	q.wake()
}
