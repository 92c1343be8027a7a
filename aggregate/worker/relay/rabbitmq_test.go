package relay_test

import (
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/worker/relay"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
	"github.com/ticketed/doorman/commands"
)

// patience is how long anything may take that is bound to happen, on a busy machine.
const patience = 2 * time.Minute

// onBroker is an owner that publishes to RabbitMQ.
func onBroker(t testing.TB, w *world, config rabbitmq.Config) *owner {
	t.Helper()
	exchanges, err := rabbitmq.NewExchanges(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, exchanges.Close()) })
	return newOwner(t, w, func(c *relay.Config) { c.Publisher, c.Drain = exchanges, patience })
}

// service is a queue of another service, bound to everything on some exchanges.
func service(t testing.TB, prefix string, exchanges ...string) (*amqp.Channel, string) {
	t.Helper()
	channel, err := rabbitmqtest.Connect(t).Channel()
	require.NoError(t, err)
	name := prefix + ".service"
	_, err = channel.QueueDeclare(name, true, false, false, false, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum})
	require.NoError(t, err)
	t.Cleanup(func() { rabbitmqtest.DeleteQueues(t, prefix, "service") })
	for _, exchange := range exchanges {
		require.NoError(t, channel.QueueBind(name, "#", prefix+"."+exchange, false, nil))
	}
	return channel, name
}

func TestOverRabbitMQWhoseConnectionsBreak(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	prefix := config.Prefix
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	config.URL = proxy.URL()
	w := newWorld()
	first := onBroker(t, w, config)
	channel, name := service(t, prefix, bus.EventsExchange)
	q := &queue{exchange: bus.EventsExchange, wants: everything}
	w.queues = append(w.queues, q)

	holder := first
	for round := range 4 {
		for i := range 200 {
			require.True(t, holder.commit(landing(streamOn(i%lanes, i%5), 1+i%3), rejection(streamOn(i%lanes, 0))))
		}
		proxy.Cut()
		if round == 2 { // the lanes go to another one, while the first goes on publishing
			holder = onBroker(t, w, config)
		}
	}
	require.NoError(t, holder.relay.Shutdown(t.Context()))
	require.NoError(t, first.relay.Shutdown(t.Context()))
	for {
		d, some, err := channel.Get(name, true)
		require.NoError(t, err)
		if !some {
			break
		}
		q.got = append(q.got, bus.Notice{RoutingKey: d.RoutingKey, MessageID: d.MessageId, Headers: d.Headers})
	}
	require.NoError(t, w.check(q))
}

// One event and its outcome for each command, in commits of 256, to a broker on the same machine.
func BenchmarkRelayToNobody(b *testing.B)       { benchmark(b) }
func BenchmarkRelayEventsToAQueue(b *testing.B) { benchmark(b, bus.EventsExchange) }
func BenchmarkRelayEverythingToAQueue(b *testing.B) {
	benchmark(b, bus.EventsExchange, bus.OutcomesExchange)
}

func benchmark(b *testing.B, bound ...string) {
	b.Helper()
	config := rabbitmqtest.Config(b)
	w := newWorld()
	o := onBroker(b, w, config)
	if len(bound) > 0 {
		service(b, config.Prefix, bound...)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += 256 {
		batch := make([]*commands.Outcome, 256)
		for i := range batch {
			batch[i] = landing(streamOn(i%lanes, i%7), 1)
		}
		o.commit(batch...)
		for o.relay.Behind() > 8*256 {
			time.Sleep(time.Millisecond)
		}
	}
	require.Eventually(b, func() bool { return o.relay.Behind() == 0 }, patience, time.Millisecond)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
	b.StopTimer()
	require.NoError(b, o.relay.Shutdown(b.Context()))
}
