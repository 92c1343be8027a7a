package intake

import (
	"slices"
	"sync"
	"time"
)

// overdue wakes requests of which nothing was heard in time. All have the same time, so they lie in the order in
// which it ends, and one timer serves them all: one for each, and a select with it, cost a request more than
// reading its command does.
type overdue struct {
	within time.Duration

	mu    sync.Mutex
	queue []waiting // oldest first; some of them wait no more
	timer *time.Timer
	armed bool // the timer runs, as it does while the queue holds something
}

// waiting is a request in one of its turns of waiting.
type waiting struct {
	req   *request
	turn  uint64
	until time.Time
}

// ended tells whether this turn is over.
func (w *waiting) ended() bool { return w.req.turn.Load() != w.turn }

// end ends this turn; false when somebody else has.
func (w *waiting) end() bool { return w.req.turn.CompareAndSwap(w.turn, w.turn+1) }

// await waits until everything the request sent was heard of, or reports false when that took too long. Both may come
// to pass, of which it then took one signal; the other is there, or to come.
func (o *overdue) await(req *request) bool {
	select {
	case <-req.signals:
		return true
	default:
	}
	w := waiting{req: req, turn: req.turn.Add(1)}
	o.expect(w)
	<-req.signals
	return w.end()
}

// expect has the request woken when its time is over.
func (o *overdue) expect(w waiting) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == cap(o.queue) {
		o.queue = slices.DeleteFunc(o.queue, func(w waiting) bool { return w.ended() })
		o.queue = slices.Grow(o.queue, len(o.queue)+64) // so it is at most half full, and seldom gone through
	}
	w.until = time.Now().Add(o.within)
	o.queue = append(o.queue, w)
	if !o.armed {
		o.arm()
	}
}

// arm sets the timer for the oldest. The caller holds mu.
func (o *overdue) arm() {
	o.armed = true
	left := time.Until(o.queue[0].until)
	if o.timer == nil {
		o.timer = time.AfterFunc(left, o.wake)
	} else {
		o.timer.Reset(left)
	}
}

// wake wakes those whose time is over.
func (o *overdue) wake() {
	o.mu.Lock()
	defer o.mu.Unlock()
	now, done := time.Now(), 0
	for ; done < len(o.queue) && (o.queue[done].ended() || !o.queue[done].until.After(now)); done++ {
		if w := &o.queue[done]; w.end() {
			w.req.signals <- struct{}{}
		}
	}
	o.queue = slices.Delete(o.queue, 0, done)
	if o.armed = len(o.queue) > 0; o.armed {
		o.arm()
	}
}
