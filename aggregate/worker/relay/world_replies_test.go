package relay_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/commands"
)

// requester is a queue of somebody who wants to be told.
type requester struct {
	world  *world
	got    []bus.Notice
	full   bool // refuses
	silent bool // the broker says nothing
	tries  int
}

// requester makes a queue of that name.
func (w *world) requester(name string) *requester {
	w.mu.Lock()
	defer w.mu.Unlock()
	q := &requester{world: w}
	w.requesters[name] = q
	return q
}

// change changes something while nobody looks.
func (w *world) change(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// Deliver is relay.Publisher's.
func (l *line) Deliver(ctx context.Context, notices []bus.Notice, within time.Duration) ([]bus.Receipt, error) {
	if err := l.await(ctx); err != nil {
		return nil, err
	}
	receipts := make([]bus.Receipt, len(notices))
	silent := false
	for i, n := range notices {
		l.world.mu.Lock()
		q := l.requesters[n.RoutingKey]
		switch {
		case l.broken == 0:
			l.world.mu.Unlock()
			return nil, errAway
		case q == nil:
			receipts[i] = bus.Unrouted
		default:
			q.tries++
			switch {
			case q.silent:
				silent = true
			case q.full:
				receipts[i] = bus.Refused
			default:
				receipts[i] = bus.Taken
				q.got = append(q.got, n)
			}
		}
		l.world.mu.Unlock()
	}
	if silent {
		time.Sleep(within)
	}
	return receipts, nil
}

// Asked is relay.Store's.
func (w *world) Asked(_ context.Context, lanes []int, after uint64, limit int) ([]store.Ask, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return nil, errAway
	}
	var page []store.Ask
	for _, ask := range w.asks {
		if ask.N > after && len(page) < limit && slices.Contains(lanes, ask.Stream.Lane(len(w.epochs))) {
			page = append(page, ask)
		}
	}
	return page, nil
}

// Answered is relay.Store's.
func (w *world) Answered(_ context.Context, ns []uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return errAway
	}
	w.asks = slices.DeleteFunc(w.asks, func(ask store.Ask) bool { return slices.Contains(ns, ask.N) })
	return nil
}

// Status is relay.Store's.
func (w *world) Status(_ context.Context, ids []commands.ID) ([]store.CommandStatus, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return nil, errAway
	}
	found := make([]store.CommandStatus, len(ids))
	for i, id := range ids {
		found[i].ID = id
		for _, o := range w.log {
			if o.ID == id {
				found[i].Outcome = o
			}
		}
		if found[i].Outcome == nil && w.parked[id] {
			found[i].Waiting = &aggregate.Waiting{}
		}
	}
	return found, nil
}

// asking is a command that somebody sent from another service.
func asking(o *commands.Outcome, queue, correlation string) *commands.Outcome {
	o.ReplyTo, o.CorrelationID = queue, correlation
	return o
}

// again is what a round comes to in which somebody sends a known command again.
func again(id commands.ID, s commands.Stream, queue, correlation string) aggregate.Answer {
	return aggregate.Answer{Ruling: aggregate.Repeat, ID: id, Stream: s, ReplyTo: queue, CorrelationID: correlation}
}

// round commits what a whole round came to.
func (o *owner) round(result *aggregate.Result) bool {
	w := o.world
	w.mu.Lock()
	for _, c := range o.claims {
		if w.epochs[c.Lane] != c.Epoch {
			w.mu.Unlock()
			return false
		}
	}
	for _, parked := range result.Park {
		w.parked[parked.ID] = true
	}
	for _, a := range result.Answers {
		if a.ReplyTo != "" {
			w.numbers++
			w.asks = append(w.asks, store.Ask{N: w.numbers, Stream: a.Stream, ID: a.ID, ReplyTo: a.ReplyTo,
				CorrelationID: a.CorrelationID, Conflict: a.Ruling == aggregate.Conflict})
		}
	}
	w.mu.Unlock()
	covered, _ := w.commit(o.claims, result.Outcomes...)
	o.relay.Observe(covered, result)
	return true
}

// asksLeft is how many requesters have not been answered, as the store knows.
func (w *world) asksLeft() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.asks)
}

// told lists what came to a queue: what it was called, and what it was about.
func (q *requester) told() []string {
	var all []string
	for _, n := range q.all() {
		all = append(all, fmt.Sprintf("%s %s", n.CorrelationID, kindOf(n)))
	}
	return all
}

// all are the notices that came to a queue.
func (q *requester) all() []bus.Notice {
	q.world.mu.Lock()
	defer q.world.mu.Unlock()
	return slices.Clone(q.got)
}

// tried is how many came, taken or not.
func (q *requester) tried() int {
	q.world.mu.Lock()
	defer q.world.mu.Unlock()
	return q.tries
}

// saved are the checkpoints.
func (w *world) saved() [lanes]uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.relayed
}
