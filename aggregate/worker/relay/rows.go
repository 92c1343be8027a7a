package relay

import (
	"context"
	"fmt"
	"slices"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

const (
	// rowsPage is how many rows are read at a time, and how many are deleted.
	rowsPage = 512
	// mostWaiting is how many requesters may wait for one parked command, besides the one who sent it first.
	mostWaiting = 64
)

// rows is how far the rows of those who asked were read.
type rows struct {
	some  bool          // there may be some that were not
	after uint64        // the one read last
	doubt []commands.ID // asked for by those read last: whether they are parked is not known
}

func (r *rows) left() bool { return r.some || len(r.doubt) > 0 }

// waiting are those who asked, by the commands that they wait for, in the order in which they did.
type waiting struct {
	asks map[commands.ID][]store.Ask
	all  int
}

func (w *waiting) on(id commands.ID) bool { return len(w.asks[id]) > 0 }

func (w *waiting) add(ask store.Ask) {
	if w.asks == nil {
		w.asks = map[commands.ID][]store.Ask{}
	}
	w.asks[ask.ID] = append(w.asks[ask.ID], ask)
	w.all++
}

func (w *waiting) take(id commands.ID) []store.Ask {
	asks := w.asks[id]
	delete(w.asks, id)
	w.all -= len(asks)
	return asks
}

// trim takes those who asked last, so that no more wait for a command than may, nor for all of them.
func (w *waiting) trim(id commands.ID, most int) []store.Ask {
	asks := w.asks[id]
	keep := max(min(len(asks), mostWaiting, len(asks)-(w.all-most)), 0)
	extra := asks[keep:]
	w.all -= len(extra)
	if keep == 0 {
		delete(w.asks, id)
	} else {
		w.asks[id] = asks[:keep:keep]
	}
	return extra
}

// readRows reads some of the rows, or finds out about those that were read, and reports whether there was something
// to do.
//
// Those who ask are waiting from before it is asked whether their command has come to its end: if it had not then,
// its outcome passes by here, and finds them.
func (r *replies) readRows(ctx context.Context) (bool, error) {
	r.mu.Lock()
	if r.turn == 0 || !r.rows.left() || len(r.queue) >= r.cfg.KeepReplies {
		r.mu.Unlock()
		return false, nil
	}
	turn, from, lanes := r.turn, r.rows, slices.Clone(r.lanes)
	if len(from.doubt) > 0 {
		r.mu.Unlock()
		return true, r.lookUp(ctx, turn, from.doubt)
	}
	r.rows.some = false // unless somebody asks from now on
	r.mu.Unlock()
	page, err := r.cfg.Store.Asked(ctx, lanes, from.after, rowsPage)
	r.mu.Lock()
	defer r.unlock()
	if r.turn != turn {
		return true, nil
	}
	if err != nil {
		r.rows.some = true
		return true, fmt.Errorf("relay: read who asked: %w", err)
	}
	for _, ask := range page {
		r.rows.after = ask.N
		if ask.Conflict {
			r.put(toAsk(ask, nil, commands.IDConflict))
			continue
		}
		if !slices.Contains(r.rows.doubt, ask.ID) {
			r.rows.doubt = append(r.rows.doubt, ask.ID)
		}
		r.waiting.add(ask)
	}
	r.rows.some = r.rows.some || len(page) == rowsPage
	return true, nil
}

// lookUp finds out which commands have come to their end.
func (r *replies) lookUp(ctx context.Context, turn uint64, ids []commands.ID) error {
	found, err := r.cfg.Store.Status(ctx, ids)
	if err != nil {
		return fmt.Errorf("relay: read where commands stand: %w", err)
	}
	r.mu.Lock()
	defer r.unlock()
	if r.turn != turn {
		return nil
	}
	r.rows.doubt = nil
	for i := range found {
		switch status := &found[i]; {
		case status.Outcome != nil:
			for _, ask := range r.waiting.take(status.ID) {
				r.put(toAsk(ask, status.Outcome, ""))
			}
		case status.Waiting != nil:
			for _, ask := range r.waiting.trim(status.ID, r.cfg.KeepWaiting) {
				r.put(toAsk(ask, nil, commands.RateLimited))
			}
		default: // a row is written with a command that is known, and what is known stays known
			for _, ask := range r.waiting.take(status.ID) {
				r.cfg.Log.Error("somebody asked for a command of which nothing is known", "command_id", ask.ID)
				r.done(toAsk(ask, nil, commands.Internal), false)
			}
		}
	}
	return nil
}

// forgetAnswered deletes the rows of those who were answered.
func (r *replies) forgetAnswered(ctx context.Context) error {
	for {
		r.mu.Lock()
		some := r.answers[:min(len(r.answers), rowsPage)]
		r.mu.Unlock()
		if len(some) == 0 {
			return nil
		}
		if err := r.cfg.Store.Answered(ctx, some); err != nil {
			return fmt.Errorf("relay: forget who was answered: %w", err)
		}
		r.mu.Lock()
		if r.answers = r.answers[len(some):]; len(r.answers) == 0 {
			r.answers = nil
		}
		r.mu.Unlock()
	}
}
