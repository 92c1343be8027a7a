package feed

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// fill reads from the log what was not told here: what lies below a commit that came early, once it has
// waited long enough, and whatever other processes committed.
func (f *Feed) fill(ctx context.Context) {
	defer close(f.filling)
	tick := time.NewTicker(f.config.PollEvery)
	defer tick.Stop()
	patience := time.NewTimer(0)
	<-patience.C
	waiting, stuck := false, uint64(0) // patience is running, for what comes after that position
	failing := false
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-f.gap:
			if !waiting {
				waiting, stuck = true, f.End()
				patience.Reset(f.config.Patience)
			}
			continue
		case <-patience.C:
			// When what was missing has come meanwhile, it is something else that is missing now.
			end, gap := f.standing()
			if waiting = gap && end != stuck; waiting {
				stuck = end
				patience.Reset(f.config.Patience)
				continue
			}
			err = f.catchUp(ctx, 0)
		case <-f.missing:
			if f.lacking() {
				err = f.catchUp(ctx, 0)
			}
		case <-tick.C:
			err = f.look(ctx)
		}
		if err != nil && !failing && ctx.Err() == nil {
			f.config.Log.Warn("cannot follow the log; only this process's commits are told", "err", err)
		}
		failing = err != nil
	}
}

// standing is up to where everything has been handed on, and whether something above that waits.
func (f *Feed) standing() (end uint64, gap bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.end, len(f.early) > 0 || f.let > f.end
}

// lacking tells whether there is something of which nothing further will be told.
func (f *Feed) lacking() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.let > f.end
}

// look finds what other processes committed. A commit of this process is in the log a moment before it is
// told, so what is new there is given that moment.
func (f *Feed) look(ctx context.Context) error {
	before := f.End()
	end, err := f.config.Reader.End(ctx)
	if err != nil {
		return fmt.Errorf("read the end of the log: %w", err)
	}
	if end <= before {
		return nil
	}
	wait := time.NewTimer(f.config.Patience)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
		return nil
	}
	if f.End() > before {
		return nil // it is being told
	}
	return f.catchUp(ctx, end)
}

// catchUp reads the log up to a position, and up to the newest commit that came early, kept or not.
func (f *Feed) catchUp(ctx context.Context, end uint64) error {
	const most = 500
	for {
		f.mu.Lock()
		after, until := f.end, max(end, f.let)
		if len(f.early) > 0 {
			until = max(f.early[0].Covered.First, 1) - 1
		}
		f.mu.Unlock()
		if after >= until {
			return nil
		}
		n := int(min(until-after, most)) //nolint:gosec // most is small
		outcomes, err := f.config.Reader.Log(ctx, after, n)
		if err != nil {
			return fmt.Errorf("read the log after %d: %w", after, err)
		}
		if len(outcomes) == 0 {
			return nil // told of, and not there: it is asked for again when more comes
		}
		f.mu.Lock()
		f.filled.add(outcomes)
		f.hand(&Commit{Covered: store.Range{First: after + 1, Last: after + uint64(len(outcomes))}, Outcomes: outcomes, Doubt: true})
		f.handEarly()
		f.mu.Unlock()
	}
}

// filled remembers the newest outcomes that were read from the log: a commit that is told after them may
// say that one of those commands is parked, which it no longer is.
type filled struct {
	ids  map[commands.ID]bool
	ring []commands.ID
	next int
}

const maxFilled = 1 << 13

func (f *filled) add(outcomes []*commands.Outcome) {
	if f.ids == nil {
		f.ids = map[commands.ID]bool{}
	}
	for _, o := range outcomes {
		if len(f.ring) < maxFilled {
			f.ring = append(f.ring, o.ID)
		} else {
			delete(f.ids, f.ring[f.next])
			f.ring[f.next] = o.ID
			f.next = (f.next + 1) % maxFilled
		}
		f.ids[o.ID] = true
	}
}

func (f *filled) any(lists ...[]*aggregate.Waiting) bool {
	return len(f.ids) > 0 && slices.ContainsFunc(lists, func(list []*aggregate.Waiting) bool {
		return slices.ContainsFunc(list, func(w *aggregate.Waiting) bool { return f.ids[w.ID] })
	})
}

func (f *filled) without(list []*aggregate.Waiting) []*aggregate.Waiting {
	return slices.DeleteFunc(slices.Clone(list), func(w *aggregate.Waiting) bool { return f.ids[w.ID] })
}
