package deploy

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ticketed/doorman/bus/rabbitmq"
)

// busMetrics are those of a program over RabbitMQ.
type busMetrics struct {
	publish, confirm           prometheus.Histogram
	failures                   map[rabbitmq.Cause]prometheus.Counter
	deliveries, redeliveries   prometheus.Counter
	unacknowledged             prometheus.Gauge
	reconnects                 *prometheus.CounterVec // connection
	blocked                    *prometheus.GaugeVec   // connection
	notices, passedOver, drops prometheus.Counter
	batches                    prometheus.Histogram
}

var _ rabbitmq.Metrics = (*busMetrics)(nil)

// overRabbitMQ are the metrics of the bus, which a program within one process does not show.
func (m *Metrics) overRabbitMQ() rabbitmq.Metrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bus == nil {
		m.bus = m.newBusMetrics()
	}
	return m.bus
}

func (m *Metrics) newBusMetrics() *busMetrics {
	b := &busMetrics{failures: map[rabbitmq.Cause]prometheus.Counter{}}
	b.publish = m.histogram("doorman_bus_publish_seconds",
		"Time from handing a frame over to the broker's confirmation, waiting for its turn included.", latencies)
	b.confirm = m.histogram("doorman_bus_confirm_seconds",
		"Time from writing a frame to the broker to its confirmation.", latencies)
	failures := m.vector("doorman_bus_failures_total", "Frames that were not confirmed, by cause: "+
		"returned (no queue), refused (queue full or without a leader), full, unavailable, fate_unknown.", "cause")
	for _, cause := range []rabbitmq.Cause{rabbitmq.CauseReturned, rabbitmq.CauseRefused, rabbitmq.CauseFull,
		rabbitmq.CauseUnavailable, rabbitmq.CauseFateUnknown} {
		b.failures[cause] = failures.WithLabelValues(string(cause))
	}
	b.deliveries = m.counter("doorman_bus_deliveries_total", "Frames delivered.")
	b.redeliveries = m.counter("doorman_bus_redeliveries_total", "Frames delivered that had been delivered before.")
	b.unacknowledged = m.gauge("doorman_bus_unacknowledged", "Frames in hand that are not acknowledged.")
	b.reconnects = m.vector("doorman_bus_reconnects_total", "Connections to the broker that were made anew.", "connection")
	b.blocked = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "doorman_bus_blocked",
		Help: "Whether the broker takes no messages, being short of memory or disk."}, []string{"connection"})
	m.registry.MustRegister(b.blocked)
	b.notices = m.counter("doorman_bus_notices_total", "Messages to exchanges that were confirmed.")
	b.batches = m.histogram("doorman_bus_notices_seconds", "Time to publish a batch of them and have all confirmed.", latencies)
	b.passedOver = m.counter("doorman_bus_notices_passed_over_total",
		"Messages to exchanges that somebody's queue refused for too long, or that cannot be sent.")
	b.drops = m.counter("doorman_bus_tail_dropped_total", "Messages to the live tail that were dropped because too much waited.")
	return b
}

// Reconnected is rabbitmq.Metrics', as are the others.
func (b *busMetrics) Reconnected(connection string) { b.reconnects.WithLabelValues(connection).Inc() }

// Blocked is 1 or 0.
func (b *busMetrics) Blocked(connection string, blocked bool) {
	var value float64
	if blocked {
		value = 1
	}
	b.blocked.WithLabelValues(connection).Set(value)
}

// Published is one frame.
func (b *busMetrics) Published(took, confirm time.Duration) {
	b.publish.Observe(took.Seconds())
	b.confirm.Observe(confirm.Seconds())
}

// PublishFailed is one frame.
func (b *busMetrics) PublishFailed(cause rabbitmq.Cause) { b.failures[cause].Inc() }

// Delivered is one frame.
func (b *busMetrics) Delivered(again bool) {
	b.deliveries.Inc()
	b.unacknowledged.Inc()
	if again {
		b.redeliveries.Inc()
	}
}

// Settled is some frames.
func (b *busMetrics) Settled(frames int) { b.unacknowledged.Sub(float64(frames)) }

// Announced is a batch.
func (b *busMetrics) Announced(notices int, took time.Duration) {
	b.notices.Add(float64(notices))
	b.batches.Observe(took.Seconds())
}

// PassedOver is some notices.
func (b *busMetrics) PassedOver(notices int) { b.passedOver.Add(float64(notices)) }

// TailDropped is one message.
func (b *busMetrics) TailDropped() { b.drops.Inc() }
