package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// Config is what an [API] is made of. Its functions are called from many goroutines.
type Config struct {
	// Reader tells where commands stand.
	Reader interface {
		Status(ctx context.Context, ids []commands.ID) ([]store.CommandStatus, error)
	}

	Epoch string // of the log that Reader reads

	// Send hands a command or an order to the bus. done is called once, with nil when it is durable there, and must
	// not block. Refusal says what an error of it means to who asked.
	Send    func(env *commands.Envelope, done func(error))
	Refusal func(error) commands.Reason

	// Register begins to wait for a command's outcome; false when no more can wait.
	Register func(id commands.ID) (Waiter, bool)
	// Tell makes the view of an outcome, a rejection with the stream as of this moment.
	Tell func(ctx context.Context, o *commands.Outcome) (commands.CommandView, error)

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
	var problems []error
	for _, part := range []struct {
		name    string
		missing bool
	}{
		{"Reader", c.Reader == nil},
		{"Epoch", c.Epoch == ""},
		{"Send", c.Send == nil},
		{"Refusal", c.Refusal == nil},
		{"Register", c.Register == nil},
		{"Tell", c.Tell == nil},
	} {
		if part.missing {
			problems = append(problems, errors.New("admin: "+part.name+" is not given"))
		}
	}
	return errors.Join(problems...)
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

// Mount adds the endpoints to a router. Other methods and addresses are for the router to turn away.
func (a *API) Mount(mux *http.ServeMux) {
	mux.HandleFunc("POST /admin/v1/parked/{id}/reject", a.guarded(a.rejectParked))
}
