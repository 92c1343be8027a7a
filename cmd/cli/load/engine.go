package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ticketed/doorman/commands"
)

// engine sends what the plan says and takes the answers, in one goroutine.
type engine struct {
	cfg   *Config
	plan  *plan
	req   *request
	wire  wire
	conns []client
	began time.Time
	now   time.Time // as of the last thing that happened

	idle     []int // connections with nothing to do; with a rate, those to take next
	retrying []int // connections that wait before they send again
	flush    []int // streams with a command still held back, once no new ones are made
	waiting  int   // connections that wait for an answer
	due      int   // with a rate: how many commands have been taken off the schedule
	stopping bool
	fatal    error
	missing  absence

	posts    int // answered with something else than a refusal
	sent     int // commands posted, repeats and all
	accepted int
	doubles  int // commands sent twice on purpose
	resent   int // requests sent again after a refusal or a broken connection
	refusals map[commands.Reason]int
	broken   int // connections that broke
	told     map[commands.ID]verdict

	watch *watching // nil: nobody watches

	toAccepted, toLanded *hdrhistogram.Histogram
	lastTaken            time.Time // when the server last accepted something
}

// client is one connection and what is under way on it.
type client struct {
	first, stride, turn int // the streams it owns: first, first+stride, …; turn is the next

	items   []item
	request []byte
	wait    bool
	doubled []item    // to be sent once more
	from    time.Time // latency counts from here
	sentAt  time.Time
	retryAt time.Time
	tries   int
	busy    bool
	up      bool   // connected
	partial []byte // of an answer
}

// maxTold bounds how many verdicts told to waiting clients are kept, to compare with what is told later.
const maxTold = 100_000

func newEngine(cfg *Config, w wire, r *request) *engine {
	e := &engine{
		cfg: cfg, plan: newPlan(cfg), req: r, wire: w,
		conns:    make([]client, cfg.Connections+cfg.chains()-cfg.Streams),
		refusals: map[commands.Reason]int{}, told: map[commands.ID]verdict{},
		toAccepted: newHistogram(), toLanded: newHistogram(),
	}
	for i := range e.conns {
		c := &e.conns[i]
		switch {
		case i == cfg.Connections: // it changes the fan's stream, when that is due
			c.first, c.stride = cfg.Streams, 1
		case cfg.Streams >= cfg.Connections:
			c.first, c.stride = i, cfg.Connections
		default:
			c.first, c.stride = i%cfg.Streams, cfg.Streams
		}
		c.turn = c.first
	}
	e.watch = newWatching(e)
	return e
}

// newHistogram holds microseconds up to ten minutes to three digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, (10 * time.Minute).Microseconds(), 3)
}

func (e *engine) connect(ctx context.Context) error {
	for i := range e.conns {
		if err := e.wire.dial(ctx, i); err != nil {
			return fmt.Errorf("connection %d of %d: %w", i+1, len(e.conns), err)
		}
		e.conns[i].up = true
		if i < e.cfg.Connections {
			e.idle = append(e.idle, i)
		}
	}
	return nil
}

// run sends until the time is over or the commands are, then until everything is answered. An error means
// that the run is worth nothing.
func (e *engine) run(ctx context.Context) error {
	const beat = 100 * time.Millisecond
	e.began = time.Now()
	e.now, e.lastTaken = e.began, e.began
	nextBeat, nextTold := e.began.Add(beat), e.began
	for {
		if !e.stopping && e.over(ctx) {
			e.stop()
		}
		e.dispatch(ctx)
		if e.watch != nil {
			e.watch.step(ctx)
		}
		if e.fatal != nil || e.finished() {
			return e.fatal
		}
		if err := e.wire.wait(e.wake(nextBeat), e.got); err != nil {
			return err
		}
		if e.now = time.Now(); e.now.Before(nextBeat) {
			continue
		}
		nextBeat = e.now.Add(beat)
		e.breakSilent()
		if open := e.waiting + len(e.retrying); open > 0 && e.now.Sub(e.lastTaken) > e.cfg.Settle {
			return fmt.Errorf("nothing was accepted for %v while %d requests are open (refusals so far: %s)",
				e.cfg.Settle, open, countsText(e.refusals))
		}
		if e.cfg.Progress != nil && e.now.After(nextTold) {
			nextTold = e.now.Add(500 * time.Millisecond)
			e.cfg.Progress(e.standing("sending"))
		}
	}
}

func (e *engine) standing(stage string) Progress {
	refusals := 0
	for _, n := range e.refusals {
		refusals += n
	}
	return Progress{
		Elapsed: time.Since(e.began), Commands: e.plan.log.n, Accepted: e.accepted, Refusals: refusals, Stage: stage,
	}
}

func (e *engine) over(ctx context.Context) bool {
	return ctx.Err() != nil ||
		e.cfg.Duration > 0 && e.now.Sub(e.began) >= e.cfg.Duration ||
		e.cfg.Count > 0 && e.plan.log.n >= e.cfg.Count
}

// stop ends the making of commands; what is held back still goes out, since others wait for it.
func (e *engine) stop() {
	e.stopping = true
	e.flush = e.plan.holding()
}

// dispatch gives work to the connections that have none.
func (e *engine) dispatch(ctx context.Context) {
	e.retry(ctx)
	for len(e.idle) > 0 {
		from := e.now
		switch {
		case e.stopping && len(e.flush) == 0:
			return
		case e.stopping: // at once
		case e.over(ctx):
			e.stop()
			continue
		case e.cfg.Rate > 0:
			from = e.dueAt()
			if from.After(e.now) {
				return
			}
			e.due += e.cfg.Array
		}
		conn := e.idle[0]
		e.idle = e.idle[1:]
		e.give(conn, from)
	}
}

// dueAt is when the next command is due by the rate.
func (e *engine) dueAt() time.Time {
	return e.began.Add(time.Duration(float64(e.due) / e.cfg.Rate * float64(time.Second)))
}

func (e *engine) wake(until time.Time) time.Time {
	if e.cfg.Rate > 0 && !e.stopping && len(e.idle) > 0 {
		until = earlier(until, e.dueAt())
	}
	for _, conn := range e.retrying {
		until = earlier(until, e.conns[conn].retryAt)
	}
	return until
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// give fills a connection's next request and sends it.
func (e *engine) give(conn int, from time.Time) {
	c := &e.conns[conn]
	c.items = c.items[:0]
	c.wait = false
	switch {
	case len(c.doubled) > 0:
		c.items, c.doubled = append(c.items, c.doubled...), c.doubled[:0]
	case e.stopping:
		stream := e.flush[len(e.flush)-1]
		e.flush = e.flush[:len(e.flush)-1]
		c.items = append(c.items, e.plan.next(stream, e.now, false))
	default:
		size := e.cfg.Array
		probe := conn == e.cfg.Connections // whose next command goes out when this one has been told
		if probe {
			size = 1
		} else {
			c.wait = e.plan.wantsWait(c.turn)
		}
		if e.cfg.Count > 0 {
			size = min(size, e.cfg.Count-e.plan.log.n)
		}
		for range size {
			c.items = append(c.items, e.plan.next(c.turn, e.now, c.wait || probe))
			if c.turn += c.stride; c.turn >= e.cfg.Streams {
				c.turn = c.first
			}
		}
		e.double(c)
	}
	c.request = e.req.appendPost(c.request[:0], c.items, conn, c.wait)
	c.from, c.tries = from, 0
	if e.watch != nil {
		e.watch.sent(c.items, from)
	}
	e.post(conn)
}

// double picks commands to be sent again as they are.
func (e *engine) double(c *client) {
	for _, it := range c.items {
		if e.plan.chance(e.cfg.Duplicate) {
			it.again = true
			c.doubled = append(c.doubled, it)
			e.doubles++
		}
	}
}

func (e *engine) post(conn int) {
	c := &e.conns[conn]
	c.busy, c.sentAt = true, e.now
	e.waiting++
	e.sent += len(c.items)
	e.wire.send(conn, c.request)
}

// got takes what arrived on a connection.
func (e *engine) got(conn int, data []byte, err error) {
	e.now = time.Now()
	if conn >= len(e.conns) {
		e.watch.got(conn-len(e.conns), data, err)
		return
	}
	c := &e.conns[conn]
	if err != nil || !c.busy { // what nobody asked for is a server's goodbye
		e.lost(conn)
		return
	}
	if len(c.partial) > 0 {
		c.partial = append(c.partial, data...)
		data = c.partial
	}
	answer, took, err := parseResponse(data)
	switch {
	case err != nil:
		e.fail("connection %d: %w", conn, err)
		return
	case took > 0 && took != len(data):
		e.fail("connection %d: %d bytes more than one answer", conn, len(data)-took)
		return
	case took == 0:
		if len(c.partial) == 0 {
			c.partial = append(c.partial, data...)
		}
		return
	}
	c.busy = false
	e.waiting--
	e.answered(conn, &answer)
	c.partial = c.partial[:0]
	if answer.closes {
		c.up = false
	}
	if c.retryAt.IsZero() {
		e.free(conn)
	}
}

// free gives a connection that was answered its next command, or lays it by.
func (e *engine) free(conn int) {
	c := &e.conns[conn]
	switch {
	case !c.up:
		e.later(conn, 0)
	case conn == e.cfg.Connections && len(c.doubled) == 0: // it waits for its time
	case len(c.doubled) > 0, !e.stopping && e.cfg.Rate == 0 && !e.over(context.Background()):
		e.give(conn, e.now)
	default:
		e.idle = append(e.idle, conn)
	}
}

// later has a connection send again what it holds, if anything, after a while.
func (e *engine) later(conn int, after time.Duration) {
	c := &e.conns[conn]
	c.retryAt = e.now.Add(after)
	e.retrying = append(e.retrying, conn)
}

// retry sends what has waited long enough, over a new connection where the old one broke.
func (e *engine) retry(ctx context.Context) {
	rest := e.retrying[:0]
	for _, conn := range e.retrying {
		c := &e.conns[conn]
		if c.retryAt.After(e.now) {
			rest = append(rest, conn)
			continue
		}
		if !c.up {
			// What is open is still to be answered when the context has ended.
			err := e.missing.after(e.wire.dial(context.WithoutCancel(ctx), conn), e.cfg.gone)
			if errors.Is(err, errGone) {
				e.fail("%w", err)
				return
			}
			if err != nil {
				c.retryAt = e.now.Add(200 * time.Millisecond)
				rest = append(rest, conn)
				continue
			}
			c.up = true
		}
		c.retryAt = time.Time{}
		if len(c.items) == 0 {
			e.free(conn)
			continue
		}
		e.resent++
		e.post(conn)
	}
	e.retrying = rest
}

// lost: a connection broke. What was under way may have been accepted, so it goes out again under the
// same ids.
func (e *engine) lost(conn int) {
	c := &e.conns[conn]
	if !c.up {
		return
	}
	c.up = false
	c.partial = c.partial[:0]
	e.broken++
	switch {
	case c.busy:
		c.busy = false
		e.waiting--
		e.later(conn, 50*time.Millisecond)
	case c.retryAt.IsZero(): // it was idle
		e.idle = remove(e.idle, conn)
		c.items = c.items[:0]
		e.later(conn, 50*time.Millisecond)
	}
}

func remove(from []int, conn int) []int {
	kept := from[:0]
	for _, other := range from {
		if other != conn {
			kept = append(kept, other)
		}
	}
	return kept
}

// breakSilent gives up connections on which no answer came for a long time.
func (e *engine) breakSilent() {
	for i := range e.conns {
		if c := &e.conns[i]; c.busy && e.now.Sub(c.sentAt) > answerTimeout {
			e.lost(i)
		}
	}
}

func (e *engine) fail(format string, args ...any) {
	if e.fatal == nil {
		e.fatal = fmt.Errorf(format, args...)
	}
}
