package load

import (
	"context"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ticketed/doorman/commands"
)

// role is what a watching connection is for.
type role uint8

const (
	spread role = iota // watches some of the run's streams
	fan                // watches the one stream that is posted to for all of them
	own                // is told of its session's commands
	idle               // watches a stream to which nothing happens
	storm              // comes once there is a backlog, and reads it
)

// reader is one connection that is told.
type reader struct {
	role     role
	first    int      // the streams it watches: first and those that follow, around the end
	versions []uint64 // of each, as told
	mark     []byte   // as told last
	at       uint64   // its position
	partial  []byte   // of an answer's head or of a message
	heard    time.Time
	retryAt  time.Time // when to connect again; zero while connected
	up       bool
	headed   bool // the answer's head has been read
	open     bool // everything up to a mark was told
	again    bool // it was cut, so what it was told may be told again
	caughtUp bool
}

// watching is all that the run's readers are told. It is part of the engine, in its goroutine.
type watching struct {
	e       *engine
	readers []reader
	until   time.Time // when a run that has been sent is given up
	lookAt  time.Time

	times      [][]time.Duration             // of each stream, by version: what its latency counts from
	waiting    map[commands.ID]time.Duration // own commands sent before their predecessor: when that was accepted
	toTold     *hdrhistogram.Histogram
	toLast     *hdrhistogram.Histogram
	freedTold  *hdrhistogram.Histogram
	fanned     map[uint64]int // how many have been told of a version of the fan's stream
	probeAt    time.Time
	pushes     int
	reconnects int
	refused    map[int]int // by status
	lastNews   time.Time
	wrong      map[string]*complaint

	base     []byte // a mark from before the first command
	baseAt   uint64
	newest   uint64 // position of the newest mark
	newestAt time.Time
	storm    stormRun
}

type complaint struct {
	count   int
	example string
}

const (
	silence     = 45 * time.Second // three heartbeats
	openWithin  = time.Minute
	probeEvery  = 200 * time.Millisecond
	dialsAtOnce = 64   // between looks at what has arrived
	perOwn      = 1000 // sessions of one connection
)

// newWatching is nil when nobody watches.
func newWatching(e *engine) *watching {
	cfg := e.cfg
	w := &watching{
		e: e, times: make([][]time.Duration, len(e.plan.chains)), waiting: map[commands.ID]time.Duration{},
		toTold: newHistogram(), toLast: newHistogram(), freedTold: newHistogram(),
		fanned: map[uint64]int{}, refused: map[int]int{}, wrong: map[string]*complaint{},
	}
	w.addSpread(spread, cfg.Watchers)
	for range cfg.Fan {
		w.readers = append(w.readers, reader{role: fan, first: cfg.Streams, versions: make([]uint64, 1)})
	}
	if cfg.WatchParked > 0 {
		for first := 0; first < cfg.Connections; first += perOwn {
			w.readers = append(w.readers, reader{role: own, first: first})
		}
	}
	idlers := cfg.Idle
	if cfg.StormReaders > 0 {
		idlers++ // one at least tells where the log is before the first command
	}
	for i := range idlers {
		w.readers = append(w.readers, reader{role: idle, first: i})
	}
	w.addSpread(storm, cfg.StormReaders)
	if len(w.readers) == 0 {
		return nil
	}
	return w
}

func (w *watching) addSpread(as role, readers int) {
	each := w.e.cfg.watchedEach(readers)
	for i := range readers {
		w.readers = append(w.readers, reader{role: as, first: i * each % w.e.cfg.Streams, versions: make([]uint64, each)})
	}
}

// watchedEach is how many streams each of some readers watches: as configured, or so many that together
// they watch all, where that is possible.
func (c *Config) watchedEach(readers int) int {
	each := c.WatchStreams
	if each == 0 && readers > 0 {
		each = (c.Streams + readers - 1) / readers
	}
	return min(max(each, 1), maxWatched, c.Streams)
}

// open connects everybody but the storm, and returns once all have been told where they begin.
func (w *watching) open(ctx context.Context, which func(role) bool) error {
	deadline := time.Now().Add(openWithin)
	for i := range w.readers {
		if r := &w.readers[i]; which(r.role) {
			if err := w.dial(ctx, i); err != nil {
				return fmt.Errorf("watching connection %d of %d: %w", i+1, len(w.readers), err)
			}
		}
		if i%dialsAtOnce == 0 {
			if err := w.e.wire.wait(time.Now(), w.e.got); err != nil {
				return err
			}
		}
	}
	for {
		missing := 0
		for i := range w.readers {
			if r := &w.readers[i]; which(r.role) && !r.open {
				missing++
			}
		}
		switch {
		case w.e.fatal != nil:
			return w.e.fatal
		case missing == 0:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case time.Now().After(deadline):
			return fmt.Errorf("%d of %d watching connections were not let in within %s (answers by status: %v): "+
				"the server's limits on connections and open files are to be looked at", missing, len(w.readers), openWithin, w.refused)
		}
		if err := w.e.wire.wait(time.Now().Add(20*time.Millisecond), w.e.got); err != nil {
			return err
		}
		w.e.now = time.Now()
		w.reconnect(ctx)
	}
}

func (w *watching) dial(ctx context.Context, i int) error {
	r := &w.readers[i]
	conn := len(w.e.conns) + i
	if err := w.e.wire.dial(context.WithoutCancel(ctx), conn); err != nil {
		return err
	}
	r.up, r.headed, r.partial, r.retryAt, r.heard = true, false, r.partial[:0], time.Time{}, time.Now()
	w.e.wire.send(conn, w.e.req.appendWatch(nil, r, w))
	return nil
}

// reconnect makes broken connections anew, and gives silent ones up.
func (w *watching) reconnect(ctx context.Context) {
	for i := range w.readers {
		r := &w.readers[i]
		switch {
		case r.up && w.e.now.Sub(r.heard) > silence:
			w.lost(i, 0)
		case !r.up && !r.retryAt.IsZero() && !r.retryAt.After(w.e.now):
			if w.dial(ctx, i) != nil {
				r.retryAt = w.e.now.Add(time.Second)
			}
		}
	}
}

func (w *watching) lost(i int, after time.Duration) {
	r := &w.readers[i]
	if !r.up {
		return
	}
	r.up, r.retryAt = false, w.e.now.Add(max(after, 100*time.Millisecond))
	if r.open {
		r.again = true
		w.reconnects++
	}
}

// step does what is due beside the sending: the fan's change, the storm, broken connections.
func (w *watching) step(ctx context.Context) {
	w.probe()
	w.stormStep(ctx)
	if w.e.now.Before(w.lookAt) {
		return
	}
	w.lookAt = w.e.now.Add(100 * time.Millisecond)
	w.reconnect(ctx)
}

// probe changes the fan's stream, once everybody knows of the change before.
func (w *watching) probe() {
	e := w.e
	if e.cfg.Fan == 0 || e.stopping || e.now.Before(w.probeAt) || len(w.fanned) > 0 || e.over(context.Background()) {
		return
	}
	if c := &e.conns[e.cfg.Connections]; c.busy || !c.up || !c.retryAt.IsZero() {
		return
	}
	w.probeAt = e.now.Add(probeEvery)
	e.give(e.cfg.Connections, e.now)
}

// sent notes what the latency of commands counts from.
func (w *watching) sent(items []item, from time.Time) {
	since := from.Sub(w.e.began)
	for i := range items {
		it := &items[i]
		if it.again || kindOf(it.id) != chained {
			continue
		}
		stream := streamOf(it.id)
		times := w.times[stream]
		for len(times) < int(it.place) {
			times = append(times, -1)
		}
		times[it.place-1] = since
		w.times[stream] = times
		if it.watched {
			w.waiting[it.id] = -1
		}
		if stream == w.e.cfg.Streams {
			w.fanned[uint64(it.place)] = 0
		}
	}
}

// accepted notes when the predecessor of a waiting command was accepted.
func (w *watching) accepted(items []item) {
	for i := range items {
		if _, open := w.waiting[items[i].frees]; open && !items[i].again {
			w.waiting[items[i].frees] = w.e.now.Sub(w.e.began)
		}
	}
}

// finished tells whether everybody has been told everything, or too much time has passed.
func (w *watching) finished() bool {
	if w.until.IsZero() {
		w.until = w.e.now.Add(w.e.cfg.Settle)
	}
	if w.e.now.After(w.until) {
		return true
	}
	if len(w.waiting) > 0 || w.storm.running() {
		return false
	}
	for i := range w.readers {
		if !w.complete(&w.readers[i], nil) {
			return false
		}
	}
	return true
}

// complete tells whether a reader knows the newest version of all its streams.
func (w *watching) complete(r *reader, missing func(stream int)) bool {
	if r.role == storm && w.storm.began.IsZero() {
		return true
	}
	whole := true
	for slot, version := range r.versions {
		stream := w.streamAt(r, slot)
		if version < uint64(w.e.plan.chains[stream].links) {
			whole = false
			if missing != nil {
				missing(stream)
			}
		}
	}
	return whole
}

func (w *watching) streamAt(r *reader, slot int) int {
	if r.role == fan {
		return r.first
	}
	return (r.first + slot) % w.e.cfg.Streams
}

func (w *watching) complain(what, example string) {
	c := w.wrong[what]
	if c == nil {
		c = &complaint{example: example}
		w.wrong[what] = c
	}
	c.count++
}

// finished: all is sent, answered, and told to those who watch.
func (e *engine) finished() bool {
	return e.stopping && e.waiting == 0 && len(e.retrying) == 0 && len(e.flush) == 0 &&
		(e.watch == nil || e.watch.finished())
}

// lastKnown is when the last answer or push told of something that was not known before.
func (e *engine) lastKnown() time.Time {
	if e.watch != nil && e.watch.lastNews.After(e.lastTaken) {
		return e.watch.lastNews
	}
	return e.lastTaken
}
