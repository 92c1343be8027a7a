package ingress_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/ingress"
	"github.com/ticketed/doorman/commands/vetting"
)

var (
	errAway = errors.New("away")
	errFull = errors.New("full")
)

// delivery is a message in hand, as a test sees it.
type delivery struct {
	message commands.Message
	lost    atomic.Bool
	settled chan struct{} // closed when it is; twice would panic
}

func (d *delivery) Message() *commands.Message { return &d.message }
func (d *delivery) Settle()                    { close(d.settled) }
func (d *delivery) Lost() bool                 { return d.lost.Load() }

func (d *delivery) isSettled() bool {
	select {
	case <-d.settled:
		return true
	default:
		return false
	}
}

// world is what an ingress stands in, each part to be changed by a test.
type world struct {
	ingress.Config
	t  testing.TB
	in *ingress.Ingress

	mu      sync.Mutex
	away    error                          // why nothing is ready
	take    func(*commands.Envelope) error // what the bus says; nil: it takes everything
	later   []func()                       // answers of the bus that a test gives when it wants to
	lagging bool                           // they are collected there
	sent    []commands.Envelope            // handed to the bus, as often as that was done
	buried  []ingress.Refused              // kept
	keeping func([]ingress.Refused) error  // nil: it is kept
	replies []ingress.Reply                // told
	telling func(context.Context) error    // nil: it is told
	counts  map[commands.Reason]int        // "" counts accepted commands
	notNow  int                            // messages that had to be kept
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, counts: map[commands.Reason]int{}}
	w.Config = ingress.Config{
		Rules: vetting.Rules{Allows: func(streamType string, policy commands.Policy, _ string) (bool, bool) {
			return streamType == "order", policy != commands.PolicyAny
		}},
		SendAll: w.sendAll, Ready: w.ready, Bury: w.bury, Reply: w.reply, Reserved: "doorman.", Metrics: w,
	}
	return w
}

// start makes the ingress; the end of the test stops it.
func (w *world) start() *world {
	w.t.Helper()
	in, err := ingress.New(w.Config)
	require.NoError(w.t, err)
	w.in = in
	in.Start()
	w.t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = in.Stop(ctx) // what is open is left open
	})
	return w
}

func (w *world) change(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

func (w *world) sendAll(envs []*commands.Envelope, done func(int, error)) {
	for i, env := range envs {
		w.mu.Lock()
		w.sent = append(w.sent, env.Clone())
		var err error
		if w.take != nil {
			err = w.take(env)
		}
		lag := w.lagging
		if lag {
			w.later = append(w.later, func() { done(i, err) })
		}
		w.mu.Unlock()
		if !lag {
			done(i, err)
		}
	}
}

func (w *world) ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.away
}

func (w *world) bury(_ context.Context, refused []ingress.Refused) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.keeping != nil {
		if err := w.keeping(refused); err != nil {
			return err
		}
	}
	w.buried = append(w.buried, refused...)
	return nil
}

func (w *world) reply(ctx context.Context, replies []ingress.Reply) error {
	w.mu.Lock()
	telling := w.telling
	w.mu.Unlock()
	if telling != nil {
		if err := telling(ctx); err != nil {
			return err
		}
	}
	w.change(func() { w.replies = append(w.replies, replies...) })
	return nil
}

func (w *world) Accepted(n int)               { w.change(func() { w.counts[""] += n }) }
func (w *world) Refused(code commands.Reason) { w.change(func() { w.counts[code]++ }) }
func (w *world) NotNow()                      { w.change(func() { w.notNow++ }) }

// give has messages taken together.
func (w *world) give(messages ...commands.Message) []*delivery {
	given := make([]*delivery, len(messages))
	taken := make([]ingress.Delivery, len(messages))
	for i, m := range messages {
		given[i] = &delivery{message: m, settled: make(chan struct{})}
		taken[i] = given[i]
	}
	w.in.Take(taken)
	return given
}

// settles waits until a message is settled.
func (w *world) settles(d *delivery) {
	w.t.Helper()
	select {
	case <-d.settled:
	case <-time.After(time.Minute):
		require.FailNow(w.t, "the message is not settled", "%s", d.message.Body)
	}
}

func (w *world) sentIDs() []commands.ID {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := make([]commands.ID, len(w.sent))
	for i := range w.sent {
		ids[i] = w.sent[i].ID
	}
	return ids
}

// codes are those of what was buried.
func (w *world) codes() []commands.Reason {
	w.mu.Lock()
	defer w.mu.Unlock()
	codes := make([]commands.Reason, len(w.buried))
	for i := range w.buried {
		codes[i] = w.buried[i].Problem.Code
	}
	return codes
}

const (
	first  = "0197c3a2-7b1e-7c44-9d1f-52d4a6b0c9e1"
	second = "0197c3a2-7b1e-7c44-9d1f-52d4a6b0c9e2"
	third  = "0197c3a2-7b1e-7c44-9d1f-52d4a6b0c9e3"
)

func id(t testing.TB, text string) commands.ID {
	t.Helper()
	parsed, ok := commands.ParseID(text)
	require.True(t, ok)
	return parsed
}

func command(id string) string {
	return fmt.Sprintf(`{"id":%q,"stream":"order/42","type":"submit","ticket":"genesis","actor":"Ann"}`, id)
}

func message(body string) commands.Message {
	return commands.Message{Body: []byte(body), Size: len(body), ReplyTo: "billing.answers", CorrelationID: "17"}
}

func with(m commands.Message, change func(*commands.Message)) commands.Message {
	m.Body = slices.Clone(m.Body)
	change(&m)
	return m
}
