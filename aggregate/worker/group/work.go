package group

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// work runs in a goroutine of its own: it follows what is heard, one worker after another.
func (r *Runner) work() {
	defer close(r.worked)
	for {
		select {
		case <-r.life.Done():
			return
		case <-r.news:
		}
		r.mu.Lock()
		v, h, barred := r.view, r.hold, r.barred
		over := h != nil && (h.fenced || !slices.Equal(h.lanes, v.lanes))
		r.mu.Unlock()
		if over {
			r.end(h) // also when it is not known yet what follows: it gives back what others can work at
			h = nil
		}
		if h == nil && len(v.lanes) > 0 && (v.number <= barred || !r.begin(v.lanes)) {
			continue // until the next renewal
		}
		if v.err == nil {
			r.first.Do(func() { close(r.settled) })
		}
	}
}

// end stops a worker. What it does not let go of it cannot commit: its lanes are acquired by the next one.
func (r *Runner) end(h *hold) {
	r.mu.Lock()
	r.hold, r.failed = nil, nil
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), r.cfg.Handover)
	defer cancel()
	if err := h.worker.Shutdown(ctx); err != nil {
		r.cfg.Log.Warn("a worker was left behind without its lanes", "lanes", h.lanes, "err", err)
	}
}

// begin starts a worker on the lanes, and reports whether there is one.
func (r *Runner) begin(lanes []int) bool {
	ctx, stop := context.WithCancel(r.life)
	defer stop()
	r.mu.Lock()
	if !slices.Equal(lanes, r.view.lanes) || ctx.Err() != nil {
		r.mu.Unlock()
		return false
	}
	r.begins = &begins{lanes, stop}
	r.mu.Unlock()

	h := &hold{lanes: lanes, since: time.Now()}
	err := r.run(ctx, h)

	r.mu.Lock()
	defer r.mu.Unlock()
	r.begins = nil
	if err != nil {
		r.failed = fmt.Errorf("group: take lanes %v: %w", lanes, err)
		if ctx.Err() == nil {
			r.cfg.Log.Warn("a worker could not take its lanes; trying again", "lanes", lanes, "err", err)
		}
		return false
	}
	r.hold, r.failed = h, nil
	return true
}

func (r *Runner) run(ctx context.Context, h *hold) error {
	var err error
	if h.worker, err = r.cfg.Make(slices.Clone(h.lanes), func() { r.fenced(h) }); err != nil {
		return err
	}
	return h.worker.Start(ctx)
}
