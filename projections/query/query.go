package query

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/wiring"
)

// Config is what a [Query] is made of. Its functions are called from many goroutines.
type Config struct {
	Reader store.Reader
	Epoch  string // of the log that Reader reads
	// Type finds a served type by its name.
	Type func(name string) (aggregate.Type, bool)
	// Register begins to wait for a command's outcome; false when no more can wait.
	Register func(id commands.ID) (Waiter, bool)
	// Watch begins to wait for a stream to change; false when no more can wait.
	Watch func(stream commands.Stream) (StreamWaiter, bool)
	// Catalog is what GET /v1/streams tells of; without it that is 404.
	Catalog Catalog
	// Limits are what GET /v1/limits tells.
	Limits commands.LimitsView
	// CodeTime is how long the code of a type may take to fold what one read needs at a time, before its
	// goroutine is left behind; 2 s by default.
	CodeTime time.Duration
	// Log tells of reads that failed; nothing is told without it.
	Log *slog.Logger
}

// Waiter waits for the outcome of one command. It is used by one goroutine, until Close.
type Waiter interface {
	// Wait waits until the outcome is known, or ends with an error, at the latest when the context
	// does. conflict is for who sent the command and never true here.
	Wait(ctx context.Context) (outcome *commands.Outcome, conflict bool, err error)
	// Close ends the waiting.
	Close()
}

// StreamWaiter waits for one stream to change. It is used by one goroutine, until Close.
type StreamWaiter interface {
	// Changed waits until something may have landed since Watch or since it returned last, or ends
	// with an error, at the latest when the context does.
	Changed(ctx context.Context) error
	// Close ends the waiting.
	Close()
}

// Validate reports everything that is missing.
func (c *Config) Validate() error {
	return wiring.Missing("query", map[string]bool{
		"Reader": c.Reader == nil, "Epoch": c.Epoch == "", "Type": c.Type == nil, "Register": c.Register == nil,
		"Watch": c.Watch == nil,
	})
}

// Query is the reading half of the API.
type Query struct {
	config Config
	limits []byte // the answer of GET /v1/limits
	bodies sync.Pool
	folds  folds
}

// New makes the endpoints.
func New(config Config) (*Query, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.CodeTime <= 0 {
		config.CodeTime = defaultCodeTime
	}
	limits, err := json.Marshal(config.Limits)
	if err != nil {
		return nil, err
	}
	q := &Query{config: config, limits: limits}
	q.folds.within, q.folds.byType = config.CodeTime, map[string]*typeFolds{}
	q.bodies.New = func() any { return new([]byte) }
	return q, nil
}

// Mount adds the endpoints to a router. Each takes HEAD besides GET; other methods and addresses are for
// the router to turn away.
func (q *Query) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/commands/{id}", q.answerTo(q.getCommand))
	mux.HandleFunc("GET /v1/commands", q.answerTo(q.getCommands))
	mux.HandleFunc("GET /v1/streams", q.answerTo(q.getStreams))
	mux.HandleFunc("GET /v1/streams/{type}/{id}", q.answerTo(q.getStream))
	mux.HandleFunc("GET /v1/streams/{type}/{id}/events", q.answerTo(q.getChanges))
	mux.HandleFunc("GET /v1/limits", q.answerTo(q.getLimits))
}
