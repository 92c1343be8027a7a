package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/wiring"
)

// Log is what is followed.
type Log interface {
	// Read gives outcomes with positions above after, in order and without a hole, limit at most; none at
	// the end. It may give fewer than there are.
	Read(ctx context.Context, after uint64, limit int) ([]*commands.Outcome, error)
	// Await returns once the log has grown beyond after, or with the context's error.
	Await(ctx context.Context, after uint64) error
}

// Config says what is followed by whom. All but the tuning at its end is required.
type Config struct {
	Log Log
	// Epoch is that of the log.
	Epoch string
	// End is the position of the newest outcome of all processes, as store.Reader tells it: a Log may have
	// heard of less.
	End        func(context.Context) (uint64, error)
	Projection Projection

	// MaxOutcomes and MaxBytes bound a batch; 16,384 outcomes and 4 MiB of events by default. The bytes may
	// be exceeded by one reading of the log.
	MaxOutcomes int
	MaxBytes    int
	// Every is the least time between the beginnings of two batches; 50 ms by default, and while much lands
	// up to AtMost, 500 ms by default. What lands on one stream meanwhile is folded together, and the
	// processor is left to those who land it. A projection that is far behind is given less rest.
	Every  time.Duration
	AtMost time.Duration
	// Standby is how long a runner leaves the work to another one that it has met; 1 s by default.
	Standby time.Duration
	// Look is how long a projection that lacks nothing is left alone at most before its checkpoint is looked
	// at again: somebody else may have put an empty one in its place. 1 s by default.
	Look time.Duration
	// FarBehind is how many outcomes a projection that is taken up may lack and still be taken for the whole;
	// 50,000 by default, which is more than land within AtMost.
	FarBehind uint64
	// Logger is told of what goes wrong.
	Logger *slog.Logger
}

const (
	firstPause = 100 * time.Millisecond
	maxPause   = 5 * time.Second
)

func (c *Config) setDefaults() {
	if c.MaxOutcomes <= 0 {
		c.MaxOutcomes = 1 << 14
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = 4 << 20
	}
	if c.Every <= 0 {
		c.Every = 50 * time.Millisecond
	}
	if c.AtMost <= 0 {
		c.AtMost = max(500*time.Millisecond, c.Every)
	}
	if c.Standby <= 0 {
		c.Standby = time.Second
	}
	if c.Look <= 0 {
		c.Look = time.Second
	}
	if c.FarBehind == 0 {
		c.FarBehind = 50_000
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Validate reports everything that is missing.
func (c *Config) Validate() error {
	return wiring.Missing("runner", map[string]bool{
		"Log": c.Log == nil, "Epoch": c.Epoch == "", "End": c.End == nil, "Projection": c.Projection == nil,
	})
}

// Runner keeps one projection up to date. All methods may be called from many goroutines.
type Runner struct {
	config  Config
	log     *slog.Logger
	applied atomic.Uint64
	whole   atomic.Uint64         // where the projection is whole again; 0 when it always was
	trouble atomic.Pointer[error] // what it cannot go on for; nil while it can

	lifecycle sync.Mutex
	cancel    context.CancelFunc
	running   chan struct{} // closed when it has ended; nil before Start
	stopped   bool
}

// New makes a runner; nothing runs until Start.
func New(config Config) (*Runner, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config.setDefaults()
	return &Runner{config: config, log: config.Logger.With("projection", config.Projection.Name())}, nil
}

// Start begins to follow the log. The context bounds the start alone. A store that is away delays the
// projection and not the start.
func (r *Runner) Start(context.Context) error {
	r.lifecycle.Lock()
	defer r.lifecycle.Unlock()
	if r.running != nil || r.stopped {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.running = cancel, make(chan struct{})
	go r.run(ctx)
	return nil
}

// Stop ends the following; a batch under way is applied or not, as a whole. It is safe twice.
func (r *Runner) Stop() error {
	r.lifecycle.Lock()
	defer r.lifecycle.Unlock()
	r.stopped = true
	if r.running != nil {
		r.cancel()
		<-r.running
	}
	return nil
}

// Applied is the position up to which everything is in the projection, as far as this runner knows; 0
// before it has looked.
func (r *Runner) Applied() uint64 { return r.applied.Load() }

// Behind is how many positions the projection lacks when the log ends at end.
func (r *Runner) Behind(end uint64) uint64 { return end - min(end, r.Applied()) }

// WholeAt is the position that the projection has to reach before it can be taken for the whole, as it is
// being made anew or was found far behind; 0 when it can be now.
func (r *Runner) WholeAt() uint64 {
	if at := r.whole.Load(); at > r.Applied() {
		return at
	}
	return 0
}

// Trouble is what the projection cannot go on for at the moment; nil while it can.
func (r *Runner) Trouble() error {
	if err := r.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// run follows the log until the context is over, beginning anew at the checkpoint after whatever went
// wrong.
func (r *Runner) run(ctx context.Context) {
	defer close(r.running)
	pause, failing := firstPause, false
	for {
		began := r.applied.Load()
		err := r.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if r.applied.Load() != began {
			pause, failing = firstPause, false
		}
		if errors.Is(err, ErrMoved) {
			r.trouble.Store(nil)
			r.log.Debug("another process is at work on the projection", "position", r.Applied())
			if sleep(ctx, r.config.Standby) != nil {
				return
			}
			continue
		}
		r.trouble.Store(&err)
		level := slog.LevelWarn // the first time; the same again is no news
		if failing {
			level = slog.LevelDebug
		}
		r.log.Log(ctx, level, "the projection cannot go on; trying again", "position", r.Applied(), "err", err)
		if sleep(ctx, pause) != nil {
			return
		}
		pause, failing = min(2*pause, maxPause), true
	}
}

// follow applies batch after batch from the checkpoint on. It returns with what went wrong.
func (r *Runner) follow(ctx context.Context) error {
	at, err := r.checkpoint(ctx)
	if err != nil {
		return err
	}
	for {
		r.applied.Store(at.Position)
		began, before := time.Now(), at.Position
		if at, err = r.step(ctx, at); err != nil {
			return err
		}
		r.applied.Store(at.Position)
		if err := sleep(ctx, time.Until(began.Add(r.rest(int(at.Position-before))))); err != nil { //nolint:gosec // a batch is small
			return err
		}
	}
}

// rest is how long it is from the beginning of a batch of n outcomes to the next one.
func (r *Runner) rest(n int) time.Duration {
	const each = 60 * time.Microsecond
	if n >= r.config.MaxOutcomes {
		return r.config.Every
	}
	return min(r.config.Every+time.Duration(n)*each, r.config.AtMost)
}

// step applies what there is after the checkpoint, or waits until there is something.
func (r *Runner) step(ctx context.Context, at Checkpoint) (Checkpoint, error) {
	batch, err := r.gather(ctx, at.Position)
	if err != nil {
		return at, err
	}
	if len(batch) == 0 {
		r.trouble.Store(nil)
		return r.await(ctx, at)
	}
	if err := r.config.Projection.Apply(ctx, batch, at); err != nil {
		return at, fmt.Errorf("apply %d outcomes after %d: %w", len(batch), at.Position, err)
	}
	r.trouble.Store(nil)
	return at.After(batch), nil
}

// await waits until there is something after the checkpoint. Meanwhile it looks whether the projection still
// stands there, and gives where it does.
func (r *Runner) await(ctx context.Context, at Checkpoint) (Checkpoint, error) {
	for {
		awhile, cancel := context.WithTimeout(ctx, r.config.Look)
		err := r.config.Log.Await(awhile, at.Position)
		over := awhile.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err == nil:
			return at, nil
		case !over:
			return at, fmt.Errorf("await what comes after %d: %w", at.Position, err)
		}
		if stands, err := r.checkpoint(ctx); err != nil || stands != at {
			return stands, err
		}
	}
}

// gather reads a batch.
func (r *Runner) gather(ctx context.Context, after uint64) ([]*commands.Outcome, error) {
	var batch []*commands.Outcome
	for bytes := 0; len(batch) < r.config.MaxOutcomes && bytes < r.config.MaxBytes; {
		more, err := r.config.Log.Read(ctx, after, r.config.MaxOutcomes-len(batch))
		if err != nil {
			return nil, fmt.Errorf("read the log after %d: %w", after, err)
		}
		if len(more) == 0 {
			break
		}
		for _, o := range more {
			// DESIGN section 5, promise 6. A projection must not go on without what is missing.
			if after++; o.Position != after {
				return nil, fmt.Errorf("the log goes on with %d where %d should be", o.Position, after)
			}
			for i := range o.Events {
				bytes += len(o.Events[i].Data)
			}
		}
		batch = append(batch, more...)
	}
	return batch, nil
}

// checkpoint reads where the projection stands. One that stands in another history, or beyond the end of
// this one, is emptied.
func (r *Runner) checkpoint(ctx context.Context) (Checkpoint, error) {
	at, err := r.config.Projection.Checkpoint(ctx)
	if err != nil {
		return at, fmt.Errorf("read the checkpoint: %w", err)
	}
	// Asked after the checkpoint was read: whatever is in the projection was in the log before.
	end, err := r.config.End(ctx)
	if err != nil {
		return at, fmt.Errorf("read the end of the log: %w", err)
	}
	if at.Epoch == r.config.Epoch && at.Position <= end {
		if end-at.Position > r.config.FarBehind {
			r.wholeAt(end)
		}
		return at, nil
	}
	if at != (Checkpoint{}) {
		r.log.Warn("the projection is of another history of the log and is made anew",
			"was_epoch", at.Epoch, "was_position", at.Position, "epoch", r.config.Epoch, "end", end)
	}
	r.wholeAt(end)
	if err := r.config.Projection.Reset(ctx, r.config.Epoch); err != nil {
		return at, fmt.Errorf("empty the projection: %w", err)
	}
	return Checkpoint{Epoch: r.config.Epoch}, nil
}

func (r *Runner) wholeAt(end uint64) {
	r.whole.Store(end)
	if growing, ok := r.config.Projection.(Growing); ok {
		growing.WholeAt(end)
	}
}

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
