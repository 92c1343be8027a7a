package inproc_test

import (
	"context"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus/inproc"
)

// Watermill's own suite for publishers and subscribers. What of it does not apply:
//
//   - It publishes before it subscribes and expects Publish to return, so it runs with ConfirmQueued and
//     room for its 10,000 messages.
//   - TestNoAck wants nothing delivered while one message is unacknowledged: that is a prefetch of one. It
//     runs with that, and is left out where the default prefetch is under test.
//   - TestConsumerGroups: a topic is one work queue, there are no groups.
//   - TestNewSubscriberReceivesOldMessages: what has been acknowledged is gone.
//   - TestReconnect: there is no server to restart.
//
// The suite runs once promising exactly-once delivery, which holds while nobody nacks or leaves and makes
// it strict about repeats, and once without, which adds its tests of leaving and coming back.

func TestWatermillSuiteWithoutRepeats(t *testing.T) {
	t.Parallel()
	runWatermillSuite(t, inproc.Config{Prefetch: 1}, tests.Features{
		ExactlyOnceDelivery: true, GuaranteedOrder: true, GuaranteedOrderWithSingleSubscriber: true, Persistent: true,
	})
}

func TestWatermillSuite(t *testing.T) {
	t.Parallel()
	runWatermillSuite(t, inproc.Config{Prefetch: 1}, tests.Features{
		GuaranteedOrder: true, GuaranteedOrderWithSingleSubscriber: true, Persistent: true,
	})
}

func TestWatermillSuiteWithManyUnacknowledged(t *testing.T) {
	t.Parallel()
	features := tests.Features{Persistent: true} // a guaranteed order would bring TestNoAck with it
	runWatermillSuite(t, inproc.Config{}, features)

	t.Run("TestPublishSubscribeInOrder", func(t *testing.T) {
		t.Parallel()
		features.GuaranteedOrder, features.GuaranteedOrderWithSingleSubscriber = true, true
		tests.TestPublishSubscribeInOrder(t, tests.TestContext{TestID: tests.NewTestID(), Features: features},
			clientsOf(t, inproc.Config{}))
	})
}

func runWatermillSuite(t *testing.T, config inproc.Config, features tests.Features) {
	tests.TestPubSub(t, features, clientsOf(t, config), nil)
}

// clientsOf makes a bus that outlives its clients, as the suite expects of what it calls persistent, and
// gives the constructor of clients.
func clientsOf(t *testing.T, config inproc.Config) tests.PubSubConstructor {
	config.MaxMessages, config.Confirm = 20_000, inproc.ConfirmQueued
	b := inproc.New(config)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return func(*testing.T) (message.Publisher, message.Subscriber) {
		s := &subscriber{bus: b}
		s.ctx, s.leave = context.WithCancel(context.Background())
		return publisher{b}, s
	}
}

// publisher is one user's end of a shared bus; closing it leaves the bus open.
type publisher struct{ *inproc.Bus }

func (publisher) Close() error { return nil }

// subscriber is one user's end of a shared bus; closing it ends its own subscriptions only.
type subscriber struct {
	bus   *inproc.Bus
	ctx   context.Context
	leave context.CancelFunc
	open  sync.WaitGroup
}

func (s *subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(s.ctx, cancel)
	messages, err := s.bus.Subscribe(ctx, topic)
	if err != nil {
		cancel()
		return nil, err
	}
	out := make(chan *message.Message)
	s.open.Go(func() {
		defer close(out)
		defer cancel()
		defer unhook()
		for m := range messages {
			select {
			case out <- m:
			case <-ctx.Done():
			}
		}
	})
	return out, nil
}

func (s *subscriber) Close() error {
	s.leave()
	s.open.Wait()
	return nil
}
