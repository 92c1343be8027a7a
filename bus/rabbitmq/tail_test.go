package rabbitmq_test

import (
	"bytes"
	"context"
	"log/slog"
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

// listen gives what a tail's subscriber is told under the keys, once it is told anything.
func listen(t *testing.T, tail *rabbitmq.Tail, keys ...string) <-chan string {
	t.Helper()
	told := make(chan string, 1<<17)
	require.NoError(t, tail.Subscribe(t.Context(), append(keys, tail.Address()), func(body []byte) { told <- string(body) }))
	requireReached(t, tail, told)
	return told
}

// requireReached waits until the subscriber is told what is said to it alone, and forgets that.
func requireReached(t *testing.T, tail *rabbitmq.Tail, told <-chan string) {
	t.Helper()
	said := 0
	require.Eventually(t, func() bool {
		said++
		require.NoError(t, tail.Publish(tail.Address(), []byte("there "+strconv.Itoa(said))))
		select {
		case <-told:
			return true
		default:
			return false
		}
	}, patience, blink)
	require.NoError(t, tail.Publish(tail.Address(), []byte("over")))
	for got := range told {
		if got == "over" {
			return
		}
		require.Contains(t, got, "there ")
	}
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
	publisher, other := openTail(t, config), openTail(t, config)
	first, second := listen(t, other, "all"), listen(t, publisher, "all", "some")
	const n = 2000 // fits into what may wait
	for i := range n {
		require.NoError(t, publisher.Publish("all", []byte(strconv.Itoa(i))))
	}
	requireTold(t, first, sequence(0, n)...)
	requireTold(t, second, sequence(0, n)...)
	for _, key := range []string{"nobody's", "some", other.Address(), "all"} {
		require.NoError(t, publisher.Publish(key, []byte("to "+key)))
	}
	requireTold(t, first, "to "+other.Address(), "to all")
	requireTold(t, second, "to some", "to all")
}

func TestALostConnectionOfTheTailIsMadeAgain(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	config.MaxBackoff = 100 * time.Millisecond
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	through := config
	through.URL = proxy.URL()
	tail := openTail(t, through)
	told := listen(t, tail, "all")
	proxy.Cut()
	requireReached(t, tail, told)
	require.NoError(t, tail.Publish("all", []byte("a")))
	requireTold(t, told, "a")
}

// Promise 12: what cannot be sent does not pile up.
func TestWhatTheTailHasNoRoomForIsDropped(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	through := config
	through.URL = proxy.URL()
	dropped := &countedMetrics{}
	through.Metrics = dropped
	tail := openTail(t, through)
	told := listen(t, tail, "all")
	require.ErrorIs(t, tail.Publish("all", make([]byte, 16<<20+1)), bus.ErrFull)
	proxy.Block("low on memory")
	require.Eventually(t, func() bool { // until it has heard of that
		return tail.Publish("all", make([]byte, 9<<20)) != nil
	}, patience, blink)
	require.Positive(t, dropped.tailDropped.Load())
	proxy.Block("")
	require.Eventually(t, func() bool { return tail.Publish("all", []byte("a")) == nil }, patience, blink)
	for got := range told {
		if got == "a" {
			break
		}
	}
}

func TestASubscriptionToTheTailEndsWithItsContext(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	tail := openTail(t, config)
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan string, 8)
	require.NoError(t, tail.Subscribe(ctx, []string{"all"}, func(body []byte) { told <- string(body) }))
	cancel()
	other := listen(t, tail, "all")
	require.Eventually(t, func() bool {
		require.NoError(t, tail.Publish("all", []byte("a")))
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
	require.ErrorIs(t, tail.Publish("all", []byte("nobody hears")), bus.ErrClosed)
	require.ErrorIs(t, tail.Subscribe(t.Context(), nil, nil), bus.ErrClosed)
	_, err := rabbitmq.NewTail(rabbitmq.Config{})
	require.ErrorContains(t, err, "URL")
}

func TestLeavingIsNoTrouble(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	var log bytes.Buffer
	config.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	for range 20 {
		tail := openTail(t, config)
		listen(t, tail, "all")
		require.NoError(t, tail.Close())
	}
	require.Empty(t, log.String())
}
