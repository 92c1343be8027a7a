package rabbitmq_test

import (
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

func TestAnOfferTellsWhetherAnyQueueWantsIt(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	e := openExchanges(t, config)
	offer := func(n int, key string) bool {
		wanted, err := e.Offer(t.Context(), notices(n, n+1, key)[0])
		require.NoError(t, err)
		return wanted
	}
	for n := range 100 {
		require.False(t, offer(n, "order.line_added"))
	}
	channel, queue := foreign(t, config, "order.*", amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum})
	for n := 100; n < 200; n += 2 {
		require.True(t, offer(n, "order.line_added"))
		require.False(t, offer(n+1, "document.patched"))
		require.NoError(t, e.Publish(t.Context(), notices(n+1, n+2, "order.line_added")))
	}
	require.Equal(t, sequence(100, 200), drain(t, channel, queue, 100))
}

func TestAnOfferOutlivesItsConnection(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	config.URL = proxy.URL()
	e := openExchanges(t, config)
	for range 3 {
		proxy.Cut()
		wanted, err := e.Offer(t.Context(), notices(0, 1, "order.line_added")[0])
		require.NoError(t, err)
		require.False(t, wanted)
	}
}

func TestWhatAQueueRefusesIsWantedAllTheSame(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	config.RefusalPatience = 300 * time.Millisecond
	e := openExchanges(t, config)
	foreign(t, config, "order.*", amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"})
	require.NoError(t, e.Publish(t.Context(), notices(0, 1, "order.line_added")), "it is full now")
	wanted, err := e.Offer(t.Context(), notices(1, 2, "order.line_added")[0])
	require.NoError(t, err)
	require.True(t, wanted)
}
