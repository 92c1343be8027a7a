package deploy

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/worker"
	"github.com/ticketed/doorman/commands"
)

// latencies are the bounds of histograms of time, in seconds: a commit of SQLite takes a millisecond, a
// command may wait for its predecessor for minutes.
var latencies = []float64{
	.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300,
}

// Metrics are what a program tells Prometheus. What is counted for each command is resolved beforehand,
// so that counting is an addition.
type Metrics struct {
	registry *prometheus.Registry
	outcomes *prometheus.CounterVec // type, status, reason
	failures *prometheus.CounterVec // cause
	requests requestMetrics

	batch     prometheus.Histogram
	judging   prometheus.Histogram
	commit    prometheus.Histogram
	settled   prometheus.Histogram
	repeats   prometheus.Counter
	conflicts prometheus.Counter
	abandoned prometheus.Counter

	parked       prometheus.Gauge
	parkedOldest prometheus.Gauge

	mu     sync.Mutex
	bus    *busMetrics                      // nil until there is one between processes
	landed map[string]prometheus.Counter    // by stream type
	turned map[rejection]prometheus.Counter // the rejected ones
}

// rejection is what rejected commands are counted by.
type rejection struct {
	kind   string // stream type
	reason commands.Reason
}

var _ worker.Metrics = (*Metrics)(nil)

// newMetrics makes the metrics in a registry of their own, with those of the Go runtime and the process.
func newMetrics() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), landed: map[string]prometheus.Counter{},
		turned: map[rejection]prometheus.Counter{}}
	m.outcomes = m.vector("doorman_outcomes_total", "Commands that came to their outcome.", "type", "status", "reason")
	m.requests.requests = m.vector("doorman_http_requests_total", "Requests answered.", "route", "status")
	m.failures = m.vector("doorman_commit_failures_total",
		"Commits that did not succeed and were judged again, by cause: "+
			"id_known, fenced (a lane was lost), unavailable, fate_unknown, batch.", "cause")
	m.batch = m.histogram("doorman_commit_commands", "Commands taken from the bus in one commit.",
		prometheus.ExponentialBuckets(1, 2, 14))
	m.judging = m.histogram("doorman_judge_seconds", "Time spent judging what one commit holds.", latencies)
	m.commit = m.histogram("doorman_commit_seconds", "Time one commit takes in the store.", latencies)
	m.requests.accepted = m.histogram("doorman_accept_seconds", "Time from a POST of commands to its 202.", latencies)
	m.settled = m.histogram("doorman_settle_seconds", "Time from a command's acceptance to its outcome.", latencies)
	m.repeats = m.counter("doorman_repeats_total", "Commands that were sent again and told their earlier outcome.")
	m.conflicts = m.counter("doorman_id_conflicts_total", "Commands whose id belongs to another command.")
	m.abandoned = m.counter("doorman_code_abandoned_total", "Commands whose aggregate code did not end in time.")
	m.parked = m.gauge("doorman_parked", "Commands that wait for their predecessor.")
	m.parkedOldest = m.gauge("doorman_parked_oldest_seconds", "How long the oldest of them has waited here, since the take-over at most.")
	m.registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewBuildInfoCollector())
	return m
}

func (m *Metrics) vector(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	m.registry.MustRegister(g)
	return g
}

// read adds a gauge that is read when it is asked for.
func (m *Metrics) read(name, help string, value func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
		func() float64 { return float64(value()) }))
}

func (m *Metrics) histogram(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	m.registry.MustRegister(h)
	return h
}

// Committed is worker.Metrics': one call a commit, after it, from one goroutine.
func (m *Metrics) Committed(stats worker.CommitStats) {
	m.batch.Observe(float64(stats.Commands))
	m.judging.Observe(stats.Judging.Seconds())
	m.commit.Observe(stats.Commit.Seconds())
	if stats.Result == nil {
		return
	}
	m.count(stats.Result.Outcomes)
	now := time.Now()
	for _, o := range stats.Result.Outcomes {
		if !o.ReceivedAt.IsZero() {
			m.settled.Observe(now.Sub(o.ReceivedAt).Seconds())
		}
	}
	for i := range stats.Result.Answers {
		if stats.Result.Answers[i].Ruling == aggregate.Conflict {
			m.conflicts.Inc()
		} else {
			m.repeats.Inc()
		}
	}
}

// count adds outcomes up. Neighbours mostly landed on streams of one type, so runs of them are added at
// once.
func (m *Metrics) count(outcomes []*commands.Outcome) {
	var run float64
	var kind string
	flush := func() {
		if run > 0 {
			m.landings(kind).Add(run)
			run = 0
		}
	}
	for _, o := range outcomes {
		if !o.Landed() {
			m.rejections(rejection{o.Stream.Type, o.Reason}).Inc()
			continue
		}
		if o.Stream.Type != kind {
			flush()
			kind = o.Stream.Type
		}
		run++
	}
	flush()
}

func (m *Metrics) landings(kind string) prometheus.Counter {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.landed[kind]
	if !ok {
		kind = strings.Clone(kind) // it is part of a frame, which would be kept with it for ever
		c = m.outcomes.WithLabelValues(kind, string(commands.StatusLanded), "")
		m.landed[kind] = c
	}
	return c
}

func (m *Metrics) rejections(by rejection) prometheus.Counter {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.turned[by]
	if !ok {
		by = rejection{strings.Clone(by.kind), commands.Reason(strings.Clone(string(by.reason)))} // as above
		c = m.outcomes.WithLabelValues(by.kind, string(commands.StatusRejected), string(by.reason))
		m.turned[by] = c
	}
	return c
}

// CommitFailed is worker.Metrics'.
func (m *Metrics) CommitFailed(cause string) { m.failures.WithLabelValues(cause).Inc() }

// Parked is worker.Metrics'.
func (m *Metrics) Parked(total int, oldest time.Duration) {
	m.parked.Set(float64(total))
	m.parkedOldest.Set(oldest.Seconds())
}

// CodeAbandoned is worker.Metrics'.
func (m *Metrics) CodeAbandoned() { m.abandoned.Inc() }
