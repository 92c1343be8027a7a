package relay

import (
	"context"
	"fmt"
	"sync"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
)

// Relay publishes the outcomes of the lanes that one worker holds. It is used once: New, Start, Shutdown.
type Relay struct {
	cfg        Config
	events     *sequence
	replies    *replies
	checkpoint *checkpoint

	mu   sync.Mutex
	turn uint64 // how often lanes were taken

	lifecycle sync.Mutex
	life      context.Context // until it is to end at once
	over      context.CancelFunc
	ended     chan struct{} // closed when nothing is published any more; nil before Start
}

// New makes a relay; nothing is published before Start.
func New(cfg Config) (*Relay, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &Relay{cfg: cfg}
	r.life, r.over = context.WithCancel(context.Background())
	identity := cfg.Store.Identity()
	saving := make(chan struct{}, 1)
	moved := func() { signal(saving) }
	emitter := &emitter{cfg: &r.cfg, identity: identity, tickets: newTickets(cfg.Store)}
	r.events = newSequence(r.life, &r.cfg, identity.Lanes, "published", moved)
	r.events.emit, r.events.unheard = emitter.emit, emitter.unheard
	r.replies = newReplies(r.life, &r.cfg, identity, moved)
	r.checkpoint = &checkpoint{cfg: &r.cfg, wake: saving, reached: r.reached}
	return r, nil
}

// reached tells up to where everything is published and everybody answered.
func (r *Relay) reached() (at, turn uint64) {
	at, turn = r.events.reached()
	told, sameTurn := r.replies.reached()
	if turn != sameTurn {
		return 0, 0
	}
	return min(at, told), turn
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

func (r *Relay) run() {
	defer close(r.ended)
	saving, over := context.WithCancel(context.Background())
	saved := make(chan struct{})
	go func() {
		defer close(saved)
		r.checkpoint.run(saving)
	}()
	var publishing sync.WaitGroup
	publishing.Go(r.events.run)
	publishing.Go(r.replies.run)
	publishing.Wait()
	over()
	<-saved
}

// Acquired tells that the worker has taken its lanes, with their checkpoints. It does not block.
func (r *Relay) Acquired(claims []store.Claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(claims) == 0 {
		return
	}
	r.turn++
	taken := holding{claims, r.turn}
	r.checkpoint.acquired(taken)
	r.replies.seq.acquired(taken)
	r.events.acquired(taken)
}

// Observe tells of a commit of the worker, after it, in order of position. It does not block, and keeps the
// outcomes, which must not change any more.
func (r *Relay) Observe(covered store.Range, result *aggregate.Result) {
	asked := false
	for i := range result.Answers {
		asked = asked || result.Answers[i].ReplyTo != ""
	}
	r.replies.observe(covered, result.Outcomes, asked)
	r.events.observe(covered, result.Outcomes)
}

// Behind is how many positions lie between the newest commit that is known here and what is published and answered.
func (r *Relay) Behind() uint64 {
	told, at := r.events.told.Load(), r.events.at.Load()
	if answered, turn := r.replies.reached(); turn > 0 {
		at = min(at, answered)
	}
	return max(told, at) - at
}

// Shutdown publishes what was committed, for as long as the context and Config.Drain allow, saves the
// checkpoints and returns. What is left the next owner of the lanes publishes; the error says so. The worker must
// have ended. It is safe to call twice.
func (r *Relay) Shutdown(ctx context.Context) error {
	r.lifecycle.Lock()
	ended := r.ended
	r.lifecycle.Unlock()
	r.events.stop()
	r.replies.seq.stop()
	if ended == nil {
		r.over()
		return nil
	}
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
