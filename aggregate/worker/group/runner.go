package group

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Runner is this process's part in the group: it keeps it on the list, and a worker on the lanes that are
// its own.
type Runner struct {
	cfg  Config
	self Member

	life context.Context // until it is stopped
	over context.CancelFunc

	asked   chan struct{} // holds a token when a renewal is wanted before its time
	news    chan struct{} // holds a token when the view is to be followed
	settled chan struct{} // closed when the view was followed for the first time
	first   sync.Once
	beaten  chan struct{} // closed when nothing is renewed any more
	worked  chan struct{} // closed when no worker is begun any more

	lifecycle sync.Mutex
	started   bool
	stopping  sync.Once
	stopErr   error

	mu     sync.Mutex
	begun  uint64 // renewals, in all
	barred uint64 // how many had been begun when a worker was fenced: such a list may be what misled it
	view   view
	begins *begins // a worker that is being started
	hold   *hold   // the worker there is
	failed error   // why there is none
}

// view is what the last renewal came to.
type view struct {
	number uint64 // of the renewal; 0 before the first
	lanes  []int
	err    error // why nothing is known
}

// hold is a worker that was started.
type hold struct {
	lanes  []int
	worker Worker
	since  time.Time
	fenced bool
}

// begins is a worker on its way to its lanes.
type begins struct {
	lanes []int
	stop  context.CancelFunc
}

var (
	errStopped = errors.New("group: stopped")
	errNotYet  = errors.New("group: it is not on the list of workers yet")
)

// New makes a runner; nothing runs until Start.
func New(cfg Config) (*Runner, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &Runner{
		cfg: cfg, self: Member{ID: rand.Text(), Name: cfg.Name},
		asked: make(chan struct{}, 1), news: make(chan struct{}, 1), settled: make(chan struct{}),
		beaten: make(chan struct{}), worked: make(chan struct{}),
		view: view{err: errNotYet},
	}
	r.life, r.over = context.WithCancel(context.Background())
	return r, nil
}

// Start joins the group and returns once the lanes that are its own are worked, if there are any. When the
// context ends first the runner is stopped, and the error says what it was waiting for.
func (r *Runner) Start(ctx context.Context) error {
	r.lifecycle.Lock()
	if r.started || r.life.Err() != nil {
		r.lifecycle.Unlock()
		return errors.New("group: the runner was started or stopped before")
	}
	r.started = true
	go r.beat()
	go r.work()
	r.lifecycle.Unlock()
	select {
	case <-r.settled:
		return nil
	case <-r.life.Done():
		return errStopped
	case <-ctx.Done():
		why := r.Ready()
		return errors.Join(fmt.Errorf("group: no lanes could be taken: %w", context.Cause(ctx)), why, r.Stop())
	}
}

// Stop is Shutdown with the configured time.
func (r *Runner) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), r.cfg.Goodbye)
	defer cancel()
	return r.Shutdown(ctx)
}

// Shutdown leaves the group, so that the others take its lanes over at once, and then stops its worker,
// which commits what it has judged unless the lane has gone by then. It is safe to call twice.
func (r *Runner) Shutdown(ctx context.Context) error {
	r.stopping.Do(func() {
		r.lifecycle.Lock()
		started := r.started
		r.over()
		r.lifecycle.Unlock()
		if started {
			r.stopErr = r.leave(ctx)
		}
	})
	return r.stopErr
}

func (r *Runner) leave(ctx context.Context) error {
	<-r.beaten // a renewal that comes later would put it on the list again
	asking, cancel := context.WithTimeout(ctx, r.patience())
	defer cancel()
	if err := r.cfg.Members.Leave(asking, r.self.ID); err != nil {
		r.cfg.Log.Warn("this worker could not say that it leaves; its lanes are taken over once it has not been seen for a while",
			"after", Lapse, "err", err)
	}
	<-r.worked
	r.mu.Lock()
	h := r.hold
	r.hold, r.failed = nil, errStopped
	r.mu.Unlock()
	if h == nil {
		return nil
	}
	return h.worker.Shutdown(ctx)
}

// Ready tells why this process works at no lane although it should; nil while it works at those that are
// its own, and when there are none, as more workers live than there are lanes. Any goroutine may ask.
func (r *Runner) Ready() error {
	if r.life.Err() != nil {
		return errStopped
	}
	r.mu.Lock()
	v, h, failed := r.view, r.hold, r.failed
	fenced := h != nil && h.fenced || h == nil && v.number <= r.barred
	r.mu.Unlock()
	switch {
	case v.err != nil:
		return v.err
	case len(v.lanes) == 0:
		return nil
	case fenced:
		return errors.New("group: a lane was taken over, or the store was away; the list is asked for anew")
	case h != nil:
		return h.worker.Ready()
	case failed != nil:
		return failed
	}
	return fmt.Errorf("group: lanes %v have not been taken yet", v.lanes)
}

// Lanes is what is worked here, in rising order.
func (r *Runner) Lanes() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hold == nil || r.hold.fenced {
		return nil
	}
	return slices.Clone(r.hold.lanes)
}

// signal puts a token where there is none.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
