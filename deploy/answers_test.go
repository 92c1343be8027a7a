package deploy

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/ingress"
	"github.com/ticketed/doorman/commands/problem"
)

// postman delivers to queues that do what is said here, and remembers what was tried. It counts what is given up.
type postman struct {
	does map[string]func() bus.Receipt

	mu    sync.Mutex
	tried []string
	over  float64
}

func (p *postman) Add(n float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over += n
}

// soFar is what was tried, and how much given up.
func (p *postman) soFar() (tried []string, givenUp float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.tried), p.over
}

func (p *postman) Deliver(ctx context.Context, notices []bus.Notice, within time.Duration) ([]bus.Receipt, error) {
	receipts := make([]bus.Receipt, len(notices))
	silent := false
	p.mu.Lock()
	for i, n := range notices {
		p.tried = append(p.tried, n.RoutingKey)
		receipts[i] = p.does[n.RoutingKey]()
		silent = silent || receipts[i] == bus.Unanswered
	}
	p.mu.Unlock()
	if silent {
		time.Sleep(within)
	}
	return receipts, ctx.Err()
}

func receipt(r bus.Receipt) func() bus.Receipt { return func() bus.Receipt { return r } }

func answering(t *testing.T, p *postman) *answers {
	t.Helper()
	a := &answers{publisher: p, givenUp: p, log: slog.New(slog.DiscardHandler)}
	a.start()
	t.Cleanup(a.trying.end)
	return a
}

func answersTo(queues ...string) []ingress.Reply {
	list := make([]ingress.Reply, len(queues))
	for i, queue := range queues {
		list[i] = ingress.Reply{To: queue, MessageID: fmt.Sprint(i), Problem: problem.New(commands.Malformed, "")}
	}
	return list
}

// A queue without a leader says nothing at all: everybody else waits for a moment only.
func TestAQueueThatSaysNothingStopsNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &postman{does: map[string]func() bus.Receipt{
			"silent": receipt(bus.Unanswered), "full": receipt(bus.Refused), "gone": receipt(bus.Unrouted), "open": receipt(bus.Taken),
		}}
		a := answering(t, p)
		began := time.Now()
		require.NoError(t, a.reply(t.Context(), answersTo("silent", "full", "gone", "open")))
		require.Equal(t, answerSoon, time.Since(began))
		tried, _ := p.soFar()
		require.Equal(t, []string{"silent", "full", "gone", "open"}, tried)

		time.Sleep(answerPatience + 2*answerPause + 2*answerSoon)
		tried, givenUp := p.soFar()
		require.Subset(t, tried[4:], []string{"silent", "full"})
		require.NotContains(t, tried[4:], "gone", "it will not be there the next time either")
		require.NotContains(t, tried[4:], "open", "it has been told")
		require.EqualValues(t, 2, givenUp)
		time.Sleep(time.Minute)
		later, _ := p.soFar()
		require.Equal(t, tried, later, "it is tried for ten seconds and no longer")
	})
}

func TestAnAnswerArrivesOnceItsQueueTakesIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		free := time.Now().Add(answerPatience / 2)
		p := &postman{does: map[string]func() bus.Receipt{"full": func() bus.Receipt {
			if time.Now().Before(free) {
				return bus.Refused
			}
			return bus.Taken
		}}}
		a := answering(t, p)
		require.NoError(t, a.reply(t.Context(), answersTo("full")))
		time.Sleep(2 * answerPatience)
		tried, givenUp := p.soFar()
		require.Len(t, tried, 1+int(answerPatience/2/answerPause))
		require.Zero(t, givenUp)
	})
}

func TestAnswersThatWaitAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &postman{does: map[string]func() bus.Receipt{"full": receipt(bus.Refused)}}
		a := answering(t, p)
		queues := make([]string, 3*answersAgain)
		for i := range queues {
			queues[i] = "full"
		}
		require.NoError(t, a.reply(t.Context(), answersTo(queues...)))
		_, givenUp := p.soFar()
		require.GreaterOrEqual(t, givenUp, float64(answersAgain))
		time.Sleep(2 * answerPatience)
		_, givenUp = p.soFar()
		require.EqualValues(t, len(queues), givenUp)
	})
}
