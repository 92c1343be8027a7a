package deploy

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ticketed/doorman/aggregate/store/feed"
	"github.com/ticketed/doorman/notify/hub"
	"github.com/ticketed/doorman/notify/sse"
	"github.com/ticketed/doorman/projections/query"
)

// startFeed follows the log, from its present end on.
func (p *Program) startFeed(ctx context.Context) (*feed.Feed, error) {
	f, err := feed.New(feed.Config{Reader: p.store, Log: p.log})
	if err != nil {
		return nil, err
	}
	p.onStop("ending the feed", func(context.Context) error { return f.Stop() })
	if err := f.Start(ctx); err != nil {
		return nil, err
	}
	p.metrics.read("doorman_feed_position", "The position up to which the log has been handed on here.",
		func() int { return int(f.End()) }) //nolint:gosec // no log is that long
	return f, nil
}

// startPush tells those who watch.
func (p *Program) startPush(
	ctx context.Context, f *feed.Feed, watched hub.Interest, queries *query.Query, routes *http.ServeMux,
) (*hub.Hub, error) {
	h, err := hub.New(hub.Config{
		Feed: f, Interest: watched, Reader: p.store, States: queries.States(), Epoch: p.store.Identity().Epoch,
		Serves:  func(streamType string) bool { _, known := p.types.Type(streamType); return known },
		Tell:    queries.Tell,
		CPU:     processorTime,
		Metrics: newPushMetrics(p.metrics), MaxConnections: p.config.NotifyMaxConnections, Log: p.log,
	})
	if err != nil {
		return nil, err
	}
	p.onStop("ending notifications", func(context.Context) error { return h.Stop() })
	if err := h.Start(ctx); err != nil {
		return nil, err
	}
	p.metrics.read("doorman_notify_connections", "Connections that watch.", h.Count)
	handler, err := sse.New(sse.Config{Hub: h, Log: p.log})
	if err != nil {
		return nil, err
	}
	handler.Mount(routes)
	return h, nil
}

// pushMetrics are what the hub tells Prometheus.
type pushMetrics struct {
	told         prometheus.Counter
	delay        prometheus.Histogram
	disconnected *prometheus.CounterVec
}

var _ hub.Metrics = (*pushMetrics)(nil)

func newPushMetrics(m *Metrics) *pushMetrics {
	return &pushMetrics{
		told:  m.counter("doorman_notify_messages_total", "Messages pushed to those who watch."),
		delay: m.histogram("doorman_notify_seconds", "Time from a command's acceptance to its push.", latencies),
		disconnected: m.vector("doorman_notify_disconnected_total",
			"Watching connections that were ended here, by cause: slow, unavailable, stopping.", "cause"),
	}
}

// Told is hub.Metrics'.
func (m *pushMetrics) Told(messages int) { m.told.Add(float64(messages)) }

// Delay is hub.Metrics'.
func (m *pushMetrics) Delay(d time.Duration) { m.delay.Observe(d.Seconds()) }

// Disconnected is hub.Metrics'.
func (m *pushMetrics) Disconnected(why string) { m.disconnected.WithLabelValues(why).Inc() }
