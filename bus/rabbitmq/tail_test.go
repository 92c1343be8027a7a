package rabbitmq_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

func openTail(t *testing.T, config rabbitmq.Config) *rabbitmq.Tail {
	t.Helper()
	tail, err := rabbitmq.NewTail(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tail.Close()) })
	return tail
}

// listen gives what a tail's subscriber is told; "lost" where something may have been missed.
func listen(t *testing.T, tail *rabbitmq.Tail) <-chan string {
	t.Helper()
	told := make(chan string, 1<<17)
	require.NoError(t, tail.Subscribe(t.Context(), func(body []byte) { told <- string(body) }, func() { told <- "lost" }))
	requireTold(t, told, "lost") // at the beginning
	return told
}

func requireTold(t *testing.T, told <-chan string, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got := <-told:
			require.Equal(t, w, got)
		case <-time.After(patience):
			require.FailNow(t, "nothing was told", "want %s", w)
		}
	}
}

func TestTheTailTellsEverySubscriberInOrder(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	publisher := openTail(t, config)
	first, second := listen(t, openTail(t, config)), listen(t, publisher)
	const n = 2000 // fits into what may wait
	for i := range n {
		publisher.Publish([]byte(strconv.Itoa(i)))
	}
	requireTold(t, first, sequence(0, n)...)
	requireTold(t, second, sequence(0, n)...)
}

func TestALostConnectionOfASubscriberIsTold(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	config.MaxBackoff = 100 * time.Millisecond
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	through := config
	through.URL = proxy.URL()
	publisher, told := openTail(t, config), listen(t, openTail(t, through))
	publisher.Publish([]byte("a"))
	requireTold(t, told, "a")
	proxy.Cut()
	requireTold(t, told, "lost")
	publisher.Publish([]byte("b"))
	requireTold(t, told, "lost", "b") // over this connection it does not know what came before
	publisher.Publish([]byte("c"))
	requireTold(t, told, "c")
}

func TestWhatAPublisherCouldNotSendIsMissed(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	config.MaxBackoff = 100 * time.Millisecond
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	through := config
	through.URL = proxy.URL()
	dropped := &countedMetrics{}
	through.Metrics = dropped
	publisher, told := openTail(t, through), listen(t, openTail(t, config))
	publisher.Publish([]byte("a"))
	requireTold(t, told, "a")

	proxy.Block("low on memory")
	require.Eventually(t, func() bool { // until it has heard of that
		publisher.Publish(make([]byte, 9<<20))
		return dropped.tailDropped.Load() > 0
	}, patience, blink)
	proxy.Block("")
	for got := range told {
		if got == "lost" {
			break
		}
	}
}

func TestTheLossOfTheLastWordIsNoticed(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	publisher, told := openTail(t, config), listen(t, openTail(t, config))
	publisher.Publish([]byte("a"))
	requireTold(t, told, "a")
	publisher.Publish(make([]byte, 16<<20+1)) // which cannot be sent at all
	requireTold(t, told, "lost")
	publisher.Publish([]byte("b"))
	requireTold(t, told, "b")
}

func TestASubscriptionToTheTailEndsWithItsContext(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	tail := openTail(t, config)
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan string, 8)
	require.NoError(t, tail.Subscribe(ctx, func(body []byte) { told <- string(body) }, func() { told <- "lost" }))
	requireTold(t, told, "lost")
	cancel()
	other := listen(t, tail)
	require.Eventually(t, func() bool {
		tail.Publish([]byte("a"))
		requireTold(t, other, "a")
		select {
		case <-told:
			return false
		default:
			return true
		}
	}, patience, blink)
	require.NoError(t, tail.Close())
	require.NoError(t, tail.Close())
	tail.Publish([]byte("nobody hears"))
	require.ErrorIs(t, tail.Subscribe(t.Context(), nil, nil), bus.ErrClosed)
	_, err := rabbitmq.NewTail(rabbitmq.Config{})
	require.ErrorContains(t, err, "URL")
}
