package relay

import (
	"time"

	"github.com/ticketed/doorman/bus"
)

const (
	// mostTroubles is how many queues in trouble are remembered; of others each reply is tried by itself.
	mostTroubles = 4096
	// mostOfOne is how many replies to one queue are tried together.
	mostOfOne = 64
	// The pauses between tries.
	minAsidePause, maxAsidePause = 50 * time.Millisecond, time.Second
)

// aside is what goes to queues that refuse it, or of which the broker says nothing, and what else goes to those. Its
// fields are guarded by that of replies.
type aside struct {
	troubles map[string]*trouble // by queue
	list     []*reply
	weight   int

	wake chan struct{} // holds a token when there is something to try
}

// trouble is a queue that does not take what it is sent.
type trouble struct {
	since  time.Time
	silent bool // the broker does not say what becomes of it
}

func newAside() aside {
	return aside{troubles: map[string]*trouble{}, wake: make(chan struct{}, 1)}
}

func (a *aside) empty() { a.list, a.weight = nil, 0 }

// troubled tells whether a reply goes to a queue in trouble.
func (a *aside) troubled(one *reply) bool { return a.troubles[one.to.ReplyTo] != nil }

// recovered takes note that a queue is there, or is gone.
func (a *aside) recovered(one *reply) { delete(a.troubles, one.to.ReplyTo) }

// refused takes note that a queue did not take a reply.
func (a *aside) refused(one *reply, receipt bus.Receipt) {
	now := time.Now()
	known := a.troubles[one.to.ReplyTo]
	if known == nil {
		known = &trouble{since: now}
		if len(a.troubles) < mostTroubles {
			a.troubles[one.to.ReplyTo] = known
		}
	}
	known.silent = receipt == bus.Unanswered
	if one.since.IsZero() || known.since.Before(one.since) {
		one.since = known.since
	}
}

// putAside keeps a reply for another try, unless its time is over or there is too much. It is called with mu held.
func (r *replies) putAside(one *reply) {
	a := &r.aside
	switch {
	case one.turn != r.turn: // it comes again
	case !one.since.IsZero() && time.Since(one.since) >= r.cfg.ReplyPatience,
		len(a.list) >= r.cfg.KeepAside || a.weight >= r.cfg.KeepBytes:
		r.done(one, false)
	default:
		a.list = append(a.list, one)
		a.weight += one.size()
		signal(a.wake)
	}
}

// runAside tries again what was put aside, until everything else was told: what is left then is told by whoever holds
// the lanes next.
func (r *replies) runAside(told <-chan struct{}) {
	pause := minAsidePause
	for {
		select {
		case <-r.aside.wake:
		case <-told:
			return
		case <-r.life.Done():
			return
		}
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-told:
		case <-r.life.Done():
		}
		wait.Stop()
		select {
		case <-told:
			return
		default:
		}
		pause = min(2*pause, maxAsidePause)
		if r.tryAside() {
			pause = minAsidePause
		}
	}
}

// tryAside tries some of what was put aside, and reports whether any of it went out.
func (r *replies) tryAside() (some bool) {
	batch := r.nextAside()
	if len(batch) == 0 {
		return false
	}
	receipts, err := r.deliver(batch)
	r.mu.Lock()
	defer r.unlock()
	passed := r.passed
	for i, one := range batch {
		if err != nil { // the store or the broker: no fault of the queue's
			r.putAside(one)
			continue
		}
		r.receive(one, receipts[i])
		some = some || receipts[i] == bus.Taken
	}
	if r.passed > passed {
		r.cfg.Log.Warn("queues take no replies, which are passed over", "replies", r.passed-passed, "reply_to", batch[0].to.ReplyTo)
	}
	if len(r.aside.list) > 0 {
		signal(r.aside.wake)
	}
	return some
}

// nextAside takes what is tried next: some to each queue, one to those of which nothing is heard. When that has been
// so for too long, what else goes there is passed over.
func (r *replies) nextAside() []*reply {
	r.mu.Lock()
	defer r.unlock()
	a := &r.aside
	var batch, left []*reply
	of := map[string]int{}
	for _, one := range a.list {
		most, known := mostOfOne, a.troubles[one.to.ReplyTo]
		if known != nil && known.silent {
			most = 1
		}
		switch {
		case len(batch) < mostTogether && of[one.to.ReplyTo] < most:
			of[one.to.ReplyTo]++
			batch = append(batch, one)
		case known != nil && known.silent && time.Since(known.since) >= r.cfg.ReplyPatience:
			r.done(one, false)
		default:
			left = append(left, one)
			continue
		}
		a.weight -= one.size()
	}
	a.list = left
	return batch
}
