package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// Reader is what a feed needs of a store.Reader.
type Reader interface {
	Log(ctx context.Context, after uint64, limit int) ([]*commands.Outcome, error)
	End(ctx context.Context) (uint64, error)
}

// Config says how a feed is to work. Reader is required.
type Config struct {
	Reader Reader
	// PollEvery is how often the end of the log is looked up, for what other processes commit; 1 s by
	// default.
	PollEvery time.Duration
	// Patience is how long a commit waits for those below it before they are read from the log; 25 ms by
	// default. What is told by one process after the other is seldom further apart.
	Patience time.Duration
	// KeepBytes bounds what is kept of the newest outcomes, of older pages, and of commits that wait for those
	// below them, each; 16 MiB by default.
	KeepBytes int
	Log       *slog.Logger
}

// Commit is what was committed together, or was read from the log together.
type Commit struct {
	// Covered are the positions, the next ones in order; First is Last+1 when it covers none, and Last may then
	// be one that has been handed on before.
	Covered  store.Range
	Outcomes []*commands.Outcome // those of Covered, in order; of another process's commit those that are wanted here
	// States are the streams' states after each outcome that landed; nil when the commit was read from the
	// log, which does not keep them.
	States [][]byte
	// What is not in the log is known of commits that were told, and not of those that were read from it. It mostly
	// comes with the outcomes of its commit, and before those when too much waits for what lies below: Covered are
	// no positions then.
	Park    []*aggregate.Waiting
	Extend  []*aggregate.Waiting
	Answers []aggregate.Answer
	// Doubt: commands may have been parked, or given more time, of which nothing was told.
	Doubt bool

	// Not nil: Outcomes and States are those that are wanted here, and it tells that others are wanted by now.
	lacks func() bool
}

// Feed follows the log. All methods may be called from many goroutines.
type Feed struct {
	config Config
	pages  pages

	mu          sync.Mutex
	end         uint64    // everything up to here has been handed on
	early       []*Commit // above end+1, by Covered.First
	earlyBytes  int
	let         uint64 // the newest position of those that were let go from early
	tail        tail
	filled      filled
	subscribers []func(*Commit)
	grown       chan struct{} // closed when end moves; nil while nobody waits
	gap         chan struct{} // holds a token when something came early
	missing     chan struct{} // holds a token when something is known not to come

	lifecycle sync.Mutex
	cancel    context.CancelFunc
	filling   chan struct{} // closed when the filling has ended
}

// maxEarly bounds how many commits wait for those below them, besides Config.KeepBytes. Beyond that the newest
// are let go: their outcomes are read from the log in their turn, without states, and what is not in the log is
// handed on at once.
const maxEarly = 1024

// New makes a feed that begins at the end of the log as Start finds it.
func New(config Config) (*Feed, error) {
	if config.Reader == nil {
		return nil, errors.New("feed: Reader is not given")
	}
	if config.PollEvery <= 0 {
		config.PollEvery = time.Second
	}
	if config.Patience <= 0 {
		config.Patience = 25 * time.Millisecond
	}
	if config.KeepBytes <= 0 {
		config.KeepBytes = 16 << 20
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	f := &Feed{config: config, gap: make(chan struct{}, 1), missing: make(chan struct{}, 1)}
	f.tail.most = config.KeepBytes
	f.pages.init(config.Reader, config.KeepBytes)
	return f, nil
}

// Start begins at the present end of the log. Subscribe before anything is committed, or live with
// beginning in the middle.
func (f *Feed) Start(ctx context.Context) error {
	f.lifecycle.Lock()
	defer f.lifecycle.Unlock()
	if f.filling != nil {
		return nil
	}
	end, err := f.config.Reader.End(ctx)
	if err != nil {
		return fmt.Errorf("feed: read the end of the log: %w", err)
	}
	f.mu.Lock()
	f.end = end
	f.tail.restart(end)
	f.mu.Unlock()
	filling, cancel := context.WithCancel(context.Background())
	f.cancel, f.filling = cancel, make(chan struct{})
	go f.fill(filling)
	return nil
}

// Stop ends the looking for what others committed. It is safe twice.
func (f *Feed) Stop() error {
	f.lifecycle.Lock()
	defer f.lifecycle.Unlock()
	if f.filling != nil {
		f.cancel()
		<-f.filling
	}
	return nil
}

// End is the position up to which everything has been handed on.
func (f *Feed) End() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.end
}

// Subscribe has every later commit handed to a function, in order and one at a time, and returns the
// position after which they begin. The function must not block, nor call the feed.
func (f *Feed) Subscribe(handle func(*Commit)) (after uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subscribers = append(f.subscribers, handle)
	return f.end
}

// Observe tells the feed of a commit: the positions it covers and what it came to. A worker calls it after
// each commit. It does not block, and keeps parts of the result, which must not change any more.
func (f *Feed) Observe(covered store.Range, result *aggregate.Result) {
	f.observe(&Commit{Covered: covered, Outcomes: result.Outcomes, States: result.States,
		Park: result.Park, Extend: result.Extend, Answers: result.Answers})
}

// ObservePart is Observe for a commit of another process, of which only what is wanted here is told: some of
// the outcomes that it covers. When others are wanted by the time it is handed on, which lacks tells, it is read
// from the log instead. After [Feed.Settle] every commit handed on has what lacks knows of.
func (f *Feed) ObservePart(covered store.Range, result *aggregate.Result, lacks func() bool) {
	f.observe(&Commit{Covered: covered, Outcomes: result.Outcomes, States: result.States,
		Park: result.Park, Extend: result.Extend, Answers: result.Answers, lacks: lacks})
}

// Doubt tells that commands may have been parked of which nothing is told.
func (f *Feed) Doubt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hand(&Commit{Covered: store.Range{First: f.end + 1, Last: f.end}, Doubt: true})
}

// Announce tells that there are outcomes up to a position of which nothing further will be told.
func (f *Feed) Announce(end uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fetch(end)
}

// Settle returns once no commit is being handed on that began to be before.
func (f *Feed) Settle() {
	f.mu.Lock()
	defer f.mu.Unlock() //nolint:staticcheck // having had the lock is all
}

func (f *Feed) observe(c *Commit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.Covered.First > f.end+1 {
		f.keepEarly(c)
		return
	}
	f.hand(c)
	f.handEarly()
}

// fetch has the log read up to a position without waiting.
func (f *Feed) fetch(end uint64) {
	f.let = max(f.let, end)
	if f.let <= f.end {
		return
	}
	select {
	case f.missing <- struct{}{}:
	default:
	}
}

// keepEarly has a commit wait for those below it.
func (f *Feed) keepEarly(c *Commit) {
	at := len(f.early)
	for at > 0 && f.early[at-1].Covered.First > c.Covered.First {
		at--
	}
	f.early = append(f.early, nil)
	copy(f.early[at+1:], f.early[at:])
	f.early[at] = c
	f.earlyBytes += heft(c)
	for len(f.early) > maxEarly || f.earlyBytes > f.config.KeepBytes {
		f.letGo()
	}
	select {
	case f.gap <- struct{}{}:
	default:
	}
}

// letGo keeps the newest of the commits that came early no longer. That something is parked may be told before
// what lies below: it is settled above.
func (f *Feed) letGo() {
	last := len(f.early) - 1
	c := f.early[last]
	f.early[last] = nil
	f.early = f.early[:last]
	f.earlyBytes -= heft(c)
	f.let = max(f.let, c.Covered.Last)
	f.handAside(c)
}

// handAside hands on what a commit says that is not in the log.
func (f *Feed) handAside(c *Commit) {
	if c.aside() {
		f.hand(&Commit{Covered: store.Range{First: f.end + 1, Last: f.end},
			Park: c.Park, Extend: c.Extend, Answers: c.Answers})
	}
}

// aside tells whether it says what is not in the log.
func (c *Commit) aside() bool { return len(c.Park)+len(c.Extend)+len(c.Answers) > 0 }

// handEarly hands on what waited and is next.
func (f *Feed) handEarly() {
	for len(f.early) > 0 && f.early[0].Covered.First <= f.end+1 {
		next := f.early[0]
		f.early[0] = nil
		f.early = f.early[1:]
		f.earlyBytes -= heft(next)
		f.hand(next)
	}
}

// whole tells whether all outcomes of the positions it covers are there.
func (c *Commit) whole() bool { return uint64(len(c.Outcomes)) == c.Covered.Last+1-c.Covered.First }

// hand hands a commit on. What has been read from the log meanwhile is taken off it.
func (f *Feed) hand(c *Commit) {
	whole := c.whole()
	if c.lacks != nil && c.Covered.Last > f.end && c.lacks() {
		if !whole {
			f.handAside(c)
			f.fetch(c.Covered.Last)
			return
		}
		stateless := *c
		stateless.States = nil
		c = &stateless
	}
	if known := f.end; c.Covered.First <= known && c.Covered.Last >= c.Covered.First {
		skip := len(c.Outcomes)
		for i, o := range c.Outcomes {
			if o.Position > known {
				skip = i
				break
			}
		}
		shorter := *c
		shorter.Covered.First = min(known, c.Covered.Last) + 1
		shorter.Outcomes = c.Outcomes[skip:]
		if c.States != nil {
			shorter.States = c.States[skip:]
		}
		c = &shorter
	}
	if c.Covered.Last < f.end && f.filled.any(c.Park, c.Extend) {
		waiting := *c
		waiting.Park, waiting.Extend = f.filled.without(c.Park), f.filled.without(c.Extend)
		c = &waiting
	}
	grows := c.Covered.Last > f.end
	if !grows && !c.Doubt && !c.aside() {
		return // the log has told all of it
	}
	if c.lacks != nil {
		f.filled.add(c.Outcomes)
	}
	f.end = max(f.end, c.Covered.Last)
	switch {
	case !grows:
	case whole:
		for _, o := range c.Outcomes {
			f.tail.add(o)
		}
	default:
		f.tail.begin(f.end)
	}
	for _, handle := range f.subscribers {
		handle(c)
	}
	if f.grown != nil && grows {
		close(f.grown)
		f.grown = nil
	}
}

// Await returns once something above the position has been handed on, or with the context's error.
func (f *Feed) Await(ctx context.Context, after uint64) error {
	f.mu.Lock()
	if f.end > after {
		f.mu.Unlock()
		return nil
	}
	if f.grown == nil {
		f.grown = make(chan struct{})
	}
	grown := f.grown
	f.mu.Unlock()
	select {
	case <-grown:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Read gives outcomes with positions above after, in order, limit at most, and none when there are none
// yet. It may give fewer than there are: go on after the last one.
func (f *Feed) Read(ctx context.Context, after uint64, limit int) ([]*commands.Outcome, error) {
	if limit <= 0 {
		return nil, nil
	}
	f.mu.Lock()
	kept, held := f.tail.after(after, limit)
	f.mu.Unlock()
	if held {
		return kept, nil
	}
	return f.pages.read(ctx, after, limit)
}
