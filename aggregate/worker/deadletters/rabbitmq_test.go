package deadletters_test

import (
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/sqlite"
	"github.com/ticketed/doorman/aggregate/worker/deadletters"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

// The queue that is bound to the exchange by us keeps letters though nobody listens; whoever binds one gets them too.
func TestLettersAreFoundOverRabbitMQThoughNobodyListened(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	exchanges, err := rabbitmq.NewExchanges(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, exchanges.Close()) })
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir(), Lanes: 1, Migrate: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	_, err = s.Bury(t.Context(), []store.DeadLetter{failed(), refused()})
	require.NoError(t, err)
	f, err := deadletters.New(deadletters.Config{Store: s, Publisher: exchanges})
	require.NoError(t, err)
	f.Start()
	t.Cleanup(func() { require.NoError(t, f.Shutdown(t.Context())) })

	channel, err := rabbitmqtest.Connect(t).Channel()
	require.NoError(t, err)
	next := func(queue string) amqp.Delivery {
		var d amqp.Delivery
		require.Eventually(t, func() bool {
			var some bool
			d, some, err = channel.Get(queue, true)
			return err == nil && some
		}, 30*time.Second, 5*time.Millisecond)
		return d
	}
	own := config.Prefix + "." + bus.DeadExchange
	var first amqp.Delivery
	require.Eventually(t, func() bool { // the queue may be about to be made
		if channel.IsClosed() {
			channel, err = rabbitmqtest.Connect(t).Channel()
			require.NoError(t, err)
		}
		var some bool
		first, some, err = channel.Get(own, true)
		return err == nil && some
	}, 30*time.Second, 5*time.Millisecond)
	require.Equal(t, "worker.failed", first.RoutingKey)
	require.EqualValues(t, 1, first.Headers["x-doorman-number"])
	require.NotContains(t, string(first.Body), "secret")
	require.Equal(t, amqp.Persistent, first.DeliveryMode)
	second := next(own)
	require.Equal(t, "amqp.malformed gzip text/plain m-1 c-2", second.RoutingKey+" "+second.ContentEncoding+" "+
		second.ContentType+" "+second.MessageId+" "+second.CorrelationId)

	bound, err := channel.QueueDeclare("", false, true, true, false, nil)
	require.NoError(t, err)
	require.NoError(t, channel.QueueBind(bound.Name, "worker.*", own, false, nil))
	_, err = s.Bury(t.Context(), []store.DeadLetter{refused(), failed()})
	require.NoError(t, err)
	f.Observe(store.Range{}, &aggregate.Result{Failures: []aggregate.Failure{{}}})
	require.Equal(t, "worker.failed", next(bound.Name).RoutingKey)
	require.Eventually(t, func() bool {
		untold, err := s.Untold(t.Context(), 10)
		require.NoError(t, err)
		return len(untold) == 0
	}, 30*time.Second, 5*time.Millisecond)
}
