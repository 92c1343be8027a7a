package worker_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/worker"
	"github.com/ticketed/doorman/bus/frame"
	"github.com/ticketed/doorman/commands"
)

// byHand is a subscriber whose messages the test hands over.
type byHand chan *message.Message

func (b byHand) Subscribe(context.Context, string) (<-chan *message.Message, error) { return b, nil }
func (b byHand) Close() error                                                       { return nil }

// deliver hands one command over in a frame; what is returned takes it back to the bus.
func (b byHand) deliver(env commands.Envelope) (*message.Message, context.CancelFunc) {
	m := message.NewMessage("m", frame.Append(nil, &env))
	ctx, takeBack := context.WithCancel(context.Background())
	m.SetContext(ctx)
	b <- m
	return m, takeBack
}

// A frame whose connection is lost comes again, perhaps to another worker; the copy that was not judged yet is
// nobody's business any more.
func TestWhatWentBackToTheBusIsNotJudged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		m := newMemory(1)
		m.before = func(*store.Batch) (error, bool) {
			if away.Load() {
				return fmt.Errorf("%w: it is away", store.ErrUnavailable), false
			}
			return nil, false
		}
		messages := make(byHand)
		r := start(t, m, func(c *worker.Config) { c.Subscriber = messages })
		away.Store(true)
		// The first one is judged, and undone again and again; the others wait.
		first, _ := messages.deliver(command(1, "a", "add", commands.Genesis))
		synctest.Wait()
		_, takeBack := messages.deliver(command(2, "b", "add", commands.Genesis))
		_, takeBackToo := messages.deliver(command(3, "c", "add", commands.Genesis))
		synctest.Wait()
		takeBack()
		takeBackToo()
		away.Store(false)
		<-first.Acked()
		require.Equal(t, "landed@1", r.outcome(id(1)))

		second, _ := messages.deliver(command(4, "a", "add", id(1)))
		<-second.Acked()
		require.Equal(t, "landed@2", r.outcome(id(4)))
		require.Empty(t, r.outcome(id(2)))
		require.Empty(t, r.outcome(id(3)))

		again, _ := messages.deliver(command(2, "b", "add", commands.Genesis))
		<-again.Acked()
		require.Equal(t, "landed@1", r.outcome(id(2)))
	})
}
