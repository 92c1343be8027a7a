//go:build unix

package faults

import (
	"slices"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

// fault is something that breaks, comes back, and after which something must land in time.
type fault struct {
	name   string
	times  int // in a round of `make test`
	strike func(*round)
}

var every = []fault{
	{"kill_worker", 2, killWorker},
	{"kill_gateway", 2, killGateway},
	{"crash_database", 2, crashDatabase},
	{"restart_broker", 1, func(r *round) { restartBroker(r, r.broker.Stop) }},
	{"kill_broker", 2, func(r *round) { restartBroker(r, r.broker.Kill) }},
	{"memory_alarm", 1, alarmMemory},
	{"freeze_worker", 2, freezeWorker},
	{"cut_connections", 3, cutConnections},
	{"half_open", 2, halfOpen},
	{"lost_confirm", 3, loseConfirm},
	{"lost_commit", 3, loseCommit},
	{"database_outage", 1, longOutage},
}

func one[T any](r *round, of []T) T { return of[r.random.IntN(len(of))] }

// position is the newest in the log, asked of the database.
func (r *round) position() uint64 {
	r.t.Helper()
	return query[uint64](r.t, r.database.URL(), "select position from doorman.counter")[0]
}

// inFlight is how long what was on its way to the database when a process ended may take to get there.
const inFlight = 50 * time.Millisecond

func killWorker(r *round) {
	w := one(r, r.workers)
	owned := r.owned(r.t, w)
	w.kill()
	since := time.Now()
	r.note("%s, which has the lanes %v, is killed", w.name, owned)
	wait(inFlight)
	r.lands(since, r.position(), owned, afterKill)
	r.linger(0, 2*time.Second)
	w.start(r.t)
}

func killGateway(r *round) {
	g := one(r, r.gateways)
	g.kill()
	since := time.Now()
	r.note("%s is killed", g.name)
	r.lands(since, r.position(), nil, afterKill)
	r.linger(0, 2*time.Second)
	g.start(r.t)
}

func crashDatabase(r *round) {
	r.database.Crash()
	r.note("the database is stopped, mode immediate")
	r.linger(0, 3*time.Second)
	r.database.Start()
	since := time.Now()
	r.note("the database is back")
	r.lands(since, r.position(), nil, afterFreeze)
}

func restartBroker(r *round, end func()) {
	end()
	r.note("the broker is away")
	r.linger(0, 2*time.Second)
	r.broker.Start()
	since := time.Now()
	r.note("the broker is back")
	r.lands(since, r.position(), nil, afterFreeze)
}

// alarmMemory has the broker take nothing, as its publishers are told, for longer than commands of the brief type
// wait for their predecessors.
func alarmMemory(r *round) {
	r.broker.Starve(true)
	r.note("the broker takes nothing")
	wait(time.Second)
	full := time.Now()
	r.linger(briefly, briefly+3*time.Second)
	for _, g := range r.gateways {
		if r.load.tookAfter(g, full) {
			r.found.add("%s accepted commands while the broker took none", g.name)
		}
	}
	r.broker.Starve(false)
	since := time.Now()
	r.note("the broker takes messages")
	r.lands(since, r.position(), nil, afterFreeze)
}

// freezeWorker stops a worker for longer than its lease, and lets it go on in the middle of what it did.
func freezeWorker(r *round) {
	w := one(r, r.workers)
	owned := r.owned(r.t, w)
	w.signal(r.t, syscall.SIGSTOP)
	since := time.Now()
	r.note("%s, which has the lanes %v, is frozen", w.name, owned)
	wait(inFlight)
	r.lands(since, r.position(), owned, afterFreeze)
	r.linger(time.Second, 5*time.Second)
	w.signal(r.t, syscall.SIGCONT)
	r.note("it goes on")
}

func cutConnections(r *round) {
	var cut []string
	for len(cut) == 0 {
		for _, p := range r.processes() {
			for _, l := range []*link{p.database, p.bus} {
				if r.random.IntN(2) == 0 {
					cut = append(cut, l.name)
					l.cut(r.t)
				}
			}
		}
	}
	since := time.Now()
	r.note("connections are cut: %q", cut)
	wait(inFlight)
	r.lands(since, r.position(), nil, afterFreeze)
}

// halfOpen has a process's connections to the database or the broker go dead.
func halfOpen(r *round) {
	p := one(r, r.processes())
	l := one(r, []*link{p.database, p.bus})
	worker := slices.Contains(r.workers, p)
	var owned []int
	if worker {
		owned = r.owned(r.t, p)
	}
	l.die(r.t)
	since := time.Now()
	r.note("connections go dead: %s", l.name)
	wait(inFlight)
	r.lands(since, r.position(), owned, afterFreeze)
	if !worker {
		r.takes(p, since, afterSilence)
	}
	l.heal()
}

// afterSilence is within what time a gateway has found that its connections went dead. Until then its clients are
// told to come again, or hear nothing and ask the other one: something lands all the time.
const afterSilence = 30 * time.Second

// takes waits until a gateway accepts commands again.
func (r *round) takes(g *process, since time.Time, limit time.Duration) {
	r.t.Helper()
	require.Eventually(r.t, func() bool { return r.load.tookAfter(g, since) }, patience, 20*time.Millisecond, g.name+" accepts nothing")
	took := time.Since(since)
	r.note("%s accepts again after %s", g.name, took.Round(time.Millisecond))
	if took > limit {
		r.found.add("%s accepts again after %s, the limit is %s", g.name, took, limit)
	}
}

// loseConfirm: what a gateway published is taken, and the gateway is not told.
func loseConfirm(r *round) {
	g := one(r, r.gateways)
	g.bus.loseReplies(r.t)
	r.note("%s hears no confirms", g.name)
	require.Eventually(r.t, func() bool { return slices.ContainsFunc(r.load.unheard(g), r.journal.has) }, patience, 10*time.Millisecond,
		"nothing lands for which a confirm was lost")
	g.bus.heal()
	since := time.Now()
	r.note("a command has landed that %s has not confirmed; its connections end", g.name)
	r.lands(since, r.position(), nil, afterFreeze)
	r.takes(g, since, afterFreeze)
}

// loseCommit: what a worker commits is committed, and the worker is not told.
func loseCommit(r *round) {
	w := one(r, r.workers)
	owned := r.owned(r.t, w)
	r.note("%s, which has the lanes %v, is to hear no more of its next commit", w.name, owned)
	select {
	case <-w.database.loseCommit(r.t):
	case <-time.After(patience):
		require.FailNow(r.t, "it commits nothing")
	}
	wait(inFlight)
	w.database.heal()
	since := time.Now()
	r.note("it has committed; its connections end")
	wait(inFlight)
	r.lands(since, r.position(), owned, afterFreeze)
}

// outageTime is longer than commands of the brief type wait for their predecessors.
const outageTime = time.Minute

// longOutage takes the database away while commands wait. It is not waiting: those whose predecessors come
// afterwards land, the others have the whole of their time.
func longOutage(r *round) {
	var waiting, predecessors, orphans []*sent
	for i := range 8 {
		stream := commands.Stream{Type: briefType, ID: r.name + "-outage-" + string(rune('a'+i))}
		missing := r.load.withhold(stream, commands.Genesis)
		next := r.load.withhold(stream, missing.ID)
		waiting = append(waiting, next, r.load.withhold(stream, next.ID))
		predecessors = append(predecessors, missing)
		orphan := r.load.withhold(stream, commands.NewID())
		orphan.orphan = true
		orphans = append(orphans, orphan)
	}
	asked := time.Now()
	for _, s := range append(waiting, orphans...) {
		r.load.release(s)
	}
	r.parked(append(waiting, orphans...)...)
	r.database.Crash()
	waited := time.Since(asked) // at most
	r.note("the database is away, %d commands wait for at most %s", len(waiting)+len(orphans), waited.Round(time.Millisecond))
	wait(outageTime)
	r.database.Start()
	since := time.Now()
	r.note("the database is back")
	for _, s := range predecessors {
		r.load.release(s)
	}
	r.lands(since, r.position(), nil, afterFreeze)
	r.expire(orphans, since, briefly-waited)
}

// expire waits until commands have expired, and holds when against how long they were still to wait.
func (r *round) expire(orphans []*sent, since time.Time, left time.Duration) {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		return !slices.ContainsFunc(orphans, func(s *sent) bool { return !r.journal.has(s.ID) })
	}, patience, lookEvery, "commands without a predecessor do not expire")
	rows, _ := r.journal.after(r.start)
	for _, o := range rows {
		if !slices.ContainsFunc(orphans, func(s *sent) bool { return s.ID == o.id }) {
			continue
		}
		if took := o.seen.Sub(since); took < left {
			r.found.add("%s on %s expired %s after the outage, it had %s left", o.id, o.stream, took, left)
		}
	}
}
