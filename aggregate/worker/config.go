package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// Config is what a worker needs. Store, Types, Subscriber and Lanes are required.
type Config struct {
	Store      store.Store
	Types      *aggregate.Registry
	Subscriber message.Subscriber
	Lanes      []int  // the lanes it holds
	Owner      string // who holds them, for people to read

	// Consuming, when set, tells since when the bus has brought a lane's frames here without interruption, or why it
	// brings none at the moment. Meanwhile the lane is not being worked, and nothing that waits on it grows older.
	// It must not block.
	Consuming func(lane int) (since time.Time, err error)
	// HeldBack is for how long the bus may hold back what is queued on a lane after it began to bring its frames
	// here, because a worker that froze, or a connection that was lost, has some of it in hand. A lane on which
	// nothing has come since is taken to be worked only after that, so that nothing expires for want of what is
	// held back. None by default.
	HeldBack time.Duration

	Limits aggregate.Limits // DefaultLimits when zero

	// Observe are told of each commit, in order of position, before its frames are acknowledged.
	// They must not block, and must not change what they are shown.
	Observe []func(store.Range, *aggregate.Result)
	Metrics Metrics
	Log     *slog.Logger

	// Acquired, when set, is told of the lanes' claims each time they were taken, before anything is committed
	// with them. It must not block.
	Acquired func([]store.Claim)

	// Fenced, when set, is called when the worker would have to take its lanes again after it held them:
	// somebody else took one, or the store was away, so that somebody may have. It takes none back by itself
	// then but judges no more, and its frames stay unacknowledged: stop it, and start another with the lanes
	// that are its own. Without it two workers that believe to hold the same lane would take it from each
	// other for ever. It is called once at most, and must not block.
	Fenced func()

	// Suspect notes that a command is about to be judged that may end the process, and tells how many
	// processes have noted it, this one included. Without it such a command is found, but never failed.
	Suspect func(ctx context.Context, id commands.ID) (processes int, err error)

	CacheStreams int           // streams held in memory; 50,000 by default
	CacheBytes   int           // bytes of their states and parked payloads; 64 MiB by default
	CodeTimeout  time.Duration // how long one command may run in the type's code; 2 s by default
	CommitTime   time.Duration // how long one commit may take; 30 s by default
	QueueBound   int           // most messages that can be queued on one lane; 2,048 by default
	Tick         time.Duration // how often clocks advance and deadlines are looked at; 100 ms by default
}

// Metrics is told what the worker does. A commit is one call, whatever its size.
type Metrics interface {
	Committed(CommitStats)
	// CommitFailed names why: id_known, fenced, unavailable, fate_unknown, batch.
	CommitFailed(cause string)
	// Parked tells how many commands wait and for how long the oldest has, once a second.
	Parked(total int, oldest time.Duration)
	// CodeAbandoned counts commands whose aggregate code did not end.
	CodeAbandoned()
}

// CommitStats describes one commit.
type CommitStats struct {
	Commands int           // taken from the bus
	Judging  time.Duration // from the round's opening until it was closed, without waiting
	Commit   time.Duration
	Result   *aggregate.Result
}

type noMetrics struct{}

func (noMetrics) Committed(CommitStats)     {}
func (noMetrics) CommitFailed(string)       {}
func (noMetrics) Parked(int, time.Duration) {}
func (noMetrics) CodeAbandoned()            {}

func (c *Config) setDefaults() {
	if c.Limits == (aggregate.Limits{}) {
		c.Limits = aggregate.DefaultLimits
	}
	if c.Metrics == nil {
		c.Metrics = noMetrics{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&c.CacheStreams, 50_000)
	setDefault(&c.CacheBytes, 64<<20)
	setDefault(&c.QueueBound, 2048)
	setDefault(&c.CodeTimeout, 2*time.Second)
	setDefault(&c.CommitTime, 30*time.Second)
	setDefault(&c.Tick, 100*time.Millisecond)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports everything that is missing or out of bounds at once.
func (c *Config) Validate() error {
	var problems []error
	missing := func(what string, is bool) {
		if is {
			problems = append(problems, fmt.Errorf("worker: %s is required", what))
		}
	}
	missing("Store", c.Store == nil)
	missing("Types", c.Types == nil)
	missing("Subscriber", c.Subscriber == nil)
	missing("Lanes", len(c.Lanes) == 0)
	atLeastOne := func(what string, value int) {
		if value < 1 {
			problems = append(problems, fmt.Errorf("worker: %s is %d, 1 at least", what, value))
		}
	}
	atLeastOne("Limits.ParkedPerStream", c.Limits.ParkedPerStream)
	atLeastOne("Limits.ParkedPerSession", c.Limits.ParkedPerSession)
	atLeastOne("Limits.Parked", c.Limits.Parked)
	atLeastOne("Limits.Events", c.Limits.Events)
	atLeastOne("Limits.Round", c.Limits.Round)
	return errors.Join(problems...)
}
