package intake

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/vetting"
	"github.com/ticketed/doorman/commands/wiring"
)

// Config is what an [Intake] is made of. Its functions are called from many goroutines.
type Config struct {
	// Allows tells whether a stream type is served, and whether its command may be sent with the
	// policy.
	Allows func(streamType string, policy commands.Policy, command string) (known, allowed bool)

	// Send hands a command over to the bus and returns without waiting. done is called exactly once,
	// from any goroutine, also before Send returns: with nil once the command is durable, else with what Refusal explains. The
	// envelope must not be changed and is Send's until then. Commands of one stream sent one after
	// another keep their order as far as the bus can.
	Send func(env *commands.Envelope, done func(error))
	// SendAll is Send for the commands of an array: done is called once for each, with its index. Once
	// one of a stream is refused, so are those of that stream after it.
	SendAll func(envs []*commands.Envelope, done func(i int, err error))
	// Withdraw takes back those of the envelopes given to Send or SendAll that have not been handed to the
	// bus, and calls done for each before it returns, with an error that says so. May be nil: nothing can
	// be taken back.
	Withdraw func(envs ...*commands.Envelope)
	// Ready tells, without asking anybody, whether what judges commands is known to be away; nothing is
	// handed over then. May be nil: it is never known.
	Ready func() error
	// Refusal says what an error of Send means to the client: [commands.Unavailable],
	// [commands.RateLimited] or, where the command may have been accepted, [commands.FateUnknown].
	Refusal func(error) commands.Reason

	// Register begins to wait for a command's outcome; false when no more can wait.
	Register func(id commands.ID, hash commands.Hash) (Waiter, bool)
	// Mark and Conflicted tell, without waiting, whether a command sent after the mark was answered
	// that its id belongs to another command, as far as that is known here.
	Mark       func() uint64
	Conflicted func(mark uint64, id commands.ID, hash commands.Hash) bool

	// Tell makes the view of an outcome, a rejection with the stream as of this moment.
	Tell func(ctx context.Context, o *commands.Outcome) (commands.CommandView, error)

	// Limits bound a body; [commands.DefaultBodyLimits] by default.
	Limits commands.BodyLimits
	// AcceptWithin is how long the bus may take to confirm a command before its fate is called
	// unknown; 10 s by default.
	AcceptWithin time.Duration
	// MemoryInFlight bounds, in bytes, what all requests under way hold together; 64 MiB by default.
	MemoryInFlight int64

	// Now and NewID are the clock and the maker of ids for commands sent without one.
	Now   func() time.Time
	NewID func() commands.ID
	// Log tells of outcomes that could not be told; nothing is told without it.
	Log *slog.Logger
}

// Waiter waits for the outcome of one command. It is used by one goroutine, until Close.
type Waiter interface {
	// Told is what is known by now: the outcome, that the id is another command's, or neither.
	Told() (outcome *commands.Outcome, conflict bool)
	// Wait waits until one of them is known, or ends with an error, at the latest when the context
	// does.
	Wait(ctx context.Context) (outcome *commands.Outcome, conflict bool, err error)
	// Close ends the waiting.
	Close()
}

func (c *Config) setDefaults() {
	if c.Limits == (commands.BodyLimits{}) {
		c.Limits = commands.DefaultBodyLimits
	}
	if c.AcceptWithin <= 0 {
		c.AcceptWithin = 10 * time.Second
	}
	if c.MemoryInFlight <= 0 {
		c.MemoryInFlight = 64 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.NewID == nil {
		c.NewID = commands.NewID
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Validate reports everything that is missing.
func (c *Config) Validate() error {
	return wiring.Missing("intake", map[string]bool{
		"Allows": c.Allows == nil, "Send": c.Send == nil, "SendAll": c.SendAll == nil, "Refusal": c.Refusal == nil,
		"Register": c.Register == nil, "Mark": c.Mark == nil, "Conflicted": c.Conflicted == nil, "Tell": c.Tell == nil,
	})
}

// Intake is the endpoint POST /v1/commands.
type Intake struct {
	config   Config
	rules    vetting.Rules
	requests sync.Pool
	overdue  overdue
	memory   atomic.Int64 // held by requests under way, in bytes
}

var _ http.Handler = (*Intake)(nil)

// New makes the endpoint.
func New(config Config) (*Intake, error) {
	config.setDefaults()
	if err := config.Validate(); err != nil {
		return nil, err
	}
	in := &Intake{config: config, rules: vetting.Rules{Allows: config.Allows, Limits: config.Limits, NewID: config.NewID},
		overdue: overdue{within: config.AcceptWithin}}
	in.requests.New = func() any { return newRequest() }
	return in, nil
}

// ServeHTTP takes one POST. The method is for the router to check.
func (in *Intake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req := in.requests.Get().(*request)
	whole := false // else it panics, and its state is not used again
	defer func() {
		in.memory.Add(-req.held)
		if whole && !req.abandoned {
			req.reset()
			in.requests.Put(req)
		}
	}()
	if refused := in.receive(req, r); refused != nil {
		refuse(w, refused)
	} else {
		in.send(req)
		in.settle(r.Context(), req)
		in.answer(r.Context(), w, req)
	}
	whole = true
}
