package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

const (
	// page is how many outcomes are read from the log at a time.
	page = 1024
	// storeTime is how long the store may take to answer.
	storeTime = 10 * time.Second
	// goodbyeTime is how long it may when the relay has to end.
	goodbyeTime = time.Second
	// The pauses after something failed.
	minPause, maxPause = 50 * time.Millisecond, 2 * time.Second
)

// schedule is when checkpoints are saved.
type schedule struct {
	due    time.Time
	failed int // in a row
}

// run runs in a goroutine of its own: it publishes one batch after the other.
func (r *Relay) run() {
	defer close(r.ended)
	defer r.saveLast()
	for failed := 0; r.life.Err() == nil; {
		worked, err := r.step()
		switch {
		case r.life.Err() != nil:
			return
		case err != nil:
			if failed == 0 {
				r.cfg.Log.Warn("what was committed cannot be published; trying again", "err", err)
			}
			r.sleep(min(minPause<<min(failed, 6), maxPause))
			failed++
			continue
		case failed > 0 && worked:
			r.cfg.Log.Info("what was committed is published again")
		}
		if worked {
			failed, r.rest = 0, time.Time{}
		}
		r.saveNowAndThen()
		if !worked && !r.await() {
			return
		}
	}
}

// step does what is next, and reports whether there was something.
func (r *Relay) step() (worked bool, err error) {
	r.begin()
	r.mu.Lock()
	switch {
	case r.claims == nil:
		r.mu.Unlock()
		return false, nil
	case r.backlog.unsettled:
		r.mu.Unlock()
		return true, r.settle()
	case r.backlog.reading():
		at := r.backlog.at
		r.mu.Unlock()
		return true, r.read(at)
	}
	batch, to := r.backlog.next(r.cfg.Batch, r.cfg.BatchBytes, r.scratch.batch[:0])
	at := r.backlog.at
	r.mu.Unlock()
	if to == at {
		return false, nil
	}
	r.scratch.batch = batch
	defer clear(batch)
	return true, r.publish(batch, to)
}

// begin takes up lanes that were taken. The relay goes on from their checkpoints, though it may have published more.
func (r *Relay) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.taken) == 0 {
		return
	}
	r.claims, r.taken = r.taken, nil
	at := r.claims[0].Relayed
	r.from = make(map[int]uint64, len(r.claims))
	for _, claim := range r.claims {
		r.from[claim.Lane] = claim.Relayed
		at = min(at, claim.Relayed)
	}
	r.backlog.at, r.saved = at, at
	r.at.Store(at)
}

// settle finds out how far the log goes that nobody tells of here. What was committed with earlier claims is in it.
func (r *Relay) settle() error {
	ctx, cancel := context.WithTimeout(r.life, storeTime)
	defer cancel()
	end, err := r.cfg.Store.End(ctx)
	if err != nil {
		return fmt.Errorf("relay: read the end of the log: %w", err)
	}
	r.known(end)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken == nil { // otherwise it may have grown since
		r.backlog.settle(end)
	}
	return nil
}

// known takes note that there are outcomes up to a position.
func (r *Relay) known(end uint64) {
	for told := r.told.Load(); told < end && !r.told.CompareAndSwap(told, end); told = r.told.Load() {
	}
}

// read publishes one page of the log: what is on the lanes and after their checkpoints.
func (r *Relay) read(at uint64) error {
	ctx, cancel := context.WithTimeout(r.life, storeTime)
	defer cancel()
	outcomes, err := r.cfg.Store.Log(ctx, at, page)
	if err != nil {
		return fmt.Errorf("relay: read the log after %d: %w", at, err)
	}
	if len(outcomes) == 0 {
		return fmt.Errorf("relay: the log ends at %d, and more was told of", at)
	}
	to := outcomes[len(outcomes)-1].Position
	mine := outcomes[:0]
	for _, o := range outcomes {
		if from, held := r.from[o.Stream.Lane(r.identity.Lanes)]; held && o.Position > from {
			mine = append(mine, o)
		}
	}
	return r.publish(mine, to)
}

// publish publishes outcomes and takes note that everything up to a position is published.
func (r *Relay) publish(batch []*commands.Outcome, to uint64) error {
	if err := r.emit(r.life, batch); err != nil {
		return err
	}
	r.at.Store(to)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.backlog.passed(to, func(told time.Time) { r.cfg.Metrics.Took(time.Since(told)) })
	return nil
}

// sleep waits, unless the relay has to end.
func (r *Relay) sleep(pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.life.Done():
	}
}

// await waits until there may be something to do. It reports false when nothing is left and nothing will come.
func (r *Relay) await() bool {
	r.mu.Lock()
	over := r.stopping && r.taken == nil
	r.mu.Unlock()
	if over {
		return false
	}
	now := time.Now()
	if r.rest.IsZero() {
		r.rest = now
	}
	pause := r.rest.Add(r.cfg.IdleAfter).Sub(now)
	if r.at.Load() > r.saved {
		pause = min(pause, r.save.due.Sub(now))
	}
	timer := time.NewTimer(max(pause, 0))
	defer timer.Stop()
	select {
	case <-r.wake:
	case <-timer.C:
		if time.Since(r.rest) >= r.cfg.IdleAfter {
			r.rest = time.Time{}
			r.catchUp()
		}
	case <-r.life.Done():
	}
	return true
}

// catchUp reads on in a log that others have made much longer, so that who takes the lanes over need not.
func (r *Relay) catchUp() {
	if r.claims == nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.life, storeTime)
	defer cancel()
	end, err := r.cfg.Store.End(ctx)
	if err != nil || end < r.at.Load()+uint64(r.cfg.IdleLag) { //nolint:gosec // a setting above 0
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if b := &r.backlog; !b.unsettled && !b.gap && len(b.kept) == 0 {
		b.let = max(b.let, end)
	}
}

// saveNowAndThen saves the checkpoints when they have moved and it is time.
func (r *Relay) saveNowAndThen() {
	if r.at.Load() == r.saved || time.Now().Before(r.save.due) {
		return
	}
	r.saveCheckpoints(r.life, storeTime)
}

// saveLast saves them at the end, though the time to publish is over.
func (r *Relay) saveLast() {
	if r.at.Load() != r.saved {
		r.saveCheckpoints(context.WithoutCancel(r.life), goodbyeTime)
	}
}

func (r *Relay) saveCheckpoints(ctx context.Context, within time.Duration) {
	at := r.at.Load()
	claims := make([]store.Claim, len(r.claims))
	for i, claim := range r.claims {
		claims[i] = store.Claim{Lane: claim.Lane, Epoch: claim.Epoch, Relayed: max(at, claim.Relayed)}
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := r.cfg.Store.SaveRelayed(ctx, claims)
	pause := r.cfg.SaveEvery
	switch {
	case err == nil, errors.Is(err, store.ErrFenced): // of a lane that was taken over the new owner keeps it
		r.saved, r.save.failed = at, 0
	default:
		if r.save.failed == 0 && ctx.Err() == nil {
			r.cfg.Log.Warn("how far outcomes are published cannot be saved; trying again", "position", at, "err", err)
		}
		pause = max(pause, min(minPause<<min(r.save.failed, 6), maxPause))
		r.save.failed++
	}
	r.save.due = time.Now().Add(pause)
}
