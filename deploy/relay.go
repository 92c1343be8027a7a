package deploy

import (
	"context"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ticketed/doorman/aggregate/worker"
	"github.com/ticketed/doorman/aggregate/worker/deadletters"
	"github.com/ticketed/doorman/aggregate/worker/group"
	"github.com/ticketed/doorman/aggregate/worker/relay"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/projections/query"
)

// relayLetGo is how long lanes that go to another worker may wait until what was committed on them is published
// here: what is left the other one publishes.
const relayLetGo = 100 * time.Millisecond

// relaying publishes what the workers of this process commit, each with a relay of its own.
type relaying struct {
	*Program
	exchanges *rabbitmq.Exchanges
	queries   *query.Query // to tell what became of commands
	counts    relayMetrics
	letters   *deadletters.Follower
	current   atomic.Pointer[relay.Relay] // of the newest worker
}

// newRelaying connects to the broker's exchanges, and makes them.
func (p *Program) newRelaying(ctx context.Context, config rabbitmq.Config) (*relaying, error) {
	exchanges, err := connected(ctx, p, rabbitmq.NewExchanges, config)
	if err != nil {
		return nil, err
	}
	p.onStop("closing the exchanges", func(context.Context) error { return exchanges.Close() })
	queries, err := p.queries(nil, nil) // it tells; nobody waits here
	if err != nil {
		return nil, err
	}
	r := &relaying{Program: p, exchanges: exchanges, queries: queries, counts: newRelayMetrics(p.metrics)}
	r.letters, err = deadletters.New(deadletters.Config{Store: p.store, Publisher: exchanges, Told: r.counts.letters, Log: p.log})
	if err != nil {
		return nil, err
	}
	r.letters.Start()
	p.onStop("telling of dead letters", r.letters.Shutdown)
	const behind = "Positions that were committed here and are not known to be published and answered."
	p.metrics.read("doorman_relay_behind", behind, func() int {
		if now := r.current.Load(); now != nil {
			return int(now.Behind()) //nolint:gosec // no log is that long
		}
		return 0
	})
	return r, nil
}

// worker makes a worker whose commits are published.
func (r *relaying) worker(config worker.Config) (group.Worker, error) {
	identity := r.store.Identity()
	publishing, err := relay.New(relay.Config{
		Store: r.store, Publisher: r.exchanges, Tell: r.queries.Tell, Metrics: r.counts, Log: r.log, Always: r.config.PublishAlways,
		Source: url.PathEscape(r.config.RabbitMQPrefix) + "/" + url.PathEscape(identity.Epoch),
	})
	if err != nil {
		return nil, err
	}
	config.Acquired = publishing.Acquired
	config.Observe = append(slices.Clip(config.Observe), publishing.Observe, r.letters.Observe)
	working, err := worker.New(config)
	if err != nil {
		return nil, err
	}
	r.current.Store(publishing)
	return &relayedWorker{working, publishing, r.Program}, nil
}

// relayedWorker is a worker with its relay.
type relayedWorker struct {
	*worker.Worker
	relay   *relay.Relay
	program *Program
}

// Start starts both.
func (w *relayedWorker) Start(ctx context.Context) error {
	w.relay.Start()
	if err := w.Worker.Start(ctx); err != nil {
		w.publishRest(ctx)
		return err
	}
	return nil
}

// Shutdown stops the worker and has what it committed published. What could not be is no failure: whoever holds
// the lanes next publishes it.
func (w *relayedWorker) Shutdown(ctx context.Context) error {
	err := w.Worker.Shutdown(ctx)
	w.publishRest(ctx)
	return err
}

func (w *relayedWorker) publishRest(ctx context.Context) {
	if stage(w.program.health.stage.Load()) != stageStopping {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, relayLetGo)
		defer cancel()
	}
	if err := w.relay.Shutdown(ctx); err != nil {
		w.program.log.Info("lanes are left before all of their events were published; their next worker goes on with that", "err", err)
	}
}

// relayMetrics are what a relay tells Prometheus.
type relayMetrics struct {
	published, unheard, replied, passedOver, dead, deadPassedOver prometheus.Counter
	took                                                          prometheus.Histogram
}

var _ relay.Metrics = relayMetrics{}

func newRelayMetrics(m *Metrics) relayMetrics {
	return relayMetrics{
		published: m.counter("doorman_relay_published_total",
			"Events and outcomes that were published to the exchanges, repeats included."),
		unheard: m.counter("doorman_relay_unheard_total",
			"Events and outcomes that nobody had bound a queue for, and that therefore were not sent to the broker."),
		replied: m.counter("doorman_replies_total", "Requesters of other services that were answered, repeats included."),
		passedOver: m.counter("doorman_replies_passed_over_total",
			"Answers to requesters whose queues are gone, or would not take them."),
		dead: m.counter("doorman_dead_letters_told_total", "Dead letters that other services were told of, repeats included."),
		deadPassedOver: m.counter("doorman_dead_letters_passed_over_total",
			"Dead letters that somebody's queue would not take. They are kept all the same."),
		took: m.histogram("doorman_relay_seconds",
			"Time from a commit to the broker's confirmation of all that is published of it.", latencies),
	}
}

// Published is relay.Metrics'.
func (m relayMetrics) Published(confirmed, unheard int) {
	m.published.Add(float64(confirmed))
	m.unheard.Add(float64(unheard))
}

// Replied is relay.Metrics'.
func (m relayMetrics) Replied(sent, passedOver int) {
	m.replied.Add(float64(sent))
	m.passedOver.Add(float64(passedOver))
}

// letters counts what was told of dead letters.
func (m relayMetrics) letters(told, passedOver int) {
	m.dead.Add(float64(told))
	m.deadPassedOver.Add(float64(passedOver))
}

// Took is relay.Metrics'.
func (m relayMetrics) Took(d time.Duration) { m.took.Observe(d.Seconds()) }
