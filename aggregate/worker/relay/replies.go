package relay

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/commands"
)

const (
	// mostTogether is how many replies are delivered together, mostFilledIn how many of them are rejections, of which
	// each is filled in from the store and may be large, and tellers how many of those are filled in at once.
	mostTogether = 256
	mostFilledIn = 32
	tellers      = 4
)

// replies tells those who asked what became of their commands. What is to be told is handed over by a sequence of its
// own, which waits while too much is here, and asked for by rows in the store. Queues that take their replies do not
// wait for those that do not, which are left to aside.
type replies struct {
	cfg   *Config
	epoch string
	life  context.Context
	seq   *sequence
	moved func() // told when more is done

	mu      sync.Mutex
	lanes   []int
	turn    uint64   // of the lanes
	marks   []*mark  // of what was handed over and may not be done, in order of position
	queue   []*reply // to be told
	weight  int      // of those
	waiting waiting  // who is told when a command that is parked comes to its end
	rows    rows
	answers []uint64 // rows of those who were answered, to be deleted
	aside   aside
	sent    int // since metrics were told
	passed  int // likewise

	wake chan struct{} // holds a token when there is something to look at
	room chan struct{} // likewise, when there is room
	over chan struct{} // closed when nothing more is handed over
}

func newReplies(life context.Context, cfg *Config, identity store.Identity, moved func()) *replies {
	r := &replies{cfg: cfg, epoch: identity.Epoch, life: life, moved: moved, wake: make(chan struct{}, 1),
		room: make(chan struct{}, 1), over: make(chan struct{}), aside: newAside()}
	r.seq = newSequence(life, cfg, identity.Lanes, "answered", moved)
	r.seq.emit, r.seq.wants, r.seq.begun = r.take, r.wanted, r.begin
	return r
}

// wanted tells which outcomes somebody is to be told of.
func (r *replies) wanted(o *commands.Outcome) bool {
	if o.ReplyTo != "" {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting.on(o.ID)
}

// begin forgets everything: it will be in the log after the checkpoints, and in the rows of the lanes.
func (r *replies) begin(taken holding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lanes = r.lanes[:0]
	for _, claim := range taken.claims {
		r.lanes = append(r.lanes, claim.Lane)
	}
	r.turn = taken.turn
	r.marks, r.queue, r.weight = nil, nil, 0
	r.waiting, r.rows = waiting{}, rows{some: true}
	r.aside.empty()
	signal(r.wake)
}

// observe tells of a commit, and whether anybody asked in it.
func (r *replies) observe(covered store.Range, outcomes []*commands.Outcome, asked bool) {
	var wanted []*commands.Outcome
	r.mu.Lock()
	for _, o := range outcomes {
		if o.ReplyTo != "" || r.waiting.on(o.ID) {
			wanted = append(wanted, o)
		}
	}
	r.rows.some = r.rows.some || asked
	r.mu.Unlock()
	r.seq.observe(covered, wanted)
	if asked {
		signal(r.wake)
	}
}

// take is what the sequence hands over to. It waits for room.
func (r *replies) take(ctx context.Context, batch []*commands.Outcome) error {
	for _, o := range batch {
		if err := r.awaitRoom(ctx); err != nil {
			return err
		}
		r.mu.Lock()
		if o.ReplyTo != "" {
			own := ofOutcome(o)
			r.marks = append(r.marks, own.mark)
			r.put(own)
		}
		for _, ask := range r.waiting.take(o.ID) {
			r.put(toAsk(ask, o, ""))
		}
		r.mu.Unlock()
		signal(r.wake)
	}
	return nil
}

func (r *replies) awaitRoom(ctx context.Context) error {
	for {
		r.mu.Lock()
		room := len(r.queue) < r.cfg.KeepReplies && r.weight < r.cfg.KeepBytes
		r.mu.Unlock()
		if room {
			return nil
		}
		select {
		case <-r.room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// put is called with mu held.
func (r *replies) put(one *reply) {
	one.turn = r.turn
	r.queue = append(r.queue, one)
	r.weight += one.weight
}

// reached tells up to where everybody was told, of the lanes of which turn; of turn 0 while they are changing.
func (r *replies) reached() (at, turn uint64) {
	at, turn = r.seq.reached()
	r.mu.Lock()
	defer r.mu.Unlock()
	if turn != r.turn {
		return 0, 0
	}
	for len(r.marks) > 0 && r.marks[0].done {
		r.marks = r.marks[1:]
	}
	if len(r.marks) > 0 {
		at = min(at, r.marks[0].position-1)
	}
	return at, turn
}

// run tells until nothing more comes or the life is over.
func (r *replies) run() {
	var running sync.WaitGroup
	running.Go(func() {
		r.seq.run()
		close(r.over)
	})
	told := make(chan struct{})
	running.Go(func() { r.runAside(told) })
	r.tellAll()
	close(told)
	running.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.life), goodbyeTime)
	defer cancel()
	_ = r.forgetAnswered(ctx) // who is answered again then can tell by the message's id
}

func (r *replies) tellAll() {
	for failed := 0; r.life.Err() == nil; {
		worked, err := r.step()
		switch {
		case r.life.Err() != nil:
			return
		case err != nil:
			if failed == 0 {
				r.cfg.Log.Warn("what became of commands cannot be told; trying again", "err", err)
			}
			sleep(r.life, min(minPause<<min(failed, 6), maxPause))
			failed++
		case worked:
			failed = 0
		case !r.await():
			return
		}
	}
}

// await waits for something to do. It reports false when nothing is left and nothing will come.
func (r *replies) await() bool {
	select {
	case <-r.wake:
		return true
	case <-r.life.Done():
		return true
	case <-r.over:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue) > 0 || r.turn > 0 && r.rows.left()
}

// step does what is next, and reports whether there was something.
func (r *replies) step() (worked bool, err error) {
	ctx, cancel := context.WithTimeout(r.life, storeTime)
	defer cancel()
	if err := r.forgetAnswered(ctx); err != nil {
		return false, err
	}
	if read, err := r.readRows(ctx); read || err != nil {
		return read, err
	}
	some, worked := r.next()
	if len(some) == 0 {
		return worked, nil
	}
	return true, r.tell(some)
}

// next takes what is told next, and puts aside what goes to queues in trouble.
func (r *replies) next() (some []*reply, worked bool) {
	r.mu.Lock()
	defer r.unlock()
	filledIn, at := 0, 0
	for ; at < len(r.queue) && len(some) < mostTogether && filledIn < mostFilledIn; at++ {
		one := r.queue[at]
		r.weight -= one.weight
		if r.aside.troubled(one) {
			r.putAside(one)
			continue
		}
		if one.outcome != nil && !one.outcome.Landed() {
			filledIn++
		}
		some = append(some, one)
	}
	clear(r.queue[:at])
	if r.queue = r.queue[at:]; len(r.queue) == 0 {
		r.queue = nil // the array behind it has moved on
	}
	signal(r.room)
	return some, at > 0
}

// tell delivers some replies.
func (r *replies) tell(some []*reply) error {
	receipts, err := r.deliver(some)
	r.mu.Lock()
	defer r.unlock()
	if err != nil {
		if some[0].turn == r.turn { // otherwise it comes again
			r.queue = append(some, r.queue...)
			for _, one := range some {
				r.weight += one.weight
			}
		}
		return err
	}
	for i, one := range some {
		r.receive(one, receipts[i])
	}
	return nil
}

// deliver writes replies and has them delivered.
func (r *replies) deliver(some []*reply) ([]bus.Receipt, error) {
	writing, ctx := errgroup.WithContext(r.life)
	writing.SetLimit(tellers)
	for _, one := range some {
		switch {
		case one.notice.RoutingKey != "": // from an earlier attempt
		case one.outcome != nil && !one.outcome.Landed():
			writing.Go(func() error { return one.write(ctx, r.cfg, r.epoch) })
		default:
			if err := one.write(r.life, r.cfg, r.epoch); err != nil {
				_ = writing.Wait()
				return nil, err
			}
		}
	}
	if err := writing.Wait(); err != nil {
		return nil, err
	}
	notices := make([]bus.Notice, len(some))
	for i, one := range some {
		notices[i] = one.notice
	}
	return r.cfg.Publisher.Deliver(r.life, notices, r.cfg.ReplyTime)
}

// receive takes note of what became of a reply. It is called with mu held.
func (r *replies) receive(one *reply, receipt bus.Receipt) {
	switch receipt {
	case bus.Taken:
		r.aside.recovered(one)
		r.done(one, true)
	case bus.Refused, bus.Unanswered:
		r.aside.refused(one, receipt)
		r.putAside(one)
	default: // there is nobody any more, or it can never arrive
		r.aside.recovered(one)
		r.done(one, false)
	}
}

// done takes note that a reply is out, or passed over. It is called with mu held.
func (r *replies) done(one *reply, sent bool) {
	if one.mark != nil {
		one.mark.done = true
	}
	if one.to.N != 0 {
		r.answers = append(r.answers, one.to.N)
		signal(r.wake)
	}
	if sent {
		r.sent++
	} else {
		r.passed++
	}
}

// unlock lets go of mu, and tells of what was done.
func (r *replies) unlock() {
	sent, passed := r.sent, r.passed
	r.sent, r.passed = 0, 0
	r.mu.Unlock()
	if sent+passed > 0 {
		r.cfg.Metrics.Replied(sent, passed)
		r.moved()
	}
}
