package worker

import (
	"context"
	"runtime"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// desk is where one goroutine judges: everything it has in memory of its lanes. When aggregate code does
// not end, the goroutine is left behind with its desk, and a new one takes over what was not committed.
type desk struct {
	w     *Worker
	guard *aggregate.Guard
	ended chan struct{} // closed when its goroutine has ended

	lanes  map[int]*lane
	cache  *cache
	facts  *facts
	parked *parkedIndex
	resume []*held           // on which a full round left released or cascading commands over
	again  []commands.Stream // to be loaded, to see whether something released waits on them

	number   uint64 // of the newest sitting
	done     uint64 // of the newest one committed
	open     *sitting
	inflight *sitting

	backlog []item // taken from the inbox, neither judged nor in the pass under way
	pass    pass
	loads   int // how many streams are loaded at once
	reuse   []*arrival

	blame   *blame
	faulty  map[commands.Stream]string // streams whose history is not folded again
	caution caution
	stale   bool // memory must be built anew from the store before anything is judged
	held    bool // the lanes were taken by this desk, or it has heard that somebody else took one
	pausing bool // until the retry timer fires
	retry   *time.Timer
	failed  int       // attempts at the store in a row
	ticked  time.Time // when the clocks were advanced last
	second  time.Time // when the once-a-second work was done last
	began   time.Time // when this desk did
}

// pass is the state of going through the backlog once; kept in the desk so that a new one can go on
// from there.
type pass struct {
	items []item
	kept  int // items[:kept] wait for facts
	at    int // items[at:] have not been looked at
}

// caution is how the first commands of the backlog are taken after a commit failed.
type caution struct {
	left   int  // how many
	size   int  // how many at a time
	facts  bool // look every id up first
	single bool // one outcome a round, to find the culprit
}

func newDesk(w *Worker) *desk {
	d := &desk{w: w, guard: &aggregate.Guard{}, ended: make(chan struct{}), stale: true, retry: time.NewTimer(0), loads: firstLoads,
		blame: newBlame(), faulty: map[commands.Stream]string{}, began: time.Now(), ticked: time.Now()}
	<-d.retry.C
	return d
}

// run judges until the worker stops. Each turn takes what is there and commits what it can.
func (d *desk) run() {
	tick := time.NewTicker(d.w.cfg.Tick)
	defer tick.Stop()
	for {
		select {
		case <-d.w.stopping:
			d.finish()
			return
		default:
		}
		d.turn()
		select {
		case <-d.w.stopping:
		case c := <-d.w.commits:
			d.settle(c)
		case <-d.retry.C:
			d.pausing = false
		case <-d.w.inbox.ready:
			d.gather()
		case <-tick.C:
			d.tick(time.Now())
		}
	}
}

// turn does what can be done at the moment.
func (d *desk) turn() {
	if d.stale {
		if open := d.open; open != nil {
			d.open = nil
			d.takeBack(open)
		}
		if d.retired() || d.pausing || d.inflight != nil || !d.rebuild() {
			return
		}
	}
	if !d.pausing {
		d.work()
	}
}

// retired tells whether the lanes must not be taken again by this worker, and says so to who handed them
// out. A desk that took over from one caught in the code of a type does take them: only here is it known
// which command has to end as failed for that.
func (d *desk) retired() bool {
	if !d.held || d.w.cfg.Fenced == nil {
		return false
	}
	d.w.retired.Do(d.w.cfg.Fenced)
	return true
}

// finish commits what has been judged, and lets the rest go: it was not acknowledged.
func (d *desk) finish() {
	if d.inflight != nil {
		d.settle(<-d.w.commits)
	}
	if d.open != nil && !d.open.empty() && !d.stale {
		if d.launch(); d.inflight != nil {
			d.settle(<-d.w.commits)
		}
	}
}

// rebuild takes the lanes anew and forgets everything else. It reports false when the store did not
// answer; the retry timer is set then.
func (d *desk) rebuild() bool {
	var (
		claims  []store.Claim
		backlog []store.Parked
	)
	err := d.read(func(ctx context.Context) (err error) {
		if claims, err = d.w.cfg.Store.Acquire(ctx, d.w.cfg.Lanes, d.w.cfg.Owner); err != nil {
			return err
		}
		backlog, err = d.w.cfg.Store.Backlog(ctx, d.w.cfg.Lanes)
		return err
	})
	if err != nil {
		d.backOff("take the lanes", err)
		return false
	}
	before := d.lanes
	d.lanes = make(map[int]*lane, len(claims))
	for _, claim := range claims {
		l := &lane{claim: claim, saved: claim.Worked}
		if was := before[claim.Lane]; was != nil {
			l.unread, l.frames, l.came = was.unread, was.frames, was.came
		}
		d.lanes[claim.Lane] = l
	}
	d.cache = newCache(d.w.cfg.CacheStreams, d.w.cfg.CacheBytes)
	d.facts = newFacts(max(1<<16, 8*d.w.cfg.Limits.Round))
	d.parked = newParkedIndex(d.lanes, d.w.laneCount)
	d.parked.load(backlog, time.Now())
	d.blame.rebuilt()
	d.resume, d.again = nil, nil
	d.stale, d.held = false, true
	d.ticked = time.Now()
	for i := range backlog {
		d.again = append(d.again, backlog[i].Stream)
	}
	if d.w.cfg.Acquired != nil {
		d.w.cfg.Acquired(claims)
	}
	d.w.acquired()
	return true
}

// pickUp looks at streams on which something waits: what had been released when a process died, or
// when a round was undone, goes on. It reports false when the store did not answer.
func (d *desk) pickUp() bool {
	const chunk = 256
	for len(d.again) > 0 {
		var streams []commands.Stream
		asked := map[commands.Stream]bool{}
		for len(d.again) > 0 && len(streams) < min(d.loads, chunk) {
			stream := d.again[0]
			d.again = d.again[1:]
			if _, held := d.cache.get(stream); !held && !asked[stream] {
				asked[stream] = true
				streams = append(streams, stream)
			}
		}
		if !d.load(streams) {
			return false
		}
		d.cache.trim(d.done)
	}
	return true
}

// gather moves the inbox into the backlog.
func (d *desk) gather() {
	arrivals := d.w.inbox.take(d.reuse)
	for _, a := range arrivals {
		l := d.lanes[a.lane]
		if l == nil { // before the lanes were first taken
			l = &lane{claim: store.Claim{Lane: a.lane}}
			if d.lanes == nil {
				d.lanes = map[int]*lane{}
			}
			d.lanes[a.lane] = l
		}
		l.frames++
		l.unread++
		l.came = a.came
		if a.broken != nil || len(a.commands) == 0 {
			d.backlog = append(d.backlog, item{from: a})
			continue
		}
		for i := range a.commands {
			d.backlog = append(d.backlog, item{env: &a.commands[i], from: a})
		}
	}
	d.reuse = arrivals
}

// work judges what is there and starts a commit when none is under way, until there is nothing left to
// judge or the open round is full.
func (d *desk) work() {
	for {
		d.proceed()
		if d.stale || d.pausing || d.inflight != nil || d.open == nil {
			return
		}
		if d.open.empty() {
			d.open = nil
			return
		}
		d.linger()
		if d.stale || d.pausing {
			return
		}
		d.launch()
		if !d.waiting() {
			return
		}
	}
}

// linger lets every goroutine that is ready run before the round is closed, as long as that brings more
// commands: they share the commit then. On an idle machine it costs nothing and changes nothing; on a
// busy one, where commits would outrun the gateway, it made rounds five times as large.
func (d *desk) linger() {
	const most = 8
	for range most {
		if d.caution.left > 0 || d.open.round.Full() {
			return
		}
		runtime.Gosched()
		select {
		case <-d.w.inbox.ready:
			d.gather()
			d.proceed()
		default:
			return
		}
	}
}

// waiting tells whether there is anything to be judged.
func (d *desk) waiting() bool {
	return len(d.backlog)+len(d.resume) > 0 || d.expiring()
}

// proceed takes as much of what is to be judged into the open sitting as it may.
func (d *desk) proceed() {
	if !d.pickUp() || !d.waiting() {
		return
	}
	if d.caution.left > 0 && d.inflight != nil || d.open != nil && d.open.round.Full() || d.alone() {
		return
	}
	s := d.sit()
	started := time.Now()
	s.round.Now = started.UTC().Truncate(time.Microsecond)
	if d.goOn(s) && d.expire(s) {
		n, careful := d.portion()
		if d.caution.left > 0 {
			n = min(n, d.caution.size)
		}
		switch {
		case !careful:
			d.takeAll(s, n)
		case d.inflight == nil && s.empty() && d.try():
			s.alone = true
			d.take(s, n)
		}
	}
	s.judging += time.Since(started)
}

// goOn settles what full rounds left over, before any later arrival. It reports false when the round is
// full again.
func (d *desk) goOn(s *sitting) bool {
	for len(d.resume) > 0 {
		h := d.resume[0]
		s.touch(h)
		if !s.round.Resume(h.Instance) {
			return false
		}
		d.resume = d.resume[1:]
	}
	return !s.round.Full()
}

// sit returns the open sitting, a new one when there is none.
func (d *desk) sit() *sitting {
	if d.open != nil {
		return d.open
	}
	d.number++
	s := &sitting{number: d.number}
	limits := d.w.cfg.Limits
	if d.caution.left > 0 && d.caution.single {
		limits.Round = 1
	}
	clear(d.facts.looked)
	s.round = aggregate.Round{
		Limits: &limits,
		Facts:  d.facts,
		Lot:    d.parked,
		Guard:  d.guard,
		Broken: d.blame.broken,
		Now:    time.Now().UTC().Truncate(time.Microsecond),
		Clock:  func(stream commands.Stream) time.Duration { return d.parked.laneOf(stream).claim.Worked },
	}
	if d.w.stuck.any() {
		s.round.Barred = d.w.stuck.barred
	}
	d.parked.journal = &s.journal
	d.open = s
	return s
}
