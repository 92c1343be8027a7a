package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ticketed/doorman/commands"
)

// The defaults of SenderConfig.
const (
	DefaultMaxFrame        = 256
	DefaultMaxFrameBytes   = 1 << 20
	DefaultInFlight        = 4
	DefaultMaxPending      = 4096
	DefaultMaxPendingBytes = 16 << 20
)

// SenderConfig bounds a sender. Zero or less means the default, except for Lanes, which must be given.
type SenderConfig struct {
	Lanes int // into how many lanes streams are divided; the same everywhere in a deployment

	Via string // names this gateway to workers in other processes; nobody when empty

	MaxFrame      int // commands of a frame; 256 by default
	MaxFrameBytes int // of a frame, 1 MiB by default; a larger command travels in a frame of its own
	InFlight      int // frames of a lane handed over and not confirmed; 4 by default
	// Window bounds the frames of all lanes that are handed over and not confirmed, those without an answer for
	// longer than 100 ms aside; no bound by default. Beyond it frames fill: where a message costs the bus more than what
	// is in it, a small window has it carry more with less.
	Window int
	// FrameTime narrows the window to what a confirmation usually takes divided by it, 2 at least; not at all by default,
	// nor without a Window. Between these bounds about one frame leaves each FrameTime: a quick bus has few under way,
	// and these filled, and one that is far away, or busy with what others send, has enough under way not to wait.
	FrameTime time.Duration

	// What a lane holds from Send until its answer, beyond which it answers ErrFull. A lane that holds
	// nothing takes a command of any size.
	MaxPending      int // commands; 4,096 by default
	MaxPendingBytes int // encoded; 16 MiB by default
}

// Validate says everything that is wrong.
func (c *SenderConfig) Validate() error {
	if c.Lanes < 1 {
		return fmt.Errorf("sender: the number of lanes is %d and must be 1 or more", c.Lanes)
	}
	return nil
}

func (c *SenderConfig) setDefaults() {
	for _, setting := range []struct {
		value    *int
		fallback int
	}{
		{&c.MaxFrame, DefaultMaxFrame},
		{&c.MaxFrameBytes, DefaultMaxFrameBytes},
		{&c.InFlight, DefaultInFlight},
		{&c.MaxPending, DefaultMaxPending},
		{&c.MaxPendingBytes, DefaultMaxPendingBytes},
	} {
		if *setting.value <= 0 {
			*setting.value = setting.fallback
		}
	}
}

// Sender is the gateway's end of the bus. It puts the commands of a lane that arrive together into one
// frame, because what a bus costs, it costs per message: while the lane has fewer than InFlight frames
// under way a command leaves at once, else it leaves with all that came by then as soon as one of them is
// confirmed. So it is with the frames of all lanes together, where there is a Window. Nothing waits for a timer, so
// an idle bus adds no delay and a busy one fills its frames.
//
// Commands of one lane leave in the order of Send, and so do those of one stream. All methods may be
// called from many goroutines at once.
type Sender struct {
	config SenderConfig
	lanes  []*sendingLane
}

// NewSender makes a sender. The publisher stays the caller's: close it after the sender.
func NewSender(publisher Publisher, config SenderConfig) (*Sender, error) {
	if publisher == nil {
		return nil, errors.Join(errors.New("sender: there is no publisher"), config.Validate())
	}
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config.setDefaults()
	s := &Sender{config: config, lanes: make([]*sendingLane, config.Lanes)}
	shared := newWindow(&config)
	for i := range s.lanes {
		s.lanes[i] = &sendingLane{
			config: &s.config, publisher: publisher, window: shared, topic: LaneTopic(i), settled: make(chan struct{}),
		}
	}
	return s, nil
}

// Send takes a command, of which it keeps the address alone, for Withdraw. done is called exactly once, from any goroutine and
// possibly before Send returns: with nil when the command is durable, or with an error that matches one of
// the package's. All commands of a frame get the same answer. done must not block, and must not call
// Close.
func (s *Sender) Send(env *commands.Envelope, done func(error)) {
	lane := s.lanes[env.Stream.Lane(len(s.lanes))]
	if err := lane.send(env, done); err != nil {
		done(err)
	}
}

// SendAll takes an array of commands. done is called as that of Send, once for each with its index. On
// each lane they leave in array order, together where they fit. Once a lane refuses one of them it refuses
// those after it too, so that none waits for a predecessor of the same array that was never taken.
func (s *Sender) SendAll(envs []*commands.Envelope, done func(i int, err error)) {
	const sent = -1
	lanes := make([]int, len(envs))
	for i, env := range envs {
		lanes[i] = env.Stream.Lane(len(s.lanes))
	}
	own := make([]int, 0, len(envs)) // indexes of the commands on one lane
	for i, lane := range lanes {
		if lane == sent {
			continue
		}
		own = own[:0]
		for j := i; j < len(lanes); j++ {
			if lanes[j] == lane {
				own = append(own, j)
				lanes[j] = sent
			}
		}
		taken, err := s.lanes[lane].sendAll(envs, own, done)
		for _, j := range own[taken:] {
			done(j, err)
		}
	}
}

// Withdraw takes back those of the commands, by the addresses that were given to Send or SendAll, that wait
// for their turn and have not been handed to the bus. It answers each of them with ErrUnavailable before it
// returns: nothing was accepted, and nothing will be. All others it leaves alone.
func (s *Sender) Withdraw(envs ...*commands.Envelope) {
	byLane := map[*sendingLane]map[*commands.Envelope]bool{}
	for _, env := range envs {
		lane := s.lanes[env.Stream.Lane(len(s.lanes))]
		if byLane[lane] == nil {
			byLane[lane] = map[*commands.Envelope]bool{}
		}
		byLane[lane][env] = true
	}
	for lane, which := range byLane {
		lane.withdraw(which)
	}
}

// SendWait sends a command and waits until it is durable. When the context ends first the error matches
// ErrFateUnknown and the context's; when it has ended before, nothing is sent and the error is the
// context's alone.
func (s *Sender) SendWait(ctx context.Context, env *commands.Envelope) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	answer := make(chan error, 1)
	s.Send(env, func(err error) { answer <- err })
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrFateUnknown, context.Cause(ctx))
	}
}

// Pending is how many commands it holds: taken, and not answered yet.
func (s *Sender) Pending() int {
	total := 0
	for _, lane := range s.lanes {
		lane.mu.Lock()
		total += lane.pending
		lane.mu.Unlock()
	}
	return total
}

// Close refuses what is sent from now on with ErrClosed, and waits until everything taken before has left
// and been answered. When the context ends first it gives up and returns the context's error: what has not
// left is answered with ErrClosed, what has left with ErrFateUnknown. Either way every done has been
// called when it returns. It may be called again.
func (s *Sender) Close(ctx context.Context) error {
	for _, lane := range s.lanes {
		lane.close()
	}
	var cut error
	for _, lane := range s.lanes {
		select {
		case <-lane.settled:
			continue
		default:
		}
		if cut == nil {
			select {
			case <-lane.settled:
				continue
			case <-ctx.Done():
				cut = fmt.Errorf("close sender: %w", context.Cause(ctx))
			}
		}
		lane.abandon()
		<-lane.settled
	}
	return cut
}
