package worker

import (
	"context"
	"errors"
	"slices"

	"github.com/ticketed/doorman/commands"
)

// ErrNotParked is returned for a command that does not wait, on this worker's lanes at least.
var ErrNotParked = errors.New("the command is not parked here")

// order is an operator's word that a parked command is to be rejected.
type order struct {
	id     commands.ID
	detail string
	done   chan error      // gets one value at most: nil once it is committed
	over   <-chan struct{} // closed when nobody waits for it any more
}

// mostOrders is how many orders a desk has in hand; who gives more waits.
const mostOrders = 256

// RejectParked rejects a parked command, and with it everything that waits on it; detail says who did it
// and why, and is told to its sender. It returns once that is committed, or [ErrNotParked]. When the
// context ends first it may still happen.
func (w *Worker) RejectParked(ctx context.Context, id commands.ID, detail string) error {
	o := &order{id: id, detail: detail, done: make(chan error, 1), over: ctx.Done()}
	select {
	case w.orders <- o:
	case <-w.stopping:
		return errStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-o.done:
		return err
	case <-w.stopped:
		return errStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wanted is where the next order comes from; nil while there are enough. Those that nobody waits for any more,
// as in an outage, are dropped.
func (d *desk) wanted() <-chan *order {
	d.orders = slices.DeleteFunc(d.orders, func(o *order) bool {
		select {
		case <-o.over:
			return true
		default:
			return false
		}
	})
	if len(d.orders) >= mostOrders {
		return nil
	}
	return d.w.orders
}

// carryOut takes up the orders that have been given. It reports false when the round is full or the
// store did not answer.
func (d *desk) carryOut(s *sitting) bool {
	for len(d.orders) > 0 {
		if s.round.Full() {
			return false
		}
		o := d.orders[0]
		entry := d.parked.entries[o.id]
		if entry == nil {
			o.done <- ErrNotParked
			d.orders = d.orders[1:]
			continue
		}
		h, held := d.cache.get(entry.stream)
		if !held {
			if !d.load([]commands.Stream{entry.stream}) {
				return false
			}
			h, _ = d.cache.get(entry.stream)
		}
		s.touch(h)
		// What had been released before it goes first, which runs code of the type. Should that not end, the
		// desk that takes over finds the order where it was.
		rejected := s.round.RejectParked(h.Instance, o.id, o.detail)
		d.orders = d.orders[1:]
		if !rejected {
			o.done <- ErrNotParked // it has been released, and is next in line
			continue
		}
		s.orders = append(s.orders, o)
		if h.Pending() {
			d.resume = append(d.resume, h)
		}
	}
	return true
}
