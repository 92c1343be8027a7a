package intake

import (
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/vetting"
)

// request is the state of one POST. It is pooled, since with one command a POST its making would cost
// more than what it does.
type request struct {
	body  []byte
	out   []byte
	items []*item // those in use; more may lie beyond its length
	array bool

	vetted  []*vetting.Entry     // of the items of an array
	sending []*item              // those handed over
	envs    []*commands.Envelope // of these

	told    int  // size of what outcomes tell, about, in bytes
	wait    int  // seconds to wait for outcomes
	waiting bool // whether the client asked for it and it is done
	began   time.Time
	mark    uint64 // where the conflicts told before this request end

	unheard   atomic.Int32         // of those sending, how many nothing was heard of yet
	signals   chan struct{}        // one when the last was heard of, and one when that took too long
	turn      atomic.Uint64        // of waiting: moved on when one begins, and by whoever ends it first
	done      func(err error)      // given to Send
	doneAll   func(i int, e error) // given to SendAll
	held      int64                // of the memory that all requests have together, in bytes
	abandoned bool                 // something still may be heard of, or the signal of it: not to be used again
}

// item is one command of a request.
type item struct {
	vetting.Entry
	waiter Waiter
	waits  bool // there is a waiter

	// fate is set once the bus has answered; what it says about err may be read once it is not unanswered.
	fate atomic.Uint32
	err  error

	view   commands.CommandView // of the outcome; without a status until that is known
	untold *commands.Outcome    // it is known, and told only when the answer is written
}

const (
	unanswered = iota
	accepted
	failed
)

func newRequest() *request {
	req := &request{signals: make(chan struct{}, 2)}
	req.doneAll = req.heard
	req.done = func(err error) { req.heard(0, err) }
	return req
}

// heard takes the bus's answer to one of those handed over.
func (req *request) heard(i int, err error) {
	it := req.sending[i]
	it.err = err
	if err == nil {
		it.fate.Store(accepted)
	} else {
		it.fate.Store(failed)
	}
	if req.unheard.Add(-1) == 0 {
		req.signals <- struct{}{}
	}
}

// use makes room for n items; those of former requests lie beyond the slice's length.
func (req *request) use(n int) {
	kept := req.items[:cap(req.items)]
	for i := len(req.items); i < n; i++ {
		if i < len(kept) && kept[i] != nil {
			req.items = kept[:i+1]
		} else {
			req.items = append(req.items, &item{})
		}
	}
}

// entries are those of all items.
func (req *request) entries() []*vetting.Entry {
	for _, it := range req.items {
		req.vetted = append(req.vetted, &it.Entry)
	}
	return req.vetted
}

// keptBytes is the largest buffer that a pooled request keeps.
const keptBytes = 64 << 10

// reset makes the request ready for another use.
func (req *request) reset() {
	for _, it := range req.items {
		*it = item{}
	}
	clear(req.vetted)
	clear(req.sending)
	clear(req.envs)
	req.items, req.vetted, req.sending, req.envs = req.items[:0], req.vetted[:0], req.sending[:0], req.envs[:0]
	if cap(req.body) > keptBytes {
		req.body = nil
	}
	if cap(req.out) > keptBytes {
		req.out = nil
	}
	req.body, req.out = req.body[:0], req.out[:0]
	req.array, req.told, req.wait, req.waiting, req.held = false, 0, 0, false, 0
}

// settled tells that the outcome is known.
func (it *item) settled() bool { return it.view.Status != "" || it.untold != nil }
