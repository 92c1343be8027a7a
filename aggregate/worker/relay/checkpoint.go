package relay

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
)

// checkpoint saves, some times a second while it moves, how far everything is done.
type checkpoint struct {
	cfg *Config
	// reached tells how far that is, of the lanes of which turn; of turn 0 while nothing can be said.
	reached func() (at, turn uint64)
	wake    chan struct{}

	mu      sync.Mutex
	holding holding

	// What follows belongs to the goroutine that saves.
	turn   uint64
	saved  uint64
	due    time.Time
	failed int // in a row
}

func (c *checkpoint) acquired(taken holding) {
	c.mu.Lock()
	c.holding = taken
	c.mu.Unlock()
}

// moved tells the claims and the position to be saved, when that has moved.
func (c *checkpoint) moved() (claims []store.Claim, at uint64, some bool) {
	at, turn := c.reached()
	c.mu.Lock()
	defer c.mu.Unlock()
	if turn == 0 || turn != c.holding.turn {
		return nil, 0, false
	}
	if c.turn != turn {
		c.turn, c.saved = turn, c.holding.least()
	}
	return c.holding.claims, at, at > c.saved
}

// run saves until the context is over, and then a last time.
func (c *checkpoint) run(ctx context.Context) {
	for ctx.Err() == nil {
		claims, at, some := c.moved()
		pause := time.Until(c.due)
		if some && pause <= 0 {
			c.save(ctx, claims, at, storeTime)
			continue
		}
		if !some {
			pause = time.Hour // until it is woken
		}
		timer := time.NewTimer(pause)
		select {
		case <-c.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	if claims, at, some := c.moved(); some {
		c.save(context.WithoutCancel(ctx), claims, at, goodbyeTime)
	}
}

func (c *checkpoint) save(ctx context.Context, held []store.Claim, at uint64, within time.Duration) {
	claims := make([]store.Claim, len(held))
	for i, claim := range held {
		claims[i] = store.Claim{Lane: claim.Lane, Epoch: claim.Epoch, Relayed: max(at, claim.Relayed)}
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := c.cfg.Store.SaveRelayed(ctx, claims)
	pause := c.cfg.SaveEvery
	switch {
	case err == nil, errors.Is(err, store.ErrFenced): // of a lane that was taken over the new owner keeps it
		c.saved, c.failed = at, 0
	default:
		if c.failed == 0 && ctx.Err() == nil {
			c.cfg.Log.Warn("how far outcomes are published cannot be saved; trying again", "position", at, "err", err)
		}
		pause = max(pause, min(minPause<<min(c.failed, 6), maxPause))
		c.failed++
	}
	c.due = time.Now().Add(pause)
}
