package load

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// stormRun is the coming of many readers that are all far behind.
type stormRun struct {
	began, ended time.Time
	dialed       int
	caughtUp     int
	target       uint64 // the position up to which a reader has to be told
	from         uint64 // position and time of the newest mark before it
	fromAt       time.Time
	landing      float64 // landings a second meanwhile
	stillSending bool
}

func (s *stormRun) running() bool { return !s.began.IsZero() && s.ended.IsZero() }

// stormStep begins the storm once there is a backlog, and connects its readers, some at a time so that
// sending goes on.
func (w *watching) stormStep(ctx context.Context) {
	s, cfg := &w.storm, w.e.cfg
	if cfg.StormReaders == 0 || !s.ended.IsZero() {
		return
	}
	if s.began.IsZero() {
		if w.e.stopping || w.e.accepted < cfg.StormBacklog {
			return
		}
		s.began, s.target = w.e.now, w.baseAt+uint64(w.e.accepted) //nolint:gosec // a count
		s.from, s.fromAt = w.newest, w.newestAt
	}
	first := len(w.readers) - cfg.StormReaders
	for range dialsAtOnce {
		if s.dialed == cfg.StormReaders {
			return
		}
		if r := &w.readers[first+s.dialed]; w.dial(ctx, first+s.dialed) != nil {
			r.retryAt = w.e.now.Add(200 * time.Millisecond)
		}
		s.dialed++
	}
}

func (w *watching) stormCaughtUp() {
	s := &w.storm
	if s.caughtUp++; s.caughtUp < w.e.cfg.StormReaders {
		return
	}
	s.ended, s.stillSending = w.e.now, !w.e.stopping
	if took := w.newestAt.Sub(s.fromAt); took > 0 {
		s.landing = float64(w.newest-s.from) / took.Seconds()
	}
}

// WatchReport is what those who watched were told.
type WatchReport struct {
	Watchers   int     `json:"watchers"`
	Deliver    string  `json:"deliver"`
	Each       int     `json:"streams_each"`
	Watched    int     `json:"streams_watched"`
	Pushes     int     `json:"pushes"`
	Reconnects int     `json:"reconnects"`
	PostToTold Latency `json:"post_to_sse"`
	// Parked: from the predecessor's 202 until the push that tells its session that it landed.
	Parked Latency      `json:"parked_202_to_landed_push"`
	Fan    *FanReport   `json:"fan,omitempty"`
	Idle   *IdleReport  `json:"idle,omitempty"`
	Storm  *StormReport `json:"storm,omitempty"`
}

// FanReport tells of many watchers of one stream.
type FanReport struct {
	Watchers   int     `json:"watchers"`
	PostToLast Latency `json:"post_to_last"` // until the last of them had been told
}

// StormReport tells of many readers that came at once, all behind.
type StormReport struct {
	Readers         int     `json:"readers"`
	Backlog         int     `json:"backlog"` // outcomes, at least
	Seconds         float64 `json:"seconds"` // until the last had caught up; 0: they did not
	LandedPerSecond float64 `json:"landed_per_second"`
	Sending         bool    `json:"while_sending"` // until the end of it
}

func (w *watching) report(idle *IdleReport) *WatchReport {
	cfg := w.e.cfg
	r := &WatchReport{
		Watchers: cfg.Watchers, Deliver: cfg.WatchDeliver, Pushes: w.pushes, Reconnects: w.reconnects,
		PostToTold: latency(w.toTold), Parked: latency(w.freedTold), Idle: idle,
	}
	if cfg.Watchers > 0 {
		r.Each = cfg.watchedEach(cfg.Watchers)
		r.Watched = min(cfg.Streams, r.Each*cfg.Watchers)
	}
	if cfg.Fan > 0 {
		r.Fan = &FanReport{Watchers: cfg.Fan, PostToLast: latency(w.toLast)}
	}
	if cfg.StormReaders > 0 {
		r.Storm = &StormReport{Readers: cfg.StormReaders, Backlog: cfg.StormBacklog,
			LandedPerSecond: w.storm.landing, Sending: w.storm.stillSending}
		if !w.storm.ended.IsZero() {
			r.Storm.Seconds = w.storm.ended.Sub(w.storm.began).Seconds()
		}
	}
	return r
}

// failures are all that was wrong with what was told.
func (w *watching) failures() []string {
	for i := range w.readers {
		w.complete(&w.readers[i], func(stream int) {
			w.complain("watched streams whose newest version was not told", w.e.req.stream(stream))
		})
		if r := &w.readers[i]; r.role == idle && r.again {
			w.complain("idle connections were cut", w.e.req.idleStream(r.first))
		}
	}
	for id := range w.waiting {
		w.complain("own commands whose landing was not told", id.String())
	}
	var list []string
	for what, c := range w.wrong {
		list = append(list, fmt.Sprintf("%d %s, e.g. %s", c.count, what, c.example))
	}
	slices.Sort(list)
	if cfg := w.e.cfg; cfg.StormReaders > 0 {
		switch {
		case w.storm.began.IsZero():
			list = append(list, fmt.Sprintf("the storm did not begin: %d commands were accepted, of the %d that are to be behind",
				w.e.accepted, cfg.StormBacklog))
		case w.storm.ended.IsZero():
			list = append(list, fmt.Sprintf("%d of %d readers of the storm did not catch up",
				cfg.StormReaders-w.storm.caughtUp, cfg.StormReaders))
		}
	}
	return list
}

// conclude adds to a run's report what those who watched were told.
func (w *watching) conclude(ctx context.Context, r *Report, idle *IdleReport) {
	if idle != nil && idle.Unknown == "" {
		var err error
		if idle.End, err = serverMemory(ctx, w.e.cfg.AdminURL); err != nil {
			idle.Unknown = err.Error()
		}
	}
	r.Watch = w.report(idle)
	r.Failures = append(r.Failures, w.failures()...)
}
