package rabbitmq_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

// countedMetrics counts what it is told.
type countedMetrics struct {
	reconnected, blocked, published, returned, refused, unavailable, full, fateUnknown atomic.Int64
	delivered, redelivered, inHand, announced, passedOver, tailDropped                 atomic.Int64
}

var _ rabbitmq.Metrics = (*countedMetrics)(nil)

func (m *countedMetrics) Reconnected(string) { m.reconnected.Add(1) }

func (m *countedMetrics) Blocked(_ string, blocked bool) {
	if blocked {
		m.blocked.Add(1)
	} else {
		m.blocked.Add(-1)
	}
}

func (m *countedMetrics) Published(took, confirm time.Duration) {
	if 0 < confirm && confirm <= took && took < time.Minute {
		m.published.Add(1)
	}
}

func (m *countedMetrics) PublishFailed(cause rabbitmq.Cause) {
	map[rabbitmq.Cause]*atomic.Int64{
		rabbitmq.CauseReturned: &m.returned, rabbitmq.CauseRefused: &m.refused, rabbitmq.CauseFull: &m.full,
		rabbitmq.CauseUnavailable: &m.unavailable, rabbitmq.CauseFateUnknown: &m.fateUnknown,
	}[cause].Add(1)
}

func (m *countedMetrics) Delivered(again bool) {
	m.delivered.Add(1)
	m.inHand.Add(1)
	if again {
		m.redelivered.Add(1)
	}
}

func (m *countedMetrics) Settled(n int)                    { m.inHand.Add(int64(-n)) }
func (m *countedMetrics) Announced(n int, _ time.Duration) { m.announced.Add(int64(n)) }
func (m *countedMetrics) PassedOver(n int)                 { m.passedOver.Add(int64(n)) }
func (m *countedMetrics) TailDropped()                     { m.tailDropped.Add(1) }

func TestMetricsAreToldOfWhatIsPublished(t *testing.T) {
	t.Parallel()
	told := &countedMetrics{}
	publisher, proxy, config := proxied(t, func(c *rabbitmq.Config) {
		c.Metrics, c.MaxMessages, c.MaxPending, c.InFlight = told, 2, 3, 1
	})
	require.NoError(t, publisher.Publish(topic, numbered(0)))
	require.EqualValues(t, 1, told.published.Load())
	rabbitmqtest.DeleteQueues(t, config.Prefix, topic)
	require.Error(t, publisher.Publish(topic, numbered(1)))
	require.EqualValues(t, 1, told.returned.Load())
	for told.refused.Load() == 0 {
		_ = publisher.Publish(topic, numbered(2))
	}

	proxy.Mute(true)
	before := proxy.Heard()
	answers := publishAsync(publisher, 4)
	require.Error(t, <-answers[3])
	require.EqualValues(t, 1, told.full.Load())
	require.Eventually(t, func() bool { return proxy.Heard() > before }, patience, blink, "one is written")
	proxy.Block("low on memory")
	require.Error(t, <-answers[2])
	require.EqualValues(t, 1, told.blocked.Load())
	require.EqualValues(t, 2, told.unavailable.Load())
	proxy.Cut()
	require.Error(t, <-answers[0])
	require.EqualValues(t, 1, told.fateUnknown.Load())
	proxy.Mute(false)
	require.Eventually(t, func() bool { return told.reconnected.Load() == 1 }, patience, blink)
	require.Zero(t, told.blocked.Load(), "a new connection is not blocked")
}

func TestMetricsAreToldOfWhatIsDelivered(t *testing.T) {
	t.Parallel()
	told := &countedMetrics{}
	config := rabbitmqtest.Config(t)
	config.MaxBackoff = 100 * time.Millisecond
	publisher := openPublisher(t, config)
	for i := range 3 {
		require.NoError(t, publisher.Publish(topic, numbered(i)))
	}
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	config.URL, config.Metrics = proxy.URL(), told
	messages, err := openSubscriber(t, config).Subscribe(t.Context(), topic)
	require.NoError(t, err)
	got := take(t, messages, 3)
	require.EqualValues(t, 3, told.inHand.Load())
	got[0].Ack()
	<-got[0].Context().Done()
	require.Eventually(t, func() bool { return told.inHand.Load() == 2 }, patience, blink)
	require.Zero(t, told.redelivered.Load())
	proxy.Cut()
	<-got[2].Context().Done()
	again := take(t, messages, 2)
	require.GreaterOrEqual(t, told.redelivered.Load(), int64(2))
	require.Eventually(t, func() bool { return told.reconnected.Load() == 1 }, patience, blink)
	ackAll(again)
	require.Eventually(t, func() bool {
		select {
		case m := <-messages: // the acknowledgement of the first may have been lost with the connection
			m.Ack()
		default:
		}
		return told.inHand.Load() == 0
	}, patience, blink)
}
