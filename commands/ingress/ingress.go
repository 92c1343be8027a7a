package ingress

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/ticketed/doorman/commands"
)

// Ingress takes messages and answers for each. It is used once: New, Start, Stop.
type Ingress struct {
	config Config

	mu       sync.Mutex
	moved    *sync.Cond // anything below changed
	underWay int        // messages whose commands were handed over and not all answered
	held     []*parcel  // to be sent again
	refused  []*parcel  // to be buried
	burying  bool       // some are being buried or told
	stopping bool       // nothing is sent again

	progress atomic.Bool // something was taken since the last try

	ctx     context.Context
	cancel  context.CancelFunc
	started bool
	tending sync.WaitGroup
}

// New makes an ingress.
func New(config Config) (*Ingress, error) {
	config.setDefaults()
	if err := config.Validate(); err != nil {
		return nil, err
	}
	in := &Ingress{config: config}
	in.moved = sync.NewCond(&in.mu)
	in.ctx, in.cancel = context.WithCancel(context.Background())
	return in, nil
}

// Start begins to see to what cannot be sent at once and what is refused.
func (in *Ingress) Start() {
	if in.started {
		return
	}
	in.started = true
	in.tending.Go(in.sendAgain)
	in.tending.Go(in.bury)
}

// Stop lets go of what could not be sent, which its broker gives to somebody else, and waits until everything else
// has been answered for, or until the context ends. Nothing may be taken any more when it is called.
func (in *Ingress) Stop(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { in.change(func() {}) })()
	in.mu.Lock()
	in.stopping, in.held = true, nil
	in.moved.Broadcast()
	for ctx.Err() == nil && (in.underWay > 0 || in.started && (len(in.refused) > 0 || in.burying)) {
		in.moved.Wait()
	}
	in.refused = nil
	in.mu.Unlock()
	in.cancel()
	in.change(func() {})
	in.tending.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (in *Ingress) change(do func()) {
	in.mu.Lock()
	do()
	in.mu.Unlock()
	in.moved.Broadcast()
}

// UnderWay is how many messages were handed over to the bus, which has not said of all their commands what became of
// them.
func (in *Ingress) UnderWay() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.underWay
}

// Take takes messages in the order in which they came, and returns without waiting.
func (in *Ingress) Take(deliveries []Delivery) {
	var send batch
	for _, d := range deliveries {
		p := &parcel{delivery: d, message: d.Message()}
		in.read(p)
		if send.add(p) == 0 {
			in.conclude(p)
		}
	}
	in.send(&send)
}

// batch is what is handed over together.
type batch struct {
	envs   []*commands.Envelope
	owners []*parcel
	places []int // of the commands in their parcels
	count  int   // parcels
}

// add takes the commands of a parcel that are to be sent, and tells how many there are.
func (b *batch) add(p *parcel) int {
	before := len(b.envs)
	for i := range p.commands {
		c := &p.commands[i]
		if c.Refused == nil && !c.durable {
			b.envs, b.owners, b.places = append(b.envs, &c.Env), append(b.owners, p), append(b.places, i)
		}
	}
	n := len(b.envs) - before
	if n > 0 {
		b.count++
		p.later.Store(false)
		p.unheard.Store(int32(n)) //nolint:gosec // bounded by Limits.Array
	}
	return n
}

// send hands a batch over to the bus, or holds it when that is known to be in vain.
func (in *Ingress) send(b *batch) {
	if b.count == 0 {
		return
	}
	in.change(func() { in.underWay += b.count })
	if err := in.config.Ready(); err != nil {
		for i := range b.envs {
			b.answered(in, i, err)
		}
		return
	}
	in.config.SendAll(b.envs, func(i int, err error) { b.answered(in, i, err) })
}

// answered takes the bus's word on one command.
func (b *batch) answered(in *Ingress, i int, err error) {
	p := b.owners[i]
	if err == nil {
		p.commands[b.places[i]].durable = true
	} else {
		p.later.Store(true)
	}
	if p.unheard.Add(-1) > 0 {
		return
	}
	in.conclude(p)
	in.mu.Lock()
	in.underWay--
	stopping := in.stopping
	in.mu.Unlock()
	if stopping {
		in.moved.Broadcast()
	}
}

// conclude sees to a message all of whose commands were answered or refused.
func (in *Ingress) conclude(p *parcel) {
	switch {
	case p.later.Load():
		in.config.Metrics.NotNow()
		in.change(func() {
			if !in.stopping {
				in.held = append(in.held, p)
			}
		})
	case p.refusedCount() > 0:
		in.progress.Store(true)
		in.change(func() { in.refused = append(in.refused, p) })
	default:
		in.progress.Store(true)
		in.settle(p)
	}
}

// settle is the end of a message.
func (in *Ingress) settle(p *parcel) {
	accepted := 0
	for i := range p.commands {
		if p.commands[i].Refused == nil {
			accepted++
		}
	}
	if accepted > 0 {
		in.config.Metrics.Accepted(accepted)
	}
	p.delivery.Settle()
}

// refusedCount is how much of a message is refused: of its commands, or all of it at once.
func (p *parcel) refusedCount() (n int) {
	if p.refused != nil {
		return 1
	}
	for i := range p.commands {
		if p.commands[i].Refused != nil {
			n++
		}
	}
	return n
}
