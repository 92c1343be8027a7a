package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ticketed/doorman/commands"
)

// Report is what came of a run. Rates are per second, latencies in milliseconds.
type Report struct {
	Run         string  `json:"run"` // begins the ids of the run's streams
	OverAMQP    bool    `json:"over_amqp,omitempty"`
	URL         string  `json:"url"`
	Type        string  `json:"type"`
	Connections int     `json:"connections"`
	Streams     int     `json:"streams"`
	Array       int     `json:"array"`
	Payload     int     `json:"payload"`
	Rate        float64 `json:"rate,omitempty"` // 0: as fast as the server answers
	Seed        uint64  `json:"seed"`

	Seconds         float64 `json:"seconds"` // from the first POST until the last outcome was known
	Commands        int     `json:"commands"`
	Posted          int     `json:"posted"` // with those that were sent twice or again
	Posts           int     `json:"posts"`
	Accepted        int     `json:"accepted"`
	Landed          int     `json:"landed"`
	LandedPerSecond float64 `json:"landed_per_second"`

	Early     int `json:"early"`   // sent before their predecessor
	Stale     int `json:"stale"`   // sent with a superseded ticket
	Doubles   int `json:"doubles"` // sent twice
	SentAgain int `json:"sent_again"`
	BrokenOff int `json:"broken_connections"`

	Rejected map[commands.Reason]int `json:"rejected"`
	Refusals map[commands.Reason]int `json:"refusals"`

	PostToAccepted Latency `json:"post_to_202"`
	PostToLanded   Latency `json:"post_to_landed"`

	Watch *WatchReport `json:"watch,omitempty"`

	Server    *Cost   `json:"server,omitempty"`
	Generator *Cost   `json:"generator,omitempty"`
	Machine   *Cost   `json:"machine,omitempty"` // all processes and the kernel
	Busy      float64 `json:"machine_busy_cpus,omitempty"`

	CheckedCommands int      `json:"checked_commands"`
	CheckedStreams  int      `json:"checked_streams"`
	CheckSeconds    float64  `json:"check_seconds"`
	Failures        []string `json:"failures"`
}

// Latency is a distribution in milliseconds.
type Latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p99_9_ms"`
	Max   float64 `json:"max_ms"`
}

// OK tells whether every command came to the outcome it had to.
func (r *Report) OK() bool { return len(r.Failures) == 0 }

// Run makes the load and checks what came of it. It ends early, but with the checks, when the context is
// cancelled. An error means that there is nothing to report: the server could not be reached, refused
// commands for good, or stopped answering.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	base, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	run := fmt.Sprintf("bench-%s%04x", strconv.FormatInt(time.Now().UnixMilli(), 36), rand.Uint32N(1<<16))
	w, err := wireFor(&cfg, base)
	if err != nil {
		return nil, err
	}
	defer w.close()
	e := newEngine(&cfg, w, newRequest(&cfg, base, run))
	if err := e.connect(ctx); err != nil {
		return nil, err
	}
	var idle *IdleReport
	if e.watch != nil {
		if idle, err = e.watch.openAll(ctx); err != nil {
			return nil, err
		}
	}
	before := sample(cfg.PID)
	if err := e.run(ctx); err != nil {
		return nil, fmt.Errorf("after %d commands: %w", e.accepted, err)
	}
	ctx = context.WithoutCancel(ctx)
	r, err := e.conclude(ctx, base, before)
	if err == nil && e.watch != nil {
		e.watch.conclude(ctx, r, idle)
	}
	return r, err
}

func wireFor(cfg *Config, base *url.URL) (wire, error) {
	if cfg.AMQP != "" {
		return newAMQPWire(cfg), nil
	}
	return newWire(cfg, base, cfg.sockets())
}

// conclude waits for the last outcomes, checks them all, and writes the report.
func (e *engine) conclude(ctx context.Context, base *url.URL, before usage) (*Report, error) {
	if e.cfg.Progress != nil {
		e.cfg.Progress(e.standing("settling"))
	}
	check := newChecker(e, base)
	last, err := check.newest(ctx)
	if err != nil {
		return nil, err
	}
	after := sample(e.cfg.PID)
	tails, err := check.tails(ctx)
	if err != nil {
		return nil, err
	}
	if tails.After(last) {
		last = tails
	}
	checking := time.Now()
	if err := check.all(ctx); err != nil {
		return nil, err
	}
	r := e.report(before, after, last)
	r.Landed, r.Rejected = check.landed, check.rejected
	r.LandedPerSecond = float64(r.Landed) / r.Seconds
	r.CheckedCommands, r.CheckedStreams, r.CheckSeconds = e.plan.log.n, check.streams, time.Since(checking).Seconds()
	r.Failures = append(r.Failures, check.wrong.list()...)
	if e.accepted != e.plan.log.n {
		r.Failures = append(r.Failures, fmt.Sprintf("%d commands were sent and %d accepted", e.plan.log.n, e.accepted))
	}
	if r.Landed == 0 {
		r.Failures = append(r.Failures, "nothing landed")
	}
	return r, nil
}

func (e *engine) report(before, after usage, last time.Time) *Report {
	r := &Report{
		Run: e.req.prefix[:len(e.req.prefix)-1], URL: e.cfg.URL, OverAMQP: e.cfg.AMQP != "", Type: e.cfg.Type,
		Connections: e.cfg.Connections,
		Streams:     e.cfg.Streams, Array: e.cfg.Array, Payload: e.cfg.Payload, Rate: e.cfg.Rate, Seed: e.cfg.Seed,
		Seconds: last.Sub(e.began).Seconds(), Commands: e.plan.log.n, Posted: e.sent, Posts: e.posts, Accepted: e.accepted,
		Early: e.plan.early, Stale: e.plan.stales, Doubles: e.doubles, SentAgain: e.resent, BrokenOff: e.broken,
		Refusals: e.refusals, Failures: []string{},
		PostToAccepted: latency(e.toAccepted), PostToLanded: latency(e.toLanded),
		Generator: cost(after.generator-before.generator, e.sent),
		Machine:   cost(after.machine-before.machine, e.sent),
		Busy:      (after.machine - before.machine).Seconds() / after.at.Sub(before.at).Seconds(),
	}
	if e.cfg.PID > 0 {
		if r.Server = cost(after.server-before.server, e.sent); r.Server != nil {
			r.Server.RSSBytes, r.Server.PeakBytes = memory(e.cfg.PID)
		}
	}
	return r
}

func latency(h *hdrhistogram.Histogram) Latency {
	ms := func(micros int64) float64 { return float64(micros) / 1000 }
	return Latency{
		Count: h.TotalCount(), P50: ms(h.ValueAtQuantile(50)), P99: ms(h.ValueAtQuantile(99)),
		P999: ms(h.ValueAtQuantile(99.9)), Max: ms(h.Max()),
	}
}
