package notify

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// lookupBatch is how many commands are read at once, the most that one GET asks for too.
const lookupBatch = 256

// heard is how far the log has been told of or looked at.
type heard struct {
	mu  sync.Mutex
	end uint64
	gap bool // positions below end were passed over
}

func (h *heard) of(covered store.Range) {
	h.mu.Lock()
	if covered.First > h.end+1 {
		h.gap = true
	}
	h.end = max(h.end, covered.Last)
	h.mu.Unlock()
}

// missed tells whether there is something up to end that was not heard of, and takes it as heard.
func (h *heard) missed(end uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	missed := h.gap || end > h.end
	h.gap, h.end = false, max(h.end, end)
	return missed
}

// poll looks once per interval for what was not told here.
func (w *Waiters) poll(ctx context.Context) {
	defer close(w.polling)
	tick := time.NewTicker(w.config.PollEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := w.look(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			w.config.Log.Warn("cannot look for outcomes; who waits is told by this process's commits only", "err", err)
		}
		failing = err != nil
	}
}

// look reads the end of the log first and only then collects who waits: so whoever registered before an
// outcome was committed is either collected now or sees the log move the next time.
func (w *Waiters) look(ctx context.Context) error {
	if w.waiting.Load() == 0 && w.streams.waiting.Load() == 0 {
		return nil
	}
	end, err := w.config.Reader.End(ctx)
	if err != nil {
		return fmt.Errorf("read the end of the log: %w", err)
	}
	missed := w.heard.missed(end)
	if missed {
		w.streams.wakeAll()
	}
	ids := w.due(missed)
	for len(ids) > 0 {
		n := min(len(ids), lookupBatch)
		if err := w.lookup(ctx, ids[:n]); err != nil {
			w.heard.forget()
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// forget makes the next look read everything again.
func (h *heard) forget() {
	h.mu.Lock()
	h.gap = true
	h.mu.Unlock()
}

// due lists the commands to look for: of all who wait when something was missed, else of those who have
// not been looked for yet. What they wait for may be older than their waiting.
func (w *Waiters) due(all bool) []commands.ID {
	var ids []commands.ID
	for i := range w.shards {
		s := &w.shards[i]
		s.Lock()
		for id, first := range s.byID {
			wanted := false
			for x := first; x != nil; x = x.next {
				if x.blocked && (all || !x.polled) {
					if !x.watched { // it is read after this: nothing falls between
						x.watched = true
						w.config.Interest.WatchCommand(id)
					}
					wanted, x.polled = true, true
				}
			}
			if wanted {
				ids = append(ids, id)
			}
		}
		s.Unlock()
	}
	return ids
}

// lookup reads where commands stand and tells those who wait for them.
func (w *Waiters) lookup(ctx context.Context, ids []commands.ID) error {
	known, err := w.config.Reader.Status(ctx, ids)
	if err != nil {
		return fmt.Errorf("look for outcomes: %w", err)
	}
	for i := range known {
		switch k := &known[i]; {
		case k.Outcome != nil:
			w.settle(k.ID, k.Outcome, k.Outcome.Hash)
		case k.Waiting != nil:
			w.settle(k.ID, nil, k.Waiting.Hash)
		}
	}
	return nil
}
