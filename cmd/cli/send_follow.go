package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/ticketed/doorman/cmd/cli/load"
	"github.com/ticketed/doorman/commands"
)

// follower asks for the outcomes of accepted commands, many at a time, and beside the sending: a command
// may wait for one that is yet to be sent, so nobody who sends may wait for an outcome.
type follower struct {
	status func(context.Context, ...commands.ID) ([]commands.CommandView, error)
	tally  *tally
	wait   time.Duration // without any progress, until it gives up
	told   func()        // some have settled

	mu    sync.Mutex
	open  []followed
	ended bool // nothing is added any more
	added chan struct{}
}

func newFollower(t *tally, wait time.Duration) *follower {
	return &follower{tally: t, wait: wait, added: make(chan struct{}, 1)}
}

func (f *follower) add(accepted followed) {
	f.mu.Lock()
	f.open = append(f.open, accepted)
	f.mu.Unlock()
	f.wake()
}

// noMore says that everything has been added.
func (f *follower) noMore() {
	f.mu.Lock()
	f.ended = true
	f.mu.Unlock()
	f.wake()
}

func (f *follower) wake() {
	select {
	case f.added <- struct{}{}:
	default:
	}
}

const (
	askedAtOnce = 256 // of GET /v1/commands
	gatherFor   = 50 * time.Millisecond
	pauseFirst  = 20 * time.Millisecond
	pauseMost   = time.Second
)

// run follows until everything has settled, or nothing has for too long after the last was added.
func (f *follower) run(ctx context.Context) error {
	var asked int // since something settled
	var since time.Time
	pause := pauseFirst
	for {
		if err := f.gather(ctx); err != nil {
			return err
		}
		some, left, ended := f.take()
		if len(some) == 0 && ended {
			return nil
		}
		settled, err := f.ask(ctx, some)
		if err != nil {
			return err
		}
		asked += len(some)
		switch {
		case settled > 0:
			asked, since, pause = 0, time.Now(), pauseFirst
			f.told()
		case !ended || since.IsZero():
			since = time.Now()
		case time.Since(since) > f.wait:
			return f.giveUp(ctx)
		}
		if asked >= left && settled == 0 {
			// All that is open was asked for in vain: only time helps now.
			if err := load.Pause(ctx, pause); err != nil {
				return err
			}
			asked, pause = 0, min(2*pause, pauseMost)
		}
	}
}

// gather waits until there is something to ask for, and a little longer while that is not much.
func (f *follower) gather(ctx context.Context) error {
	for {
		f.mu.Lock()
		open, ended := len(f.open), f.ended
		f.mu.Unlock()
		switch {
		case ended || open >= askedAtOnce:
			return nil
		case open > 0:
			return load.Pause(ctx, gatherFor)
		}
		select {
		case <-f.added:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// take removes the oldest; ask puts those back at the end that are open still.
func (f *follower) take() (some []followed, left int, ended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(len(f.open), askedAtOnce)
	some = f.open[:n:n]
	f.open = f.open[n:]
	return some, len(some) + len(f.open), f.ended
}

func (f *follower) ask(ctx context.Context, some []followed) (settled int, err error) {
	still := some
	views, err := f.views(ctx, some)
	if err == nil {
		still = nil
		for i := range some {
			switch views[i].Status {
			case commands.StatusLanded, commands.StatusRejected:
				f.tally.ended(&some[i], &views[i])
				settled++
			default:
				still = append(still, some[i])
			}
		}
	}
	f.mu.Lock()
	f.open = append(f.open, still...)
	f.mu.Unlock()
	return settled, err
}

func (f *follower) views(ctx context.Context, some []followed) ([]commands.CommandView, error) {
	ids := make([]commands.ID, len(some))
	for i := range some {
		ids[i] = some[i].id
	}
	ctx, cancel := context.WithTimeout(ctx, f.wait)
	defer cancel()
	views, err := f.status(ctx, ids...)
	if gone, ok := errors.AsType[*net.OpError](err); ok {
		err = gone // the rest names each id
	}
	if err != nil {
		return nil, fmt.Errorf("cannot ask for outcomes: %w", err)
	}
	return views, nil
}

// abandon counts what is open when nobody can be asked any more.
func (f *follower) abandon() {
	f.mu.Lock()
	open := f.open
	f.open = nil
	f.mu.Unlock()
	for i := range open {
		f.tally.leftOpen(&open[i], &commands.CommandView{Status: commands.StatusUnknown})
	}
}

// giveUp counts what is open as such.
func (f *follower) giveUp(ctx context.Context) error {
	for {
		some, _, _ := f.take()
		if len(some) == 0 {
			return nil
		}
		views, err := f.views(ctx, some)
		if err != nil {
			return err
		}
		for i := range some {
			switch views[i].Status {
			case commands.StatusLanded, commands.StatusRejected:
				f.tally.ended(&some[i], &views[i])
			default:
				f.tally.leftOpen(&some[i], &views[i])
			}
		}
	}
}
