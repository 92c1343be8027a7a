package group_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/worker/group"
)

const floorLanes = 16

var errAway = errors.New("the database is away")

// floor is where workers of several processes hold lanes, as the store's epochs let them: whoever took a
// lane last has it, and the one before learns of it at its next commit.
type floor struct {
	t    *testing.T
	list group.Memory
	away atomic.Bool // for everybody

	mu     sync.Mutex
	owner  [floorLanes]*fake
	taken  int                // how often lanes were taken, in all
	people map[string]*person // that live, by name
}

// person is one process on the floor.
type person struct {
	floor  *floor
	name   string
	runner *group.Runner
	cut    atomic.Bool // from the list
	mu     sync.Mutex
	frozen chan struct{} // closed when it thaws; nil when it does not freeze
	views  func([]group.Member) []group.Member
	broken error // why its workers cannot be started
	slow   bool  // its workers wait for their lanes until they are called back
	stay   bool  // its workers do not end in time
}

// fake is a worker: it commits on each of its lanes every 50 ms.
type fake struct {
	person *person
	lanes  []int
	fenced func()
	cancel context.CancelFunc
	ended  chan struct{}
	idle   atomic.Bool // it was fenced
}

func newFloor(t *testing.T) *floor { return &floor{t: t, people: map[string]*person{}} }

func (f *floor) person(name string) *person {
	p := &person{floor: f, name: name}
	var err error
	p.runner, err = group.New(group.Config{Members: p, Name: name, Lanes: floorLanes, Make: p.make,
		Log: slog.New(slog.NewTextHandler(f.t.Output(), nil)).With("who", name)})
	require.NoError(f.t, err)
	return p
}

// join starts a process; the end of the test stops it.
func (f *floor) join(name string) *person {
	p := f.person(name)
	require.NoError(f.t, p.runner.Start(f.t.Context()))
	f.mu.Lock()
	f.people[name] = p
	f.mu.Unlock()
	f.t.Cleanup(func() {
		p.thaw()
		_ = p.runner.Stop()
	})
	return p
}

// gone takes a process off those that are expected to hold lanes.
func (f *floor) gone(p *person) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.people, p.name)
}

// freeze stops everything that the process does, until thaw.
func (p *person) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = make(chan struct{})
	p.floor.gone(p)
}

func (p *person) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen != nil {
		close(p.frozen)
		p.frozen = nil
	}
}

func (p *person) waitFrozen() {
	p.mu.Lock()
	frozen := p.frozen
	p.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

func (p *person) Renew(ctx context.Context, self group.Member) ([]group.Member, error) {
	p.waitFrozen()
	if p.cut.Load() || p.floor.away.Load() {
		return nil, errAway
	}
	members, err := p.floor.list.Renew(context.WithoutCancel(ctx), self)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.views != nil {
		members = p.views(members)
	}
	return members, err
}

func (p *person) Leave(ctx context.Context, id string) error {
	if p.cut.Load() || p.floor.away.Load() {
		return errAway
	}
	return p.floor.list.Leave(ctx, id)
}

func (p *person) make(lanes []int, fenced func()) (group.Worker, error) {
	return &fake{person: p, lanes: lanes, fenced: fenced, ended: make(chan struct{})}, nil
}

func (w *fake) Start(ctx context.Context) error {
	w.person.mu.Lock()
	broken, slow := w.person.broken, w.person.slow
	w.person.mu.Unlock()
	if slow {
		<-ctx.Done()
		return ctx.Err()
	}
	if broken != nil {
		return broken
	}
	f := w.person.floor
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taken++
	for _, lane := range w.lanes {
		f.owner[lane] = w
	}
	life, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go w.work(life)
	return nil
}

func (w *fake) work(life context.Context) {
	defer close(w.ended)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-life.Done():
			return
		case <-ticker.C:
		}
		w.person.waitFrozen()
		if w.person.floor.mine(w) {
			continue
		}
		w.idle.Store(true)
		w.fenced()
		<-life.Done()
		return
	}
}

func (w *fake) Shutdown(ctx context.Context) error {
	w.cancel()
	w.person.mu.Lock()
	stay := w.person.stay
	w.person.mu.Unlock()
	if stay {
		<-ctx.Done()
		return ctx.Err()
	}
	<-w.ended
	return nil
}

func (w *fake) Ready() error {
	if w.idle.Load() {
		return errors.New("fenced")
	}
	return nil
}

func (f *floor) mine(w *fake) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !slices.ContainsFunc(w.lanes, func(lane int) bool { return f.owner[lane] != w })
}

// shared tells what is wrong with who holds the lanes: each is to be held by exactly one process that lives,
// by the epochs and by what the process says, and none is to have two more than another.
func (f *floor) shared() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var held [floorLanes]string
	for name, p := range f.people {
		if err := p.runner.Ready(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		lanes := p.runner.Lanes()
		if n := len(lanes); n < floorLanes/len(f.people) || n > (floorLanes-1)/len(f.people)+1 {
			return fmt.Errorf("%s holds %d", name, n)
		}
		for _, lane := range lanes {
			if held[lane] != "" {
				return fmt.Errorf("lane %d is held by %s and %s", lane, held[lane], name)
			}
			if held[lane] = name; f.owner[lane].person != p {
				return fmt.Errorf("lane %d is %s's in the store, and %s holds it", lane, f.owner[lane].person.name, name)
			}
		}
	}
	if lane := slices.Index(held[:], ""); lane >= 0 && len(f.people) > 0 {
		return fmt.Errorf("lane %d is held by nobody", lane)
	}
	return nil
}

// within waits until the lanes are shared out well, and tells how long that took.
func (f *floor) within(bound time.Duration) (took time.Duration) {
	f.t.Helper()
	began := time.Now()
	for {
		err := f.shared()
		if took = time.Since(began); err == nil {
			return took
		}
		if took > bound {
			require.NoError(f.t, err, "after %s", bound)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// remains watches that they stay so.
func (f *floor) remains(d time.Duration) {
	f.t.Helper()
	f.mu.Lock()
	taken := f.taken
	f.mu.Unlock()
	for until := time.Now().Add(d); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		require.NoError(f.t, f.shared())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Equal(f.t, taken, f.taken, "no lane moves without need")
}
