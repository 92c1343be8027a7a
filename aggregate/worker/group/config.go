package group

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Worker is what works the lanes: worker.Worker is one.
type Worker interface {
	// Start returns once it holds its lanes. When it fails, or the context ends first, nothing is left running.
	Start(ctx context.Context) error
	// Shutdown stops it, and cuts off what has not ended when the context does.
	Shutdown(ctx context.Context) error
	// Ready tells why it works at nothing at the moment; nil when it does.
	Ready() error
}

// Config is what a runner needs. Members, Lanes and Make are required.
type Config struct {
	Members Members
	Name    string // of this process, for people to read
	Lanes   int    // in all

	// Make makes the worker for these lanes; it is started here. One that is fenced, or would have to take
	// its lanes again for another reason, calls fenced and leaves them alone.
	Make func(lanes []int, fenced func()) (Worker, error)

	Log      *slog.Logger
	Every    time.Duration // between renewals; 750 ms by default, so that a killed one's lanes are taken within 5 s
	Handover time.Duration // how long a worker may go on committing when its lanes change; 2 s by default
	Goodbye  time.Duration // how long it may when the runner stops; 30 s by default
}

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	for field, value := range map[*time.Duration]time.Duration{
		&c.Every: 750 * time.Millisecond, &c.Handover: 2 * time.Second, &c.Goodbye: 30 * time.Second,
	} {
		if *field == 0 {
			*field = value
		}
	}
}

// Validate reports everything that is missing or out of bounds at once.
func (c *Config) Validate() error {
	var problems []error
	if c.Members == nil {
		problems = append(problems, errors.New("group: Members is required"))
	}
	if c.Make == nil {
		problems = append(problems, errors.New("group: Make is required"))
	}
	if c.Lanes < 1 {
		problems = append(problems, fmt.Errorf("group: Lanes is %d, 1 at least", c.Lanes))
	}
	if c.Every < time.Millisecond || c.Every > Lapse/4 { // several attempts before it lapses
		problems = append(problems, fmt.Errorf("group: Every is %s, 1 ms to %s", c.Every, Lapse/4))
	}
	if c.Handover < 0 || c.Goodbye < 0 {
		problems = append(problems, fmt.Errorf("group: Handover is %s and Goodbye %s, 0 at least", c.Handover, c.Goodbye))
	}
	return errors.Join(problems...)
}
