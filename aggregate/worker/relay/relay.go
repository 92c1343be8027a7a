package relay

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
)

// Relay publishes the outcomes of the lanes that one worker holds. It is used once: New, Start, Shutdown.
type Relay struct {
	cfg      Config
	identity store.Identity

	mu       sync.Mutex
	backlog  backlog
	taken    []store.Claim // by the worker, to be begun with; nil when there is nothing new
	stopping bool

	wake chan struct{} // holds a token when there is something to look at

	lifecycle sync.Mutex
	life      context.Context // until it is to end at once
	over      context.CancelFunc
	ended     chan struct{} // closed when nothing is published any more; nil before Start

	at   atomic.Uint64 // everything of the lanes up to here is published
	told atomic.Uint64 // the newest position that is known to be there

	// What follows belongs to the goroutine that publishes.
	claims   []store.Claim // as they were taken
	from     map[int]uint64
	saved    uint64
	save     schedule
	rest     time.Time // since when there was nothing to do; zero: there is
	events   audience
	outcomes audience
	tickets  tickets
	scratch  scratch
}

// New makes a relay; nothing is published before Start.
func New(cfg Config) (*Relay, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &Relay{cfg: cfg, identity: cfg.Store.Identity(), wake: make(chan struct{}, 1), tickets: newTickets(cfg.Store)}
	r.backlog = backlog{mostOutcomes: cfg.KeepOutcomes, mostBytes: cfg.KeepBytes}
	r.life, r.over = context.WithCancel(context.Background())
	return r, nil
}

// Start begins to publish once there are lanes. It does not wait for anything.
func (r *Relay) Start() {
	r.lifecycle.Lock()
	defer r.lifecycle.Unlock()
	if r.ended == nil && r.life.Err() == nil {
		r.ended = make(chan struct{})
		go r.run()
	}
}

// Acquired tells that the worker has taken its lanes, with their checkpoints. It does not block.
func (r *Relay) Acquired(claims []store.Claim) {
	r.mu.Lock()
	r.taken = claims
	r.backlog.unsure()
	r.mu.Unlock()
	r.signal()
}

// Observe tells of a commit of the worker, after it, in order of position. It does not block, and keeps the
// outcomes, which must not change any more.
func (r *Relay) Observe(covered store.Range, result *aggregate.Result) {
	r.mu.Lock()
	r.backlog.put(covered, result.Outcomes, time.Now())
	r.mu.Unlock()
	r.known(covered.Last)
	r.signal()
}

// Behind is how many positions lie between the newest commit that is known here and what is published.
func (r *Relay) Behind() uint64 {
	told, at := r.told.Load(), r.at.Load()
	return max(told, at) - at
}

// Shutdown publishes what was committed, for as long as the context and Config.Drain allow, saves the
// checkpoints and returns. What is left the next owner of the lanes publishes; the error says so. The worker must
// have ended. It is safe to call twice.
func (r *Relay) Shutdown(ctx context.Context) error {
	r.lifecycle.Lock()
	ended := r.ended
	r.lifecycle.Unlock()
	r.mu.Lock()
	r.stopping = true
	r.mu.Unlock()
	if ended == nil {
		r.over()
		return nil
	}
	r.signal()
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Drain)
	defer cancel()
	select {
	case <-ended:
	case <-ctx.Done():
		r.over()
		<-ended
	}
	r.over()
	if behind := r.Behind(); behind > 0 {
		return fmt.Errorf("relay: %d positions behind: what is not published yet, the next owner of the lanes publishes", behind)
	}
	return nil
}

func (r *Relay) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
