package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
)

// launch closes the open sitting and commits it in the background. Its result comes through w.commits.
func (d *desk) launch() {
	s := d.open
	d.open = nil
	started := time.Now()
	s.round.Finish()
	for _, h := range s.touched {
		d.cache.weigh(h)
	}
	batch := s.batch(d.lanes)
	s.judging += time.Since(started)
	d.inflight, s.launched = s, time.Now()
	d.w.committing <- work{sitting: s, batch: batch}
}

// work is a closed sitting on its way to the store.
type work struct {
	sitting *sitting
	batch   *store.Batch
}

// committed is what became of it.
type committed struct {
	sitting *sitting
	err     error
}

// commit runs in a goroutine of its own: one commit after another, then the telling, in order.
func (w *Worker) commit() {
	last := uint64(0) // the newest position that was committed here
	for job := range w.committing {
		var (
			covered = store.Range{First: last + 1, Last: last}
			err     error
			started = time.Now()
		)
		if job.batch != nil {
			ctx, cancel := context.WithTimeout(w.writing.ctx, w.cfg.CommitTime)
			covered, err = w.cfg.Store.Commit(ctx, job.batch)
			cancel()
		}
		took := time.Since(started)
		if err == nil {
			last = covered.Last
			w.telling <- told{sitting: job.sitting, covered: covered, took: took}
		}
		w.commits <- committed{sitting: job.sitting, err: err}
	}
	close(w.telling)
}

// told is a committed sitting of which observers and the bus are to hear.
type told struct {
	sitting *sitting
	covered store.Range
	took    time.Duration
}

// tell runs in a goroutine of its own: it tells observers what was committed, in order, and then
// acknowledges the frames.
func (w *Worker) tell() {
	for t := range w.telling {
		result := &t.sitting.round.Result
		for _, observe := range w.cfg.Observe {
			observe(t.covered, result)
		}
		for _, frame := range t.sitting.frames {
			frame.message.Ack()
		}
		w.cfg.Metrics.Committed(CommitStats{Commands: len(t.sitting.items), Judging: t.sitting.judging, Commit: t.took, Result: result})
	}
	close(w.silent)
}

// settle takes note of a commit's end.
func (d *desk) settle(c committed) {
	d.inflight = nil
	if c.err != nil {
		d.recover(c.sitting, c.err)
		return
	}
	d.done = c.sitting.number
	d.failed = 0
	d.blame.settled(&c.sitting.round.Result, d.parked.waits)
	d.blame.buried(c.sitting.poisoned)
	if d.caution.left > 0 {
		if d.caution.left -= len(c.sitting.items); len(d.backlog) == 0 {
			d.caution.left = 0 // it was about what was released or left over
		}
		switch {
		case d.caution.left > 0:
		case len(d.resume) == 0:
			d.caution = caution{}
		default: // what a single command released is still being looked at, one by one
			d.caution.left = 1
		}
	}
	d.cache.trim(d.done)
}

// recover undoes a sitting that was not committed, and the open one that was judged on top of it, and
// decides how their commands are judged again. See the package comment.
func (d *desk) recover(s *sitting, err error) {
	if open := d.open; open != nil {
		d.open = nil
		d.takeBack(open)
	}
	d.takeBack(s)
	for _, l := range d.lanes {
		l.saved = 0                      // what was handed over was not saved
		l.due, l.expiring = false, false // there is something to be judged first
	}
	again := caution{left: len(s.items), size: len(s.items), facts: true}
	switch {
	case errors.Is(err, store.ErrIDKnown):
		d.w.cfg.Metrics.CommitFailed("id_known")
		d.caution = again
		if d.failed++; d.failed > 3 {
			d.lost("commit", err)
		}
	case errors.Is(err, store.ErrFenced):
		d.w.cfg.Metrics.CommitFailed("fenced")
		d.caution = again
		d.held = true
		d.lost("commit", err)
	case errors.Is(err, store.ErrFateUnknown), errors.Is(err, context.DeadlineExceeded):
		d.w.cfg.Metrics.CommitFailed("fate_unknown")
		d.caution = again
		d.lost("commit", err)
	case errors.Is(err, store.ErrUnavailable):
		d.w.cfg.Metrics.CommitFailed("unavailable")
		d.lost("commit", err)
	default:
		d.w.cfg.Metrics.CommitFailed("batch")
		d.split(s, err)
	}
}

// split narrows down which command a batch fails for: half as many at a time, then one verdict at a
// time, and that one ends as failed.
func (d *desk) split(s *sitting, err error) {
	n := len(s.items)
	d.caution.facts = true
	d.caution.left = max(n, d.caution.left, 1)
	d.caution.size = max(n/2, 1)
	d.caution.single = n <= 1
	if n > 1 || s.round.Limits.Round > 1 {
		return
	}
	culprit, found := s.culprit()
	if !found {
		d.lost("record a failure", err)
		return
	}
	d.w.cfg.Log.Error("a command could not be committed; it ends as failed, or as a dead letter if it is an order",
		"command_id", culprit.id, "err", err)
	d.blame.notStored(culprit, "what it came to could not be committed: "+err.Error())
}

// takeBack undoes a sitting: its commands go back to the front of the backlog, and what they changed in
// memory is dropped. The newer of two sittings is taken back first.
func (d *desk) takeBack(s *sitting) {
	d.parked.undo(s.journal)
	for _, h := range s.touched {
		d.cache.drop(h)
	}
	for _, o := range s.round.Result.Outcomes {
		d.facts.forget(o.ID)
	}
	for _, w := range s.round.Result.Park {
		d.facts.forget(w.ID)
	}
	// Streams on which something waited before this sitting are looked at again even if nothing arrives:
	// what it had released is still parked in the store.
	for _, before := range s.journal {
		if before.entry != nil {
			d.again = append(d.again, before.entry.stream)
		}
	}
	d.resume = slices.DeleteFunc(d.resume, func(h *held) bool {
		if h.sitting == s.number {
			d.again = append(d.again, h.Stream)
		}
		return h.sitting == s.number
	})
	for _, frame := range s.frames {
		d.lanes[frame.lane].unread++
	}
	for _, it := range s.items {
		it.from.left++
	}
	d.backlog = append(slices.Clip(s.items), d.backlog...)
}

// lost gives everything in memory up; it is built anew once the store answers, or by another worker.
func (d *desk) lost(what string, err error) {
	d.stale = true
	if d.retired() {
		d.w.standing(fmt.Errorf("%s: %w", what, err))
		d.w.cfg.Log.Info("this worker leaves its lanes to be handed out anew", "operation", what, "err", err)
		return
	}
	d.backOff(what, err)
}

// read asks the store, for as long as a commit may take and the worker is not stopped. A reading that hangs
// is no time in which the lanes are worked.
func (d *desk) read(ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(d.w.reading.ctx, d.w.cfg.CommitTime)
	defer cancel()
	started := time.Now()
	err := ask(ctx)
	if took := time.Since(started); took > d.w.cfg.Tick {
		d.ticked = d.ticked.Add(took)
	}
	return err
}

// backOff sets the retry timer: 50 ms at first, doubling up to 2 s.
func (d *desk) backOff(what string, err error) {
	pause := min(50*time.Millisecond<<min(d.failed, 6), 2*time.Second)
	d.failed++
	d.pausing = true
	d.w.standing(fmt.Errorf("%s: %w", what, err))
	d.w.cfg.Log.Warn("the store did not take it; trying again", "operation", what, "err", err, "pause", pause)
	d.retry.Reset(pause)
}
