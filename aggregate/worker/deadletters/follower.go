package deadletters

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/bus"
)

const (
	// batch is how many letters are told together.
	batch = 64
	// storeTime is how long the store may take to answer, brokerTime how long the broker may.
	storeTime  = 10 * time.Second
	brokerTime = 5 * time.Second
	// goodbyeTime is how long letters are told when it has to end.
	goodbyeTime = time.Second
)

// Store is what a follower needs of a store.Store.
type Store interface {
	Untold(ctx context.Context, limit int) ([]store.DeadLetter, error)
	Told(ctx context.Context, ns []uint64) error
}

// Publisher hands notices to the broker.
type Publisher interface {
	// Deliver publishes each notice by itself, and tells what became of each, as far as that is known within the time.
	Deliver(ctx context.Context, notices []bus.Notice, within time.Duration) ([]bus.Receipt, error)
}

// Config is what a follower needs. Store and Publisher are required.
type Config struct {
	Store     Store
	Publisher Publisher
	// Told counts letters that were told, repeats included, and those that were not, as somebody's queue would not
	// take them.
	Told func(told, passedOver int)
	Log  *slog.Logger

	Every    time.Duration // how often the store is asked; 1 s by default
	Patience time.Duration // how long queues that refuse are tried; 10 s by default
}

// Validate reports everything that is missing at once.
func (c *Config) Validate() error {
	var problems []error
	if c.Store == nil {
		problems = append(problems, errors.New("deadletters: Store is required"))
	}
	if c.Publisher == nil {
		problems = append(problems, errors.New("deadletters: Publisher is required"))
	}
	if c.Every < 0 || c.Patience < 0 {
		problems = append(problems, errors.New("deadletters: Every and Patience are not below 0"))
	}
	return errors.Join(problems...)
}

func (c *Config) setDefaults() {
	if c.Told == nil {
		c.Told = func(int, int) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Every == 0 {
		c.Every = time.Second
	}
	if c.Patience == 0 {
		c.Patience = 10 * time.Second
	}
}

// Follower tells of dead letters. It is used once: New, Start, Shutdown.
type Follower struct {
	cfg  Config
	wake chan struct{} // holds a token when there may be something to tell

	lifecycle sync.Mutex
	life      context.Context // until it is to end at once
	over      context.CancelFunc
	stopping  chan struct{}
	ended     chan struct{} // nil before Start

	// What follows belongs to the goroutine that tells.
	refusing time.Time // since when some are not taken; zero while all are
	failed   bool      // and said so
}

// New makes a follower; nothing is told before Start.
func New(cfg Config) (*Follower, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	f := &Follower{cfg: cfg, wake: make(chan struct{}, 1), stopping: make(chan struct{})}
	f.life, f.over = context.WithCancel(context.Background())
	return f, nil
}

// Start begins to tell. It does not wait for anything.
func (f *Follower) Start() {
	f.lifecycle.Lock()
	defer f.lifecycle.Unlock()
	if f.ended == nil && f.life.Err() == nil {
		f.ended = make(chan struct{})
		go f.run()
	}
}

// Observe is told of the worker's commits: what failed in one is told at once. It does not block.
func (f *Follower) Observe(_ store.Range, result *aggregate.Result) {
	if len(result.Failures) == 0 {
		return
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Shutdown tells what there is, for a second at most and as long as the context lasts, and returns. What is left others
// tell. It is safe to call twice.
func (f *Follower) Shutdown(ctx context.Context) error {
	f.lifecycle.Lock()
	ended := f.ended
	select {
	case <-f.stopping:
	default:
		close(f.stopping)
	}
	f.lifecycle.Unlock()
	defer f.over()
	if ended == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, goodbyeTime)
	defer cancel()
	select {
	case <-ended:
	case <-ctx.Done():
		f.over()
		<-ended
	}
	return nil
}

func (f *Follower) run() {
	defer close(f.ended)
	ticks := time.NewTicker(f.cfg.Every)
	defer ticks.Stop()
	for last := false; !last; {
		select {
		case <-f.wake:
		case <-ticks.C:
		case <-f.stopping:
			last = true
		}
		f.tell()
	}
}

// tell tells all there is, until some of it is not taken.
func (f *Follower) tell() {
	for f.life.Err() == nil {
		more, err := f.some()
		switch {
		case err == nil:
			if f.failed {
				f.failed = false
				f.cfg.Log.Info("dead letters are told again")
			}
		case f.life.Err() == nil && !f.failed:
			f.failed = true
			f.cfg.Log.Warn("dead letters cannot be told; trying again", "err", err)
		}
		if !more || err != nil {
			return
		}
	}
}

// some tells a few, and reports whether there may be more that can be told at once.
func (f *Follower) some() (more bool, err error) {
	ctx, cancel := context.WithTimeout(f.life, storeTime)
	defer cancel()
	letters, err := f.cfg.Store.Untold(ctx, batch)
	if err != nil || len(letters) == 0 {
		return false, err
	}
	notices := make([]bus.Notice, len(letters))
	for i := range letters {
		notices[i] = notice(&letters[i])
	}
	receipts, err := f.cfg.Publisher.Deliver(f.life, notices, brokerTime)
	if err != nil {
		return false, fmt.Errorf("deadletters: publish: %w", err)
	}
	told, passedOver := f.judge(letters, receipts)
	ctx, cancel = context.WithTimeout(f.life, storeTime)
	defer cancel()
	if err := f.cfg.Store.Told(ctx, told); err != nil {
		return false, err
	}
	f.cfg.Told(len(told)-passedOver, passedOver)
	return len(told) == len(letters), nil
}

// judge tells which letters count as told. Those that are not taken are tried again for a while, those that nobody
// listens for too: our own queue may be about to be made.
func (f *Follower) judge(letters []store.DeadLetter, receipts []bus.Receipt) (told []uint64, passedOver int) {
	now := time.Now()
	var left []uint64
	for i, receipt := range receipts {
		switch receipt {
		case bus.Taken:
			told = append(told, letters[i].N)
		case bus.Unsendable:
			told = append(told, letters[i].N)
			passedOver++
		default:
			left = append(left, letters[i].N)
		}
	}
	switch {
	case len(left) == 0:
		f.refusing = time.Time{}
	case f.refusing.IsZero():
		f.refusing = now
	case now.Sub(f.refusing) >= f.cfg.Patience:
		f.cfg.Log.Warn("dead letters are not taken, and passed over; they are in the store", "letters", len(left), "number", left[0])
		told = append(told, left...)
		passedOver += len(left)
	}
	return told, passedOver
}
