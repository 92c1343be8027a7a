package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/commands"
)

// Store is what a relay needs of a store.Store.
type Store interface {
	Identity() store.Identity
	Log(ctx context.Context, after uint64, limit int) ([]*commands.Outcome, error)
	End(ctx context.Context) (uint64, error)
	Head(ctx context.Context, stream commands.Stream) (record *store.Record, ok bool, err error)
	SaveRelayed(ctx context.Context, claims []store.Claim) error
	Status(ctx context.Context, ids []commands.ID) ([]store.CommandStatus, error)
	store.Replies
}

// Publisher hands notices to the broker. Several relays may use one at once.
type Publisher interface {
	// Publish publishes notices in order and returns nil once all of them are confirmed. On an error any of them
	// may have been published, and they will be published again.
	Publish(ctx context.Context, notices []bus.Notice) error
	// Offer publishes one notice and tells, once it is confirmed, whether any queue wanted it.
	Offer(ctx context.Context, notice bus.Notice) (wanted bool, err error)
	// Deliver publishes each notice by itself, and tells what became of each, as far as that is known within the time.
	// It waits for a broker that is away. On an error any of them may have been published.
	Deliver(ctx context.Context, notices []bus.Notice, within time.Duration) ([]bus.Receipt, error)
}

// Metrics is told what a relay does.
type Metrics interface {
	// Published counts notices that were confirmed, and those that nobody listened to, which did not travel.
	Published(confirmed, unheard int)
	// Took is the time from a commit's telling to the confirmation of all that is to be published of it.
	Took(time.Duration)
	// Replied counts requesters who were told what became of their commands, and those who could not be: their queues
	// are gone, or would not take it. Calls may come at the same time.
	Replied(sent, passedOver int)
}

type noMetrics struct{}

func (noMetrics) Published(int, int) {}
func (noMetrics) Took(time.Duration) {}
func (noMetrics) Replied(int, int)   {}

// Config is what a relay needs. Store, Publisher and Source are required.
type Config struct {
	Store     Store
	Publisher Publisher
	Source    string // of all events, a URI reference (CloudEvents)
	// Tell says what became of a command as of now, as GET /v1/commands/{id} does. Without it a rejection is told
	// without what its sender missed.
	Tell    func(context.Context, *commands.Outcome) (commands.CommandView, error)
	Metrics Metrics
	Log     *slog.Logger

	// Always publishes everything without asking whether anybody listens.
	Always bool

	KeepOutcomes int           // outcomes that may wait in memory; 32,768 by default
	KeepBytes    int           // bytes of them, about; 32 MiB by default
	Batch        int           // outcomes that are published together; 2,048 by default
	BatchBytes   int           // bytes of them, about; 4 MiB by default
	SaveEvery    time.Duration // how often checkpoints are saved while they move; 250 ms by default
	AskEvery     time.Duration // how often an exchange with an audience is asked whether it has one still; 5 s by default
	Gather       time.Duration // the least time between batches that nobody wants and that are not full; 20 ms by default

	KeepReplies   int           // replies that may wait to be told; 4,096 by default, and KeepBytes of them
	KeepWaiting   int           // requesters that may wait for commands to come to their end, beside the first of each; 65,536 by default
	KeepAside     int           // replies that may wait for queues to take them; 16,384 by default, and KeepBytes of them
	ReplyTime     time.Duration // how long the others wait for the broker to say what becomes of one; 2 s by default
	ReplyPatience time.Duration // how long a queue is tried that does not take its replies; 10 s by default (DESIGN section 4)

	Drain time.Duration // how long Shutdown publishes what was committed, at most; 5 s by default
	// An idle relay whose checkpoint is IdleLag positions behind the log's end, since other workers commit, reads
	// on after IdleAfter, so that its successor need not; 20,000 and 5 s by default.
	IdleLag   int
	IdleAfter time.Duration
}

func (c *Config) setDefaults() {
	if c.Metrics == nil {
		c.Metrics = noMetrics{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Tell == nil {
		epoch := ""
		if c.Store != nil {
			epoch = c.Store.Identity().Epoch
		}
		c.Tell = func(_ context.Context, o *commands.Outcome) (commands.CommandView, error) {
			return commands.ViewOutcome(epoch, o), nil
		}
	}
	for field, value := range map[*int]int{
		&c.KeepReplies: 4096, &c.KeepWaiting: 64 << 10, &c.KeepAside: 16 << 10,
		&c.KeepOutcomes: 32 << 10, &c.KeepBytes: 32 << 20, &c.Batch: 2048, &c.BatchBytes: 4 << 20, &c.IdleLag: 20_000,
	} {
		if *field == 0 {
			*field = value
		}
	}
	for field, value := range map[*time.Duration]time.Duration{
		&c.ReplyTime: 2 * time.Second, &c.ReplyPatience: 10 * time.Second,
		&c.SaveEvery: 250 * time.Millisecond, &c.AskEvery: 5 * time.Second, &c.Gather: 20 * time.Millisecond,
		&c.Drain: 5 * time.Second, &c.IdleAfter: 5 * time.Second,
	} {
		if *field == 0 {
			*field = value
		}
	}
}

// Validate reports everything that is missing or out of bounds at once.
func (c *Config) Validate() error {
	var problems []error
	wrong := func(is bool, format string, args ...any) {
		if is {
			problems = append(problems, fmt.Errorf("relay: "+format, args...))
		}
	}
	wrong(c.Store == nil, "Store is required")
	wrong(c.Publisher == nil, "Publisher is required")
	wrong(c.Source == "", "Source is required")
	wrong(min(c.KeepOutcomes, c.KeepBytes, c.Batch, c.BatchBytes, c.IdleLag, c.KeepReplies, c.KeepWaiting, c.KeepAside) < 0,
		"KeepOutcomes, KeepBytes, Batch, BatchBytes, IdleLag, KeepReplies, KeepWaiting and KeepAside are 1 at least")
	wrong(min(c.SaveEvery, c.AskEvery, c.Gather, c.Drain, c.IdleAfter, c.ReplyTime, c.ReplyPatience) < 0,
		"SaveEvery, AskEvery, Gather, Drain, IdleAfter, ReplyTime and ReplyPatience are not below 0")
	return errors.Join(problems...)
}
