package notify

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// ErrStopped says that the register was stopped while somebody waited.
var ErrStopped = errors.New("waiting was stopped")

// WaitersConfig says how [NewWaiters] is to work. Reader is required.
type WaitersConfig struct {
	// Reader is what the register reads what it was not told: Status and End of a store.Reader.
	Reader interface {
		Status(ctx context.Context, ids []commands.ID) ([]store.CommandStatus, error)
		End(ctx context.Context) (uint64, error)
	}
	// PollEvery is how often it looks for what other processes committed, while anybody waits; 1 s by
	// default.
	PollEvery time.Duration
	// Max is how many may wait at once, for commands and for streams each; 50,000 by default.
	Max int
	// Interest is told what is waited for here, where Observe is told no more than that of what other processes
	// commit; it may be nil.
	Interest Interest
	// Log tells when the store cannot be read; nothing is told without it.
	Log *slog.Logger
}

// Interest is told what is waited for.
type Interest interface {
	// Expect changes how many commands that were sent from here are waited for.
	Expect(more int)
	WatchCommand(id commands.ID)
	UnwatchCommand(id commands.ID)
	WatchStream(stream commands.Stream)
	UnwatchStream(stream commands.Stream)
}

type noInterest struct{}

func (noInterest) Expect(int)                    {}
func (noInterest) WatchCommand(commands.ID)      {}
func (noInterest) UnwatchCommand(commands.ID)    {}
func (noInterest) WatchStream(commands.Stream)   {}
func (noInterest) UnwatchStream(commands.Stream) {}

// Waiters is the register of who waits: for the outcome of a command, or for a stream to change.
//
// It is told of commits by [Waiters.Observe]. Since another process may have committed, it also looks
// for itself once per PollEvery while anybody waits: first only for the end of the log, and when that
// is where it was last heard of nothing more is read.
//
// All methods may be called from many goroutines.
type Waiters struct {
	config  WaitersConfig
	shards  [shardCount]shard
	waiting atomic.Int64 // in all shards
	pool    sync.Pool
	streams streamWaiters

	conflicts conflicts
	heard     heard

	lifecycle sync.Mutex
	stopped   chan struct{}
	cancel    context.CancelFunc
	polling   chan struct{} // closed when the poll has ended
}

// shardCount locks of which each Observe takes one a command, so that many requests can register while
// a large commit is being told.
const shardCount = 16

type shard struct {
	sync.Mutex
	byID map[commands.ID]*Waiter // the newest of those who wait for the id
	_    [40]byte                // keeps two locks out of one cache line
}

// NewWaiters makes an empty register.
func NewWaiters(config WaitersConfig) *Waiters {
	if config.PollEvery <= 0 {
		config.PollEvery = time.Second
	}
	if config.Max <= 0 {
		config.Max = 50_000
	}
	if config.Interest == nil {
		config.Interest = noInterest{}
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	w := &Waiters{config: config, stopped: make(chan struct{})}
	for i := range w.shards {
		w.shards[i].byID = make(map[commands.ID]*Waiter)
	}
	w.streams.byStream = make(map[commands.Stream]*StreamWaiter)
	w.pool.New = func() any { return &Waiter{home: w, wake: make(chan struct{}, 1)} }
	return w
}

// Start begins to look for what other processes commit. The context bounds the start alone.
func (w *Waiters) Start(context.Context) error {
	w.lifecycle.Lock()
	defer w.lifecycle.Unlock()
	if w.polling != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel, w.polling = cancel, make(chan struct{})
	go w.poll(ctx)
	return nil
}

// Stop ends all waiting with ErrStopped, and the looking. It is safe twice.
func (w *Waiters) Stop() error {
	w.lifecycle.Lock()
	defer w.lifecycle.Unlock()
	select {
	case <-w.stopped:
		return nil
	default:
		close(w.stopped)
	}
	if w.polling != nil {
		w.cancel()
		<-w.polling
	}
	return nil
}

// Observe tells the register of a commit: the positions it covers and what it came to. The worker calls
// it after each commit, before it acknowledges the commands. It does not block and keeps no part of the
// result but the outcomes somebody waits for.
func (w *Waiters) Observe(covered store.Range, result *aggregate.Result) {
	w.heard.of(covered)
	w.Tell(result)
}

// Tell tells the register what commands came to that somebody may wait for, in any order and more than once. It
// does not count as having heard of the commit.
func (w *Waiters) Tell(result *aggregate.Result) {
	waiting := w.waiting.Load() > 0
	for i := range result.Answers {
		answer := &result.Answers[i]
		if answer.Ruling == aggregate.Conflict {
			w.conflicts.add(answer.ID, answer.Hash)
		}
		if waiting {
			w.answer(answer)
		}
	}
	if waiting {
		for _, outcome := range result.Outcomes {
			w.settle(outcome.ID, outcome, outcome.Hash)
		}
	}
	if w.streams.waiting.Load() > 0 {
		for _, outcome := range result.Outcomes {
			if outcome.Landed() {
				w.streams.wake(outcome.Stream)
			}
		}
	}
}

// settle tells everybody who waits for the id what is known to hold it: an outcome, or with none a
// parked command. For whoever sent another payload under that id it is a conflict.
func (w *Waiters) settle(id commands.ID, outcome *commands.Outcome, hash commands.Hash) {
	s := w.shard(id)
	s.Lock()
	for x := s.byID[id]; x != nil; x = x.next {
		switch {
		case x.hash != AnyPayload && x.hash != hash:
			x.conflict = true
		case outcome != nil && x.outcome == nil:
			x.outcome = outcome
		default:
			continue
		}
		x.signal()
	}
	s.Unlock()
}

// answer tells those who sent this very payload what the worker answered to it alone.
func (w *Waiters) answer(answer *aggregate.Answer) {
	s := w.shard(answer.ID)
	s.Lock()
	for x := s.byID[answer.ID]; x != nil; x = x.next {
		if x.hash != answer.Hash {
			continue
		}
		if answer.Ruling == aggregate.Conflict {
			x.conflict = true
		} else {
			x.look = true
		}
		x.signal()
	}
	s.Unlock()
}

func (w *Waiters) shard(id commands.ID) *shard { return &w.shards[id[15]%shardCount] }

// Mark is where the conflicts told so far end; see [Waiters.Conflicted].
func (w *Waiters) Mark() uint64 { return w.conflicts.count.Load() }

// Conflicted tells whether, since the mark, a command with this id and payload was answered that its id
// is another command's. It serves who sends without waiting for an outcome, at the price of one load;
// of more than 1,024 conflicts since the mark the newest are remembered.
func (w *Waiters) Conflicted(mark uint64, id commands.ID, hash commands.Hash) bool {
	return w.conflicts.count.Load() != mark && w.conflicts.holds(mark, id, hash)
}

// conflicts is a ring of the newest conflicts.
type conflicts struct {
	count atomic.Uint64 // ever added
	mu    sync.Mutex
	ring  [1024]conflict
}

type conflict struct {
	id   commands.ID
	hash commands.Hash
}

func (c *conflicts) add(id commands.ID, hash commands.Hash) {
	c.mu.Lock()
	c.ring[c.count.Load()%uint64(len(c.ring))] = conflict{id, hash}
	c.count.Add(1)
	c.mu.Unlock()
}

func (c *conflicts) holds(mark uint64, id commands.ID, hash commands.Hash) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	end := c.count.Load()
	if size := uint64(len(c.ring)); end-mark > size {
		mark = end - size
	}
	for ; mark != end; mark++ {
		if c.ring[mark%uint64(len(c.ring))] == (conflict{id, hash}) {
			return true
		}
	}
	return false
}
