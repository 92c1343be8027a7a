package admin

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/wiring"
)

// Config is what an [API] is made of. Its functions are called from many goroutines.
type Config struct {
	// Store keeps dead letters, and tells what is parked and where commands and streams stand.
	Store interface {
		store.DeadLetters
		store.ParkedList
		Status(ctx context.Context, ids []commands.ID) ([]store.CommandStatus, error)
		Head(ctx context.Context, stream commands.Stream) (record *store.Record, ok bool, err error)
	}
	Epoch string // of the store's log

	// Send hands a command or an order to the bus. done is called once, with nil when it is durable there, and must
	// not block. Refusal says what an error of it means to who asked.
	Send    func(env *commands.Envelope, done func(error))
	Refusal func(error) commands.Reason

	// Register begins to wait for a command's outcome; false when no more can wait.
	Register func(id commands.ID) (Waiter, bool)
	// Tell makes the view of an outcome, a rejection with the stream as of this moment.
	Tell func(ctx context.Context, o *commands.Outcome) (commands.CommandView, error)

	// Submit takes a refused message of another service in again, by the rules for such messages, and tells the id
	// of its command; fallback is that of a command for which the message has none. The error is a *problem.Problem
	// when it is refused again. Without it such messages cannot be retried.
	Submit func(ctx context.Context, m *store.Message, fallback commands.ID) (commands.ID, error)

	// Hosts are names by which the listener may be asked, besides those that no page of the web can have.
	Hosts []string
	// Within is how long who asked waits for what comes of it; 10 s by default.
	Within time.Duration

	Now func() time.Time
	// Log tells of what was decided, and of what could not be answered; nothing is told without it.
	Log *slog.Logger
}

// Waiter waits for the outcome of one command. It is used by one goroutine, until Close.
type Waiter interface {
	// Wait waits until the outcome is known, or ends with an error, at the latest when the context does. conflict
	// is for who sent the command and never true here.
	Wait(ctx context.Context) (outcome *commands.Outcome, conflict bool, err error)
	// Close ends the waiting.
	Close()
}

func (c *Config) setDefaults() {
	if c.Within <= 0 {
		c.Within = 10 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Validate reports everything that is missing.
func (c *Config) Validate() error {
	return wiring.Missing("admin", map[string]bool{
		"Store": c.Store == nil, "Epoch": c.Epoch == "", "Send": c.Send == nil, "Refusal": c.Refusal == nil,
		"Register": c.Register == nil, "Tell": c.Tell == nil,
	})
}

// API is the operators' endpoints.
type API struct{ config Config }

// New makes the endpoints.
func New(config Config) (*API, error) {
	config.setDefaults()
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &API{config: config}, nil
}

// Mount adds the endpoints to a router. Each GET takes HEAD too; other methods and addresses are for the router to
// turn away.
func (a *API) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /admin/v1/dead", a.guarded(a.listDead))
	mux.HandleFunc("GET /admin/v1/dead/{n}", a.guarded(a.getDead))
	mux.HandleFunc("POST /admin/v1/dead/{n}/retry", a.guarded(a.retry))
	mux.HandleFunc("POST /admin/v1/dead/{n}/discard", a.guarded(a.discard))
	mux.HandleFunc("GET /admin/v1/parked", a.guarded(a.listParked))
	mux.HandleFunc("GET /admin/v1/parked/{id}", a.guarded(a.getParked))
	mux.HandleFunc("POST /admin/v1/parked/{id}/reject", a.guarded(a.rejectParked))
}
