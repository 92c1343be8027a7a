package intake

import (
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// request is the state of one POST. It is pooled, since with one command a POST its making would cost
// more than what it does.
type request struct {
	body  []byte
	out   []byte
	items []*item // those in use; more may lie beyond its length
	array bool

	wait    int  // seconds to wait for outcomes
	waiting bool // whether the client asked for it and it is done
	began   time.Time
	mark    uint64 // where the conflicts told before this request end

	unconfirmed atomic.Int32  // items sent of which nothing was heard yet
	confirmed   chan struct{} // one signal, when the last was heard of
	timer       *time.Timer
	abandoned   bool // something was not heard of in time and still may be: not to be used again
}

// item is one command of a request.
type item struct {
	env     commands.Envelope
	refused *problem.Problem // nil: not refused
	waiter  Waiter           // nil: nobody waits
	done    func(error)      // given to Send

	// fate is set by done; what it says about err may be read once it is not unheard.
	fate atomic.Uint32
	err  error

	view commands.CommandView // of the outcome; without a status until that is known
}

const (
	unheard = iota
	accepted
	failed
)

func newRequest() *request {
	req := &request{confirmed: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	req.timer.Stop()
	return req
}

// use makes room for n items.
func (req *request) use(n int) {
	for len(req.items) < n {
		if len(req.items) < cap(req.items) && req.items[:len(req.items)+1][len(req.items)] != nil {
			req.items = req.items[:len(req.items)+1]
			continue
		}
		req.items = append(req.items, newItem(req))
	}
}

func newItem(req *request) *item {
	it := &item{}
	it.done = func(err error) {
		it.err = err
		if err == nil {
			it.fate.Store(accepted)
		} else {
			it.fate.Store(failed)
		}
		if req.unconfirmed.Add(-1) == 0 {
			req.confirmed <- struct{}{}
		}
	}
	return it
}

// The largest that a pooled request keeps.
const (
	keptBytes = 64 << 10
	keptItems = 256
)

// reset makes the request ready for another use.
func (req *request) reset() {
	for _, it := range req.items {
		done := it.done
		*it = item{done: done}
	}
	req.items = req.items[:0]
	if cap(req.items) > keptItems {
		req.items = nil
	}
	if cap(req.body) > keptBytes {
		req.body = nil
	}
	if cap(req.out) > keptBytes {
		req.out = nil
	}
	req.body, req.out = req.body[:0], req.out[:0]
	req.array, req.wait, req.waiting = false, 0, false
}

// refuse notes why the command is not accepted.
func (it *item) refuse(code commands.Reason, detail string) *problem.Problem {
	p := problem.New(code, detail)
	p.ID, p.Stream = it.env.ID, it.env.Stream
	it.refused = p
	return p
}

// settled tells that the outcome is known.
func (it *item) settled() bool { return it.view.Status != "" }
