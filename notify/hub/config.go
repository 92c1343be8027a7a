package hub

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/feed"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/wiring"
)

// Reader is what a hub needs of a store.Reader.
type Reader interface {
	Head(ctx context.Context, stream commands.Stream) (*store.Record, bool, error)
	Changes(ctx context.Context, stream commands.Stream, after uint64, limit int) ([]store.Change, error)
	Status(ctx context.Context, ids []commands.ID) ([]store.CommandStatus, error)
	WaitingOf(ctx context.Context, sessions []string, limit int) ([]store.CommandStatus, error)
	End(ctx context.Context) (uint64, error)
	Log(ctx context.Context, after uint64, limit int) ([]*commands.Outcome, error)
}

// Follow is what a hub needs of a feed.Feed.
type Follow interface {
	Subscribe(handle func(*feed.Commit)) (after uint64)
	Read(ctx context.Context, after uint64, limit int) ([]*commands.Outcome, error)
}

// States tells states, by the code of the types; each call is bounded in time by itself. What cannot be told
// just now, but later, is an error that matches store.ErrUnavailable.
type States interface {
	// StateOf is the state at the head of a record; nil before the first event.
	StateOf(ctx context.Context, record *store.Record) ([]byte, error)
	// StateAt is a stream's state as of a version; nil for version 0.
	StateAt(ctx context.Context, stream commands.Stream, version uint64) ([]byte, error)
	// Fold is the state after further events.
	Fold(ctx context.Context, stream commands.Stream, state []byte, events []commands.Event) ([]byte, error)
}

// Interest is told what is watched here, where the feed hands on no more than that of what other processes
// commit.
type Interest interface {
	// Watch returns when every commit that begins to be handed on has what concerns these. Unwatch ends one
	// Watch of the same that has returned.
	Watch(streams []commands.Stream, sessions []string)
	Unwatch(streams []commands.Stream, sessions []string)
}

// Metrics is told what the hub does.
type Metrics interface {
	// Told is called for each delivery with how many messages it had.
	Told(messages int)
	// Delay is how long ago the newest landing of a delivery had been received by a gateway.
	Delay(time.Duration)
	// Disconnected says why the hub ended a connection: slow, unavailable, stopping.
	Disconnected(why string)
}

// Config is what a hub needs.
type Config struct {
	Feed   Follow
	Reader Reader
	States States
	Epoch  string
	// Serves tells whether a stream type can be watched.
	Serves func(streamType string) bool
	// Tell fills a rejection in as of now.
	Tell func(context.Context, *commands.Outcome) (commands.CommandView, error)

	// MaxConnections at once; 16,384 by default.
	MaxConnections int
	// Openings are how many connections read the store to be opened at once; 4 a processor by default.
	// Further ones queue, as many as MaxConnections and for OpenWait at most, 10 s by default.
	Openings int
	OpenWait time.Duration
	// Beat is how often a connection gets a sign of life; 15 s by default.
	Beat time.Duration
	// MaxBehind is how many outcomes are read again for a connection that resumes; 250,000 by default. One
	// that is further behind and has sessions starts anew.
	MaxBehind int
	// TurnsPerSecond bounds how many deliveries are made a second when more are owed all the time; 40,000 by
	// default. What piles up is told together.
	TurnsPerSecond int
	// CPU is how much time of processors the process has used so far. While it uses more than half of them, an
	// eighth of the deliveries is made, so that many watchers of busy streams leave the processors to landing.
	// Without it they are not held back.
	CPU func() time.Duration

	// Interest may be nil: the feed hands on everything.
	Interest Interest
	Metrics  Metrics
	Log      *slog.Logger
}

type noMetrics struct{}

func (noMetrics) Told(int)            {}
func (noMetrics) Delay(time.Duration) {}
func (noMetrics) Disconnected(string) {}

func (c *Config) setDefaults() {
	setDefault(&c.MaxConnections, 1<<14)
	setDefault(&c.Openings, 4*runtime.GOMAXPROCS(0))
	setDefault(&c.OpenWait, 10*time.Second)
	setDefault(&c.Beat, 15*time.Second)
	setDefault(&c.MaxBehind, 250_000)
	setDefault(&c.TurnsPerSecond, 40_000)
	if c.Metrics == nil {
		c.Metrics = noMetrics{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Validate reports everything that is missing.
func (c *Config) Validate() error {
	return wiring.Missing("hub", map[string]bool{
		"Feed": c.Feed == nil, "Reader": c.Reader == nil, "States": c.States == nil, "Epoch": c.Epoch == "",
		"Serves": c.Serves == nil, "Tell": c.Tell == nil,
	})
}
