package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

var errStill = errors.New("this process stood still")

// beat runs in a goroutine of its own, which waits for nothing but the list: starting and stopping workers
// may take longer than a member lives without being seen.
func (r *Runner) beat() {
	defer close(r.beaten)
	var (
		timer  = time.NewTimer(0)
		lapses = time.Now().Add(Lapse) // counted from when a renewal was sent: the others count from later
		last   = errStill
	)
	defer timer.Stop()
	for {
		select {
		case <-r.life.Done():
			return
		case <-r.asked:
		case <-timer.C:
		}
		if !time.Now().Before(lapses) {
			r.lost(last)
		}
		sent := time.Now()
		members, err := r.renew(lapses.Sub(sent))
		switch {
		case r.life.Err() != nil:
			return
		case err == nil && time.Since(sent) < Lapse:
			lapses, last = sent.Add(Lapse), errStill
			r.learn(members)
		case err == nil: // this process froze, and the answer is about those who lived then
		default:
			last = err
			r.cfg.Log.Warn("this worker could not say that it lives; trying again", "err", err)
		}
		next := sent.Add(r.cfg.Every)
		if time.Now().Before(lapses) && lapses.Before(next) {
			next = lapses
		}
		timer.Reset(time.Until(next))
	}
}

// patience is how long the list may take to answer. After that another connection may be quicker.
func (r *Runner) patience() time.Duration { return 2 * r.cfg.Every }

// renew asks once, not beyond the moment at which this member lapses, as that must not go unnoticed.
func (r *Runner) renew(left time.Duration) ([]Member, error) {
	r.mu.Lock()
	r.begun++
	r.mu.Unlock()
	bound := r.patience()
	if left > 0 {
		bound = min(bound, left)
	}
	ctx, cancel := context.WithTimeout(r.life, bound)
	defer cancel()
	return r.cfg.Members.Renew(ctx, r.self)
}

// learn takes note of a list that was heard.
func (r *Runner) learn(members []Member) {
	lanes := Share(r.cfg.Lanes, members, r.self.ID)
	r.mu.Lock()
	changed := !slices.Equal(lanes, r.view.lanes)
	r.see(view{number: r.begun, lanes: lanes})
	r.mu.Unlock()
	if changed {
		r.cfg.Log.Info("lanes were shared out", "lanes", lanes, "workers", len(members))
	}
}

// lost takes note that this member has lapsed: the others share its lanes out among them.
func (r *Runner) lost(err error) {
	r.mu.Lock()
	had := r.view.lanes
	r.see(view{number: r.begun, err: fmt.Errorf("group: not seen among the workers for %s: %w", Lapse, err)})
	r.mu.Unlock()
	if len(had) > 0 {
		r.cfg.Log.Error("this worker gives its lanes up: it could not say that it lives", "lanes", had, "for", Lapse, "err", err)
	}
}

// see has a view followed. A worker on its way to lanes that are no longer its own is called back.
func (r *Runner) see(v view) {
	r.view = v
	if b := r.begins; b != nil && !slices.Equal(b.lanes, v.lanes) {
		b.stop()
	}
	signal(r.news)
}

// fenced takes note that a worker leaves its lanes alone. The list is asked for at once, but a worker that
// has just begun waits for its time, so that this goes on no faster than that whatever the cause is.
func (r *Runner) fenced(h *hold) {
	r.mu.Lock()
	h.fenced, r.barred = true, r.begun
	prompt := time.Since(h.since) >= r.cfg.Every
	r.mu.Unlock()
	signal(r.news)
	if prompt {
		signal(r.asked)
	}
}
