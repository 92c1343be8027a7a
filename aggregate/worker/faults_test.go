package worker_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// reading is what the clock of a lane showed when; it is never faster than that of the wall.
type reading struct {
	worked time.Duration
	at     time.Time
}

func (w *world) readClocks(claims []store.Claim) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, claim := range claims {
		w.clocks[claim.Lane] = reading{claim.Worked, time.Now()}
	}
}

// Commit misbehaves now and then.
func (l *life) Commit(ctx context.Context, b *store.Batch) (store.Range, error) {
	l.world.notEndless()
	if !l.dead.Load() {
		l.world.readClocks(b.Claims)
	}
	if err := l.refuses(b); err != nil {
		return store.Range{}, err
	}
	switch fault := l.world.fault(); fault {
	case "unavailable":
		return store.Range{}, store.ErrUnavailable
	case "fate unknown, lost":
		return store.Range{}, store.ErrFateUnknown
	case "fate unknown, applied":
		if _, err := l.world.keep(l, b); err != nil {
			return store.Range{}, err
		}
		return store.Range{}, store.ErrFateUnknown
	case "fenced":
		_, _ = l.memory.Acquire(ctx, []int{b.Claims[0].Lane}, "another")
	case "id taken elsewhere":
		l.world.steal(b)
	case "slow commit":
		time.Sleep(500 * time.Millisecond)
	case "hanging commit":
		<-ctx.Done()
		return store.Range{}, fmt.Errorf("%w: %w", store.ErrFateUnknown, ctx.Err())
	}
	return l.world.keep(l, b)
}

// notEndless finds a worker that tries again and again without a pause.
func (w *world) notEndless() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); !now.Equal(w.moment) {
		w.moment, w.busy = now, 0
	}
	if w.busy++; w.busy > 5000 {
		w.t.Errorf("5,000 commits at one moment")
		w.busy = 0
		time.Sleep(time.Second)
	}
}

// refuses are batches that cannot be stored for one command.
func (l *life) refuses(b *store.Batch) error {
	for _, o := range b.Outcomes {
		if o.Type == "poison" && o.Landed() {
			l.world.saw("poison")
			return errors.New("this row cannot be stored")
		}
		if strings.Contains(o.Detail, unstorable) {
			l.world.saw("unstorable order")
			return errors.New("this text cannot be stored")
		}
	}
	for _, letter := range b.Dead {
		if letter.Reason == commands.Malformed {
			l.world.saw("poisoned order")
		}
	}
	for _, p := range b.Park {
		if p.Type == "unparkable" {
			l.world.saw("poison parked")
			return errors.New("this row cannot be parked")
		}
	}
	return nil
}

func (w *world) fault() string {
	w.mu.Lock()
	n := w.chaos.IntN(100)
	calm := w.calm
	w.mu.Unlock()
	faults := []string{"unavailable", "fate unknown, lost", "fate unknown, applied", "fenced", "id taken elsewhere", "slow commit", "hanging commit"}
	if calm || n >= 2*len(faults) {
		return ""
	}
	w.saw(faults[n/2])
	return faults[n/2]
}

// keep commits, unless the worker is dead, and holds what expires against its deadline.
func (w *world) keep(l *life, b *store.Batch) (store.Range, error) {
	if l.dead.Load() {
		return store.Range{}, store.ErrUnavailable
	}
	deadlines := w.store.deadlines()
	covered, err := w.store.commit(b)
	if err != nil {
		return covered, err
	}
	for _, p := range b.Park {
		w.note("%s parked until %s", short(p.ID), p.Deadline)
	}
	for _, o := range b.Outcomes {
		w.note("%s at version %d:", short(o.ID), o.Version)
		w.saw(cmp.Or(string(o.Reason), "landed"))
		if o.Reason != commands.PredecessorMissing {
			continue
		}
		lane := o.Stream.Lane(w.store.lanes)
		at := slices.IndexFunc(b.Claims, func(c store.Claim) bool { return c.Lane == lane })
		w.expired(o, b.Claims[at].Worked, deadlines[o.ID], lane)
	}
	return covered, nil
}

// expired is promise 5. While the store misbehaves there is always something that was queued before and
// must be judged first, so only what is due later is known to be in time.
func (w *world) expired(o *commands.Outcome, worked, deadline time.Duration, lane int) {
	if worked < deadline {
		w.t.Errorf("promise 4: %s expired at %s of its lane's working time, its deadline was %s", short(o.ID), worked, deadline)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calm && worked > max(deadline, w.calmAt[lane])+2*time.Second {
		w.t.Errorf("promise 5: %s expired at %s of its lane's working time, its deadline was %s", short(o.ID), worked, deadline)
	}
}

// steal has another worker use an id of the batch first, on a stream that is not ours.
func (w *world) steal(b *store.Batch) {
	var fresh []commands.ID
	for _, o := range b.Outcomes {
		if !slices.Contains(b.Unpark, o.ID) {
			fresh = append(fresh, o.ID)
		}
	}
	for _, p := range b.Park {
		fresh = append(fresh, p.ID)
	}
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	for _, id := range fresh {
		if w.store.known[id].Standing == aggregate.Unheard {
			w.store.known[id] = aggregate.Fact{Standing: aggregate.Landed, Stream: commands.Stream{Type: "tally", ID: "elsewhere"}, Version: 1}
			w.mu.Lock()
			w.stolen[id] = true
			w.mu.Unlock()
			return
		}
	}
}

// readingFails is asked before each reading.
func (l *life) readingFails(ctx context.Context) error {
	if l.dead.Load() {
		return store.ErrUnavailable
	}
	w := l.world
	w.mu.Lock()
	n := w.chaos.IntN(100)
	calm := w.calm
	w.mu.Unlock()
	switch {
	case calm:
	case n < 4:
		w.saw("reading failed")
		return store.ErrUnavailable
	case n < 6:
		w.saw("slow reading")
		select {
		case <-ctx.Done():
			return store.ErrUnavailable
		case <-time.After(time.Duration(n) * 400 * time.Millisecond):
		}
	}
	return nil
}

func (l *life) Acquire(ctx context.Context, lanes []int, owner string) ([]store.Claim, error) {
	if err := l.readingFails(ctx); err != nil {
		return nil, err
	}
	return l.memory.Acquire(ctx, lanes, owner)
}

func (l *life) Backlog(ctx context.Context, lanes []int) ([]store.Parked, error) {
	if err := l.readingFails(ctx); err != nil {
		return nil, err
	}
	return l.memory.Backlog(ctx, lanes)
}

func (l *life) Load(ctx context.Context, streams []commands.Stream) ([]*store.Record, error) {
	if err := l.readingFails(ctx); err != nil {
		return nil, err
	}
	return l.memory.Load(ctx, streams)
}

func (l *life) Lookup(ctx context.Context, ids []commands.ID) ([]aggregate.Fact, error) {
	if err := l.readingFails(ctx); err != nil {
		return nil, err
	}
	return l.memory.Lookup(ctx, ids)
}
