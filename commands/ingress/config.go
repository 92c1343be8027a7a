package ingress

import (
	"context"
	"log/slog"
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
	"github.com/ticketed/doorman/commands/vetting"
	"github.com/ticketed/doorman/commands/wiring"
)

// Config is what an [Ingress] is made of. Its functions are called from several goroutines.
type Config struct {
	// Rules are those of the gateway. NewID may be nil, and Limits zero, for the defaults.
	Rules vetting.Rules

	// SendAll hands commands over to the bus and returns without waiting. done is called once for each with its
	// index, from any goroutine, also before SendAll returns: with nil once it is durable, and otherwise with the
	// reason; it does not block. The envelopes must not be changed and are SendAll's until then.
	SendAll func(envs []*commands.Envelope, done func(i int, err error))
	// Ready tells, without asking anybody, why nothing can be sent at the moment; nil when it can.
	Ready func() error

	// Bury keeps what was refused, all of it or nothing. It may be asked again after an error.
	Bury func(ctx context.Context, refused []Refused) error
	// Reply tells senders what was refused, and returns once the broker has said something of each: a queue that is
	// not there or does not take it is no error. It is not asked again after one.
	Reply func(ctx context.Context, replies []Reply) error
	// Reserved is how the names of queues begin that no answer may be sent to.
	Reserved string

	Metrics Metrics // may be nil
	// Now is the clock; time.Now by default.
	Now func() time.Time
	// Log tells when commands cannot be taken, and when they can again; nothing is told without it.
	Log *slog.Logger
}

// Refused is what is not accepted of a message: all of it, or one command of several.
type Refused struct {
	Message *commands.Message
	// Item is the place of the command in the message's array, from 0; Whole when it is not one of an array.
	Item    int
	Body    []byte // of what was refused, as much as was kept
	Size    int    // of it in all
	Problem *problem.Problem
	Cause   string // for an engineer, when something broke here
}

// Whole is the Item of what is not a part of an array.
const Whole = -1

// Reply is what goes back to the sender of something that was refused.
type Reply struct {
	To            string // the name of a queue
	MessageID     string // the same whenever the same is told of the same message
	CorrelationID string
	Problem       *problem.Problem
}

// Metrics are told what becomes of what comes. Their methods are called from several goroutines and must not block.
type Metrics interface {
	// Accepted: so many commands are durable.
	Accepted(commands int)
	// Refused: a command, or a whole message.
	Refused(code commands.Reason)
	// NotNow: a message could not be sent, and is kept to be tried again.
	NotNow()
}

type noMetrics struct{}

func (noMetrics) Accepted(int)            {}
func (noMetrics) Refused(commands.Reason) {}
func (noMetrics) NotNow()                 {}

func (c *Config) setDefaults() {
	if c.Rules.Limits == (commands.BodyLimits{}) {
		c.Rules.Limits = commands.DefaultBodyLimits
	}
	if c.Rules.NewID == nil {
		c.Rules.NewID = commands.NewID
	}
	if c.Metrics == nil {
		c.Metrics = noMetrics{}
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
	return wiring.Missing("ingress", map[string]bool{
		"Rules.Allows": c.Rules.Allows == nil, "SendAll": c.SendAll == nil, "Ready": c.Ready == nil, "Bury": c.Bury == nil,
		"Reply": c.Reply == nil, "Reserved": c.Reserved == "",
	})
}
