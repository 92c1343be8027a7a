package hub

import (
	"cmp"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"
)

// turn is what a connection is owed at one moment.
type turn struct {
	items []item
	bytes int // about, of the items
	mark  uint64
	whole bool // everything up to mark is in it
	beat  bool

	messages []Message // rendered
	delivery Delivery
}

// item is one thing owed: something private, or one or several landings of a stream.
type item struct {
	position uint64
	private  *private
	topic    *topic
	landing  *landing   // the newest
	merged   []*landing // when there are several: those kept of them, oldest first
	first    uint64     // of several: the number of the first
}

// pump serves connections of a queue until the hub stops.
func (h *Hub) pump(q *queue) {
	var t turn
	for {
		if !h.pacer.wait(h.busy.Load(), h.ctx.Done()) {
			return
		}
		h.mu.Lock()
		for len(q.conns) == 0 && !h.stopped {
			q.work.Wait()
		}
		if h.stopped {
			h.mu.Unlock()
			return
		}
		c := q.conns[0]
		q.conns[0] = nil
		q.conns = q.conns[1:]
		if c.phase != queued || c.heavy && q == &h.light {
			if c.phase == queued {
				h.heavy.add(c) // it has come to be since it was queued
			}
			h.mu.Unlock()
			continue
		}
		c.phase = serving
		inTime := h.collect(c, &t)
		h.mu.Unlock()
		h.serve(c, &t, inTime)
	}
}

// watchLoad finds out, many times a second, whether the process uses more than half of the processors: then
// landing goes before pushing, and what piles up is told together.
func (h *Hub) watchLoad() {
	const every = 50 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	used, at := h.config.CPU(), time.Now()
	for {
		select {
		case <-tick.C:
		case <-h.ctx.Done():
			return
		}
		now, since := h.config.CPU(), time.Since(at)
		h.busy.Store(2*(now-used) > since*time.Duration(runtime.GOMAXPROCS(0)))
		used, at = now, at.Add(since)
	}
}

// serve tells a connection what was collected for it.
func (h *Hub) serve(c *Conn, t *turn, inTime bool) {
	if !inTime {
		c.end("slow")
		return
	}
	if err := h.render(c, t); err != nil {
		h.config.Log.Warn("a connection could not be told; it will resume", "err", err)
		c.end("unavailable")
		return
	}
	t.delivery = Delivery{Messages: t.messages, Beat: t.beat}
	if t.whole {
		t.delivery.Mark = h.position(t.mark)
	}
	left, err := c.sink.Put(&t.delivery)
	if errors.Is(err, ErrNoRoom) {
		c.end("slow")
		return
	}
	if err != nil {
		c.end("")
		return
	}
	h.measure(t)
	if left {
		h.running.Go(func() {
			if err := c.sink.Flush(); err != nil {
				c.end("slow")
				return
			}
			h.served(c)
		})
		return
	}
	h.served(c)
}

func (h *Hub) measure(t *turn) {
	if len(t.items) == 0 {
		return
	}
	h.config.Metrics.Told(len(t.items))
	if l := t.items[len(t.items)-1].landing; l != nil && !l.outcome.ReceivedAt.IsZero() {
		h.config.Metrics.Delay(time.Since(l.outcome.ReceivedAt))
	}
}

// served puts a connection back.
func (h *Hub) served(c *Conn) {
	h.mu.Lock()
	if c.phase == serving {
		h.release(c)
	}
	h.mu.Unlock()
}

// release lets a connection be served, now if it is owed something.
func (h *Hub) release(c *Conn) {
	c.phase = idle
	if len(c.dirty)+len(c.private) > 0 || c.beat || c.slow {
		h.enqueue(c)
	}
}

// What is told in one turn: about so many bytes, and landings of one stream by themselves.
const (
	mostBytes = 1 << 20
	mostEach  = 256
)

// collect takes what a connection is owed. It reports false when that is too much.
func (h *Hub) collect(c *Conn, t *turn) bool {
	clear(t.items)
	clear(t.messages)
	*t = turn{items: t.items[:0], messages: t.messages[:0], mark: max(h.end, c.marked), whole: true, beat: c.beat}
	c.beat = false
	if c.slow {
		return false
	}
	if t.whole = t.takePrivate(c); !t.whole {
		return true // what contains the rest is told after it
	}
	left := c.dirty[:0]
	for _, w := range c.dirty {
		if w.topic == nil {
			continue // it was refused meanwhile
		}
		if t.bytes >= mostBytes {
			left = append(left, w)
			t.whole = false
			continue
		}
		if c.deliver == DeliverEvents {
			if w.topic.landings[0].number > w.seen+1 {
				return false // what it is owed next is not kept any more
			}
			if !t.each(w) {
				left = append(left, w)
				t.whole = false
				continue
			}
		} else {
			t.newest(w)
		}
		w.topic.settle(w)
		w.topic.rest()
	}
	clear(c.dirty[len(left):])
	if c.dirty = left; len(left) == 0 {
		c.dirty = nil
	}
	c.heavy = c.heavy && !t.whole
	// What is private comes before the state that contains it.
	slices.SortStableFunc(t.items, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.position, b.position), cmp.Compare(rank(&a), rank(&b)))
	})
	return true
}

// What is private and told in one turn: of what the store must be asked for little, since it may be large.
const (
	mostPrivate = 256
	mostAsked   = 4
)

// takePrivate takes what only the sessions are told; it reports false when some is left for the next turn.
func (t *turn) takePrivate(c *Conn) bool {
	asked := 0
	for n, p := range c.private {
		if p.asks() {
			asked++
		}
		if n == mostPrivate || asked > mostAsked {
			c.private = c.private[n:]
			return false
		}
		t.items = append(t.items, item{position: p.position, private: p})
	}
	c.private = nil
	return true
}

func rank(i *item) int {
	if i.private != nil {
		return 0
	}
	return 1
}

// each takes the landings of a stream one by one; it reports false when some are left for the next turn.
func (t *turn) each(w *watch) bool {
	landings := w.topic.landings
	at, _ := slices.BinarySearchFunc(landings, w.after+1, func(l *landing, position uint64) int {
		return cmp.Compare(l.outcome.Position, position)
	})
	due := landings[at:]
	for n, l := range due {
		if n == mostEach || t.bytes >= mostBytes {
			return false
		}
		t.items = append(t.items, item{position: l.outcome.Position, topic: w.topic, landing: l})
		t.bytes += l.size()
		w.after, w.seen = l.outcome.Position, l.number
	}
	return true
}

// newest takes the newest landing of a stream, with those that it is merged with.
func (t *turn) newest(w *watch) {
	l := w.topic.newest()
	if l.outcome.Position > w.after {
		next := item{position: l.outcome.Position, topic: w.topic, landing: l, first: w.seen + 1}
		for _, kept := range w.topic.landings {
			switch {
			case kept.number < next.first:
			case kept.outcome.Position <= w.after:
				next.first = kept.number + 1 // the snapshot had it
			case l.number > next.first:
				next.merged = append(next.merged, kept)
			}
		}
		t.items = append(t.items, next)
		t.bytes += l.size()
	}
	w.after, w.seen = max(w.after, l.outcome.Position), l.number
}

// pacer bounds the turns made in a second. After a quiet while two seconds' worth are made without a pause: one
// change to that many watchers is told at once.
type pacer struct {
	rate float64 // a second

	mu     sync.Mutex
	tokens float64
	filled time.Time
}

// wait takes a token; it reports false when the channel is closed first. While the processors are busy there are
// an eighth of them.
func (p *pacer) wait(busy bool, done <-chan struct{}) bool {
	rate := p.rate
	if busy {
		rate /= 8
	}
	for {
		p.mu.Lock()
		now := time.Now()
		if p.filled.IsZero() {
			p.tokens = 2 * rate
		} else {
			p.tokens = min(2*rate, p.tokens+now.Sub(p.filled).Seconds()*rate)
		}
		p.filled = now
		if p.tokens >= 1 {
			p.tokens--
			p.mu.Unlock()
			return true
		}
		p.mu.Unlock()
		select {
		case <-time.After(time.Millisecond):
		case <-done:
			return false
		}
	}
}
