package deploy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus/rabbitmq"
)

func TestTheBusIsShown(t *testing.T) {
	t.Parallel()
	m := newMetrics()
	b := m.overRabbitMQ()
	require.Same(t, b, m.overRabbitMQ(), "several connections are counted together")
	b.Reconnected("publisher")
	b.Blocked("publisher", true)
	b.Blocked("exchanges", true)
	b.Blocked("exchanges", false)
	b.Published(2*time.Second, time.Second)
	for _, cause := range []rabbitmq.Cause{rabbitmq.CauseReturned, rabbitmq.CauseRefused, rabbitmq.CauseUnavailable,
		rabbitmq.CauseFull, rabbitmq.CauseFateUnknown} {
		b.PublishFailed(cause)
	}
	b.Delivered(false)
	b.Delivered(true)
	b.Settled(1)
	b.Announced(500, time.Second)
	b.PassedOver(3)
	b.TailDropped()

	families, err := m.registry.Gather()
	require.NoError(t, err)
	sums := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			sums[family.GetName()] += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + metric.GetHistogram().GetSampleSum()
		}
	}
	for name, want := range map[string]float64{
		"publish_seconds": 2, "confirm_seconds": 1, "failures_total": 5, "deliveries_total": 2, "redeliveries_total": 1,
		"unacknowledged": 1, "reconnects_total": 1, "blocked": 1, "notices_total": 500, "notices_seconds": 1,
		"notices_passed_over_total": 3, "tail_dropped_total": 1,
	} {
		require.InDelta(t, want, sums["doorman_bus_"+name], 0, name)
	}
}
