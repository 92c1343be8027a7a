package hub

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store/feed"
	"github.com/ticketed/doorman/commands"
)

// Hub tells connections what they watch.
type Hub struct {
	config   Config
	slots    chan struct{} // one token for each opening that reads
	entering atomic.Int64  // how many wait for one
	busy     atomic.Bool   // the process uses more than half of the processors
	pacer    pacer
	replay   replay
	doubt    doubt
	held     atomic.Int64 // bytes of states that connections being opened hold

	mu       sync.Mutex
	end      uint64 // everything up to here has been noted
	topics   map[commands.Stream]*topic
	sessions map[string][]*Conn
	conns    map[*Conn]struct{}
	openings map[*Conn]struct{} // not among conns yet
	light    queue              // owed something that is in memory
	heavy    queue              // owed something that the store must be asked for
	beats    [beatSlots][]*Conn
	nextBeat int
	stopped  bool

	ctx       context.Context // of reads
	cancel    context.CancelFunc
	lifecycle sync.Mutex
	started   bool
	running   sync.WaitGroup
}

// beatSlots spread the connections' signs of life over time.
const beatSlots = 60

// How many goroutines serve connections. The light ones never wait, the heavy ones do, for the store: when a
// rejection is told, or a state that another process committed.
const (
	lightPumps = 4
	heavyPumps = 16
)

// queue is connections that are owed something, in order.
type queue struct {
	work  *sync.Cond // on the hub's lock: it is not empty, or the hub stops
	conns []*Conn
}

func (q *queue) add(c *Conn) {
	q.conns = append(q.conns, c)
	q.work.Signal()
}

// New makes a hub.
func New(config Config) (*Hub, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config.setDefaults()
	h := &Hub{config: config, slots: make(chan struct{}, config.Openings),
		topics: map[commands.Stream]*topic{}, sessions: map[string][]*Conn{}, conns: map[*Conn]struct{}{}, openings: map[*Conn]struct{}{},
		replay: newReplay(), doubt: newDoubt()}
	h.pacer.rate = float64(config.TurnsPerSecond)
	h.light.work, h.heavy.work = sync.NewCond(&h.mu), sync.NewCond(&h.mu)
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h, nil
}

// Start begins to follow the feed. The context bounds the start alone.
func (h *Hub) Start(context.Context) error {
	h.lifecycle.Lock()
	defer h.lifecycle.Unlock()
	if h.started {
		return nil
	}
	h.started = true
	h.mu.Lock()
	h.end = max(h.end, h.config.Feed.Subscribe(h.note))
	h.mu.Unlock()
	for range lightPumps {
		h.running.Go(func() { h.pump(&h.light) })
	}
	for range heavyPumps {
		h.running.Go(func() { h.pump(&h.heavy) })
	}
	h.running.Go(h.beat)
	h.running.Go(h.resolveDoubts)
	if h.config.CPU != nil {
		h.running.Go(h.watchLoad)
	}
	return nil
}

// Stop ends all connections, telling their sinks why. It is safe twice.
func (h *Hub) Stop() error {
	h.mu.Lock()
	h.stopped = true
	var open []*Conn
	for c := range h.conns {
		open = append(open, c)
	}
	for c := range h.openings {
		open = append(open, c)
	}
	h.light.work.Broadcast()
	h.heavy.work.Broadcast()
	h.mu.Unlock()
	for _, c := range open {
		c.end("stopping")
	}
	h.cancel()
	h.running.Wait()
	return nil
}

// Count is how many connections there are.
func (h *Hub) Count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.conns)
}

// note takes a commit: it finds out who is owed what. The feed calls it, in order of position.
func (h *Hub) note(c *feed.Commit) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end = max(h.end, c.Covered.Last)
	h.doubt.note(c.Outcomes)
	if len(h.conns) == 0 {
		return
	}
	for i, o := range c.Outcomes {
		if o.Landed() {
			if t := h.topics[o.Stream]; t != nil {
				var state []byte
				if c.States != nil {
					state = c.States[i]
				}
				h.landed(t, o, state, c.States != nil)
			}
		}
		if len(h.sessions[o.Session]) > 0 {
			h.owe(o.Session, &private{position: o.Position, outcome: o})
		}
	}
	if len(h.sessions) == 0 {
		return
	}
	if c.Doubt {
		h.doubt.raise()
	}
	for _, waiting := range [][]*aggregate.Waiting{c.Park, c.Extend} {
		for _, w := range waiting {
			if len(h.sessions[w.Session]) > 0 {
				h.oweParked(w.Session, c.Covered.Last, &commands.ParkedView{
					ID: w.ID, Stream: w.Stream, WaitsFor: w.Ticket, Until: w.Until,
				})
			}
		}
	}
	for i := range c.Answers {
		if a := &c.Answers[i]; a.Session != "" {
			h.owe(a.Session, &private{position: c.Covered.Last, answer: a})
		}
	}
}

// landed notes a landing for everybody who watches its stream.
func (h *Hub) landed(t *topic, o *commands.Outcome, state []byte, told bool) {
	t.add(o, state, told)
	for _, w := range t.idle {
		w.place = -1
		w.conn.heavy = w.conn.heavy || !told
		w.conn.dirty = append(w.conn.dirty, w)
		h.enqueue(w.conn)
	}
	clear(t.idle)
	t.idle = t.idle[:0]
}

// maxPrivate bounds what a connection is owed of its sessions' commands. One that is owed more starts
// again from its last mark.
const maxPrivate = 1024

func (h *Hub) owe(session string, p *private) {
	for _, c := range h.sessions[session] {
		switch {
		case p.position > c.privateAfter:
			c.settled = nil
			c.keep(p)
		case p.outcome != nil || p.waiting != nil && c.settled[p.waiting.ID]:
			continue // it has been told already
		default:
			c.keep(p)
		}
		h.enqueue(c)
	}
}

func (c *Conn) keep(p *private) {
	if len(c.private) >= maxPrivate {
		c.slow = true
		return
	}
	c.private = append(c.private, p)
	c.heavy = c.heavy || p.asks()
}

// asks tells whether the store must be asked to tell it.
func (p *private) asks() bool { return p.answer != nil || p.outcome != nil && !p.outcome.Landed() }

// enqueue has a connection served. One that is being opened or served is looked at afterwards.
func (h *Hub) enqueue(c *Conn) {
	if c.phase != idle {
		return
	}
	c.phase = queued
	if c.heavy {
		h.heavy.add(c)
	} else {
		h.light.add(c)
	}
}

// beat gives every connection a sign of life in turn.
func (h *Hub) beat() {
	tick := time.NewTicker(h.config.Beat / beatSlots)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-h.ctx.Done():
			return
		}
		h.mu.Lock()
		for _, c := range h.beats[h.nextBeat] {
			c.beat = true
			h.enqueue(c)
		}
		h.nextBeat = (h.nextBeat + 1) % beatSlots
		h.mu.Unlock()
	}
}
