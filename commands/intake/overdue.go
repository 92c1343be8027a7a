package intake

import (
	"sync"
	"time"
)

// overdue wakes requests of which nothing was heard in time. All have the same time, so they lie in the order in
// which it ends, and one timer serves them all: one for each, and a select with it, cost a request more than
// reading its command does.
type overdue struct {
	within time.Duration

	mu    sync.Mutex
	queue []waiting // oldest first, from first on
	first int
	timer *time.Timer // nil before the first
	armed bool        // the timer runs: something is in the queue
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

// await waits until everything the request sent was heard of, or reports false when that took too long.
func (o *overdue) await(req *request) bool {
	select {
	case <-req.signals:
		return true
	default:
	}
	w := waiting{req, req.turn.Add(1), time.Now().Add(o.within)}
	o.expect(w)
	<-req.signals
	return w.end()
}

// expect has the request woken when its time is over.
func (o *overdue) expect(w waiting) {
	o.mu.Lock()
	o.forget()
	o.queue = append(o.queue, w)
	if !o.armed {
		o.arm()
	}
	o.mu.Unlock()
}

// forget drops those at the head whose turn has ended. The caller holds mu.
func (o *overdue) forget() {
	for o.first < len(o.queue) && o.queue[o.first].ended() {
		o.first++
	}
	if o.first > len(o.queue)/2 {
		kept := copy(o.queue, o.queue[o.first:])
		clear(o.queue[kept:])
		o.queue, o.first = o.queue[:kept], 0
	}
}

// arm sets the timer for the oldest. The caller holds mu.
func (o *overdue) arm() {
	o.armed = true
	left := time.Until(o.queue[o.first].until)
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
	now := time.Now()
	for ; o.first < len(o.queue) && !now.Before(o.queue[o.first].until); o.first++ {
		if w := &o.queue[o.first]; w.end() {
			w.req.signals <- struct{}{}
		}
	}
	o.forget()
	if o.armed = o.first < len(o.queue); o.armed {
		o.arm()
	}
}
