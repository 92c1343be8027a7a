package rabbitmq_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/bustest"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	t.Parallel()
	const inFlight = 64
	bustest.Run(t, bustest.Suite{
		NackLosesOrder:    true,
		FullIsUnavailable: true,
		BoundSlack:        inFlight + 32, // what the broker is deciding on when it finds the queue full
		Open: func(t *testing.T, limits bustest.Limits) bustest.Bus {
			config := rabbitmqtest.Config(t)
			config.MaxMessages, config.Prefetch = limits.Messages, limits.Prefetch
			// A queue that two make at a time has no leader for a moment, which refuses what is published.
			config.Topics = lanes(bustest.Lanes)
			config.InFlight, config.MaxPending = inFlight, limits.Messages+2*inFlight+64
			return openBus(t, config)
		},
	})
}

func lanes(n int) []string {
	topics := make([]string, n)
	for i := range topics {
		topics[i] = bus.LaneTopic(i)
	}
	return topics
}

// openBus opens both ends, which the end of the test closes if it has not done so.
func openBus(t testing.TB, config rabbitmq.Config) bustest.Bus {
	return bustest.Bus{Publisher: openPublisher(t, config), Subscriber: openSubscriber(t, config)}
}

func openPublisher(t testing.TB, config rabbitmq.Config) *rabbitmq.Publisher {
	t.Helper()
	publisher, err := rabbitmq.NewPublisher(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, publisher.Close()) })
	return publisher
}

func openSubscriber(t testing.TB, config rabbitmq.Config) *rabbitmq.Subscriber {
	t.Helper()
	subscriber, err := rabbitmq.NewSubscriber(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, subscriber.Close()) })
	return subscriber
}
