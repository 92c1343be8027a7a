package query

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// The bounds on the code of one stream type. Code that does not end cannot be stopped: its goroutine is
// left behind and costs a processor for as long as it runs.
const (
	defaultCodeTime = 2 * time.Second // as long as a command's may take
	mostLeftBehind  = 4               // with as many of a type left behind, none of its code is run
	mostFolding     = 16              // runs of one type at once, those left behind among them
)

// folds runs the code of stream types, each run in a goroutine of its own that can be left behind.
type folds struct {
	within time.Duration

	mu     sync.Mutex
	byType map[string]*typeFolds // there are as many as types are served
}

// typeFolds are the runs of one type.
type typeFolds struct {
	places chan struct{} // one is taken by each run until its code ends
	left   atomic.Int32  // of these, how many were left behind
}

func (f *folds) of(name string) *typeFolds {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.byType[name]
	if one == nil {
		one = &typeFolds{places: make(chan struct{}, mostFolding)}
		f.byType[name] = one
	}
	return one
}

// fold is aggregate.Fold with a bound on the time that each event may take: a type whose code does not end is
// answered with failed, and with unavailable while too much of its code was left behind.
func (f *folds) fold(ctx context.Context, t aggregate.Type, from []byte, events []commands.Event) ([]byte, error) {
	runs := f.of(t.Name())
	if runs.left.Load() >= mostLeftBehind {
		return nil, barred(t)
	}
	timer := time.NewTimer(f.within)
	defer timer.Stop()
	select {
	case runs.places <- struct{}{}:
	case <-timer.C:
		return nil, barred(t)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	r := &folding{of: runs, ended: make(chan struct{})}
	go r.run(t, from, events)
	if !r.wait(f.within) {
		return nil, problem.Newf(commands.Failed, "the code of the type %s did not end within %s", t.Name(), f.within)
	}
	return r.state, r.err
}

func barred(t aggregate.Type) error {
	return problem.New(commands.Unavailable, "the code of the type "+t.Name()+" is kept busy by what has not ended")
}

// folding is one run.
type folding struct {
	of      *typeFolds
	guard   aggregate.Guard
	decided atomic.Bool // it has ended, or was left behind before it did
	ended   chan struct{}
	state   []byte // once it has ended
	err     error
}

func (r *folding) run(t aggregate.Type, from []byte, events []commands.Event) {
	r.err = errors.New("the code of the type ended its goroutine")
	defer func() {
		if p := recover(); p != nil {
			r.err = fmt.Errorf("panic: %v", p)
		}
		if !r.decided.CompareAndSwap(false, true) {
			r.of.left.Add(-1)
		}
		<-r.of.places
		close(r.ended)
	}()
	r.state, r.err = aggregate.Fold(t, from, events, &r.guard)
}

// wait returns once the run has ended, or was left behind because one event took too long, which it tells by false.
func (r *folding) wait(within time.Duration) bool {
	every := within / 8
	tick := time.NewTicker(every)
	defer tick.Stop()
	var seen aggregate.Stopwatch
	for {
		select {
		case <-r.ended:
			return true
		case <-tick.C:
		}
		_, step := r.guard.Running()
		if seen.Look(step, time.Now(), every) >= within && r.leave(step) {
			return false
		}
	}
}

// leave gives the run up, caught in its step of that number. It reports false when that has ended meanwhile.
func (r *folding) leave(step uint64) bool {
	r.of.left.Add(1)
	if r.guard.Abandon(step) && r.decided.CompareAndSwap(false, true) {
		return true
	}
	r.of.left.Add(-1)
	return false
}
