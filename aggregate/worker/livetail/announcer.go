package livetail

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// The groups of a [Post].
const (
	Gateways = "gateways"
	Workers  = "workers"
)

// Post carries messages between processes: at once or not at all, and unconfirmed. It may lose some.
type Post interface {
	// Send gives a message to one process, Broadcast to all of a group. They do not keep it.
	Send(address string, body []byte) error
	Broadcast(group string, body []byte) error
	// Address is where messages to this process go; it may change, when it has been away.
	Address() string
}

const (
	// wholeEvery is how often gateways tell all their interests unasked.
	wholeEvery = 5 * time.Second
	// forgetAfter is when one that says nothing is taken to have gone.
	forgetAfter = 3 * wholeEvery
	// maxQueued and maxQueuedBytes bound what an announcer has been shown and has not sent.
	maxQueued      = 512
	maxQueuedBytes = 16 << 20
	// maxMessage is about how large one message becomes.
	maxMessage = 1 << 20
	// maxGateways bounds how many are told; the others look for themselves.
	maxGateways = 256
)

// AnnouncerConfig is what an announcer needs. Post and Epoch are required.
type AnnouncerConfig struct {
	Post  Post
	Epoch string // of the log
	// Except is the gateway of this very process, which is told without a detour; the zero id for none.
	Except commands.ID
	Log    *slog.Logger
}

// Announcer tells gateways what is committed here.
type Announcer struct {
	config AnnouncerConfig

	mu     sync.Mutex
	queued []commit
	bytes  int
	ready  chan struct{}

	knowing  sync.Mutex
	gateways map[commands.ID]*gateway
	count    atomic.Int64 // of gateways

	buffer []byte // of the running goroutine
	life   life
}

// gateway is one that wants to be told. It is guarded by the announcer's lock.
type gateway struct {
	id      commands.ID
	address string
	number  uint64
	version uint64
	wants   wanted
	heard   time.Time
}

// wanted is what one gateway wants to be told of.
type wanted struct {
	via        string
	everything bool
	expects    bool
	keys       map[key]struct{}
}

func (w *wanted) has(k key) bool {
	_, has := w.keys[k]
	return has
}

// outcome tells whether an outcome is wanted, and with the stream's state.
func (w *wanted) outcome(o *commands.Outcome) (wanted, state bool) {
	if w.has(streamKey(o.Stream)) {
		return true, true
	}
	return w.everything || w.expects && o.Via == w.via || o.Session != "" && w.has(sessionKey(o.Session)) || w.has(commandKey(o.ID)), false
}

func (w *wanted) waiting(p *aggregate.Waiting) bool {
	return w.expects && p.Via == w.via || p.Session != "" && w.has(sessionKey(p.Session))
}

func (w *wanted) answer(a *aggregate.Answer) bool {
	return a.Via == w.via || a.Session != "" && w.has(sessionKey(a.Session))
}

// NewAnnouncer makes an announcer that knows no gateways yet.
func NewAnnouncer(config AnnouncerConfig) *Announcer {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	return &Announcer{config: config, gateways: map[commands.ID]*gateway{}, ready: make(chan struct{}, 1)}
}

// Start asks the gateways what they want, and begins to tell them. The context bounds the start alone.
func (a *Announcer) Start(context.Context) error {
	a.life.begin(a.run)
	return nil
}

// Stop tells what is queued, and ends. It is safe twice.
func (a *Announcer) Stop() error {
	a.life.end()
	return nil
}

// Observe takes a commit, as worker.Config.Observe. It does not block, and keeps the result, which must not
// change any more.
func (a *Announcer) Observe(covered store.Range, result *aggregate.Result) {
	if covered.Last < covered.First && len(result.Park)+len(result.Extend)+len(result.Answers) == 0 {
		return
	}
	if a.count.Load() == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	c := commit{covered: covered, Result: result}
	if a.bytes += c.weight(); a.bytes > maxQueuedBytes || len(a.queued) >= maxQueued {
		a.overflow(c)
	} else {
		a.queued = append(a.queued, c)
	}
	select {
	case a.ready <- struct{}{}:
	default:
	}
}

// overflow keeps of a commit that there is no room for its positions alone.
func (a *Announcer) overflow(c commit) {
	c.alone, c.Result = true, nil
	a.bytes = max(a.bytes, maxQueuedBytes) // nothing more until it has been sent
	if last := len(a.queued) - 1; last >= 0 && a.queued[last].alone {
		a.queued[last].covered.Last = c.covered.Last
		return
	}
	a.queued = append(a.queued, c)
}

// weight is about how many bytes of memory it keeps.
func (c *commit) weight() int {
	const outcome, parked = 400, 300
	bytes := outcome*len(c.Outcomes) + parked*(len(c.Park)+len(c.Extend)+len(c.Answers))
	for i, o := range c.Outcomes {
		bytes += len(c.States[i])
		for at := range o.Events {
			bytes += len(o.Events[at].Data)
		}
	}
	return bytes
}

// Receive takes a message to the group of workers.
func (a *Announcer) Receive(body []byte) {
	if len(body) < 2 || body[0] != layout || body[1] != kindInterest {
		return
	}
	news, err := decodeInterest(body)
	if err != nil {
		a.config.Log.Warn("a gateway's interests cannot be read; it will look for itself", "err", err)
		return
	}
	if news.epoch != a.config.Epoch || news.gateway == a.config.Except {
		return
	}
	a.knowing.Lock()
	known := a.learn(&news)
	a.count.Store(int64(len(a.gateways)))
	a.knowing.Unlock()
	if !known {
		a.hello()
	}
}

// learn takes a gateway's interests in. It reports false when some were missed.
func (a *Announcer) learn(news *interest) bool {
	g := a.gateways[news.gateway]
	switch {
	case news.leaves:
		delete(a.gateways, news.gateway)
		return true
	case news.whole && g == nil:
		if len(a.gateways) >= maxGateways {
			return true
		}
		g = &gateway{id: news.gateway, wants: wanted{via: news.gateway.String()}}
		a.gateways[news.gateway] = g
	case g == nil:
		return false
	case !news.whole && news.number != g.number+1:
		return news.number <= g.number // it is old
	}
	if news.whole {
		g.wants.keys = make(map[key]struct{}, len(news.added))
	}
	for _, k := range news.added {
		g.wants.keys[k] = struct{}{}
	}
	for _, k := range news.removed {
		delete(g.wants.keys, k)
	}
	g.address, g.number, g.version, g.heard = news.address, news.number, news.version, time.Now()
	g.wants.everything, g.wants.expects = news.everything, news.expects
	return true
}

func (a *Announcer) hello() {
	if err := a.config.Post.Broadcast(Gateways, []byte{layout, kindHello}); err != nil {
		a.config.Log.Debug("cannot ask gateways what they want", "err", err)
	}
}

func (a *Announcer) run(ctx context.Context) {
	a.hello()
	tick := time.NewTicker(wholeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			a.announce()
			return
		case <-a.ready:
			a.announce()
		case now := <-tick.C:
			a.forget(now)
		}
	}
}

// forget lets gateways go that have said nothing for long.
func (a *Announcer) forget(now time.Time) {
	a.knowing.Lock()
	defer a.knowing.Unlock()
	for id, g := range a.gateways {
		if now.Sub(g.heard) > forgetAfter {
			delete(a.gateways, id)
		}
	}
	a.count.Store(int64(len(a.gateways)))
}

// announce sends what is queued: to each gateway what it wants by now.
func (a *Announcer) announce() {
	a.mu.Lock()
	queued := a.queued
	a.queued, a.bytes = nil, 0
	a.mu.Unlock()
	a.knowing.Lock()
	gateways := make([]*gateway, 0, len(a.gateways))
	for _, g := range a.gateways {
		gateways = append(gateways, g)
	}
	a.knowing.Unlock()
	for _, g := range gateways {
		for rest := queued; len(rest) > 0; {
			var address string
			address, rest = a.compose(g, rest)
			if err := a.config.Post.Send(address, a.buffer); err != nil {
				a.config.Log.Debug("cannot tell a gateway of commits; it will look for itself", "gateway", g.id, "err", err)
				break
			}
		}
	}
}

// compose makes a message of as many commits as fit, in the buffer, and returns the others.
func (a *Announcer) compose(g *gateway, commits []commit) (address string, rest []commit) {
	a.knowing.Lock()
	defer a.knowing.Unlock()
	a.buffer = appendHeader(a.buffer[:0], a.config.Epoch, g.version)
	for i := range commits {
		a.buffer = commits[i].append(a.buffer, &g.wants)
		if len(a.buffer) >= maxMessage {
			return g.address, commits[i+1:]
		}
	}
	return g.address, nil
}
