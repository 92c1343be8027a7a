//go:build unix

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

// Limits: how soon something lands again.
const (
	afterKill   = 5 * time.Second  // of a process
	afterFreeze = 15 * time.Second // of a process, and once a database or broker is back

	steadyRate = 100 // landings a second that there must be before a fault
)

// round is one load under which one kind of fault happens, a few times, and what is found afterwards.
type round struct {
	*cluster
	t       *testing.T
	name    string
	seed    uint64
	number  uint64
	random  *rand.Rand // of the schedule
	began   time.Time
	start   uint64 // position
	load    *load
	readers []*reader
	notes   []string
	slowest time.Duration // first landing
	auditor *auditor
	came    []message
}

func newRound(t *testing.T, c *cluster, name string, seed, number uint64) *round {
	t.Helper()
	r := &round{cluster: c, t: t, name: name, seed: seed, number: number, random: rand.New(rand.NewPCG(seed, number)), began: time.Now(), start: c.journal.head()}
	r.load = newLoad(rand.New(rand.NewPCG(seed, number)), name, c.gateways, c.found)
	r.readers = newReaders(r.load, r.random)
	late := time.After(patience)
	for _, reader := range r.readers { // each is told everything, from the beginning
		require.True(t, reader.caughtUp(0, late), "%s has no mark", reader.name)
	}
	r.load.begin()
	t.Cleanup(func() {
		r.load.abandon()
		for _, reader := range r.readers {
			reader.stop()
		}
	})
	return r
}

// note tells what happened, and keeps it for the history.
func (r *round) note(format string, args ...any) {
	line := time.Since(r.began).Round(time.Millisecond).String() + " " + fmt.Sprintf(format, args...)
	r.notes = append(r.notes, line)
	r.t.Log(line)
}

// linger passes a random time.
func (r *round) linger(least, most time.Duration) {
	wait(least + time.Duration(r.random.Int64N(int64(most-least)+1)))
}

// wait waits for the time to pass, which is all that this is about.
func wait(d time.Duration) { <-time.After(d) }

// steady waits until the load lands at a good rate on lanes that are shared out, and then for a random
// moment.
func (r *round) steady() {
	r.t.Helper()
	for _, p := range r.processes() {
		r.ready(r.t, p)
	}
	r.shared(r.t)
	late := time.After(patience)
	for {
		_, grown := r.journal.after(r.journal.head())
		since := time.Now().Add(-time.Second)
		if n := r.journal.landedSince(since); n >= steadyRate {
			r.note("%d landed within a second", n)
			break
		}
		select {
		case <-grown:
		case <-late:
			require.FailNow(r.t, "the load does not land at its rate", "%d within a second", r.journal.landedSince(since))
		}
	}
	r.linger(0, time.Second)
}

// onLanes are landings on some lanes; every lane when there are none.
func onLanes(which []int) []int {
	if len(which) > 0 {
		return which
	}
	all := make([]int, lanes)
	for i := range all {
		all[i] = i
	}
	return all
}

// lands waits until something has landed on each of the lanes that comes after a position in the log, and
// requires that the last lane's first landing is no later than the limit after a moment.
func (r *round) lands(since time.Time, from uint64, which []int, limit time.Duration) {
	r.t.Helper()
	wanted := map[int]bool{}
	for _, lane := range onLanes(which) {
		wanted[lane] = true
	}
	all, first := len(wanted), time.Duration(0)
	late := time.After(time.Until(since.Add(patience)))
	for {
		rows, grown := r.journal.after(from)
		for _, o := range rows {
			lane := o.stream.Lane(lanes)
			if from = o.position; !o.landed || !wanted[lane] {
				continue
			}
			if delete(wanted, lane); first == 0 {
				first = o.seen.Sub(since)
			}
			if len(wanted) == 0 {
				r.note("the first landing of %d lanes came after %s, the last lane's after %s", all,
					first.Round(time.Millisecond), o.seen.Sub(since).Round(time.Millisecond))
				if r.slowest = max(r.slowest, o.seen.Sub(since)); o.seen.Sub(since) > limit {
					r.found.add("a lane's first landing came after %s, the limit is %s", o.seen.Sub(since), limit)
				}
				return
			}
		}
		select {
		case <-grown:
		case <-late:
			r.found.add("nothing has landed on %d lanes of %d for %s: %v", len(wanted), all, time.Since(since).Round(time.Second), wanted)
			return
		}
	}
}

// finish ends the load, waits for every outcome, and audits.
func (r *round) finish() {
	r.t.Helper()
	if !r.load.end(patience) {
		r.found.add("%d commands are not accepted within %s", r.load.open, patience)
	}
	all := r.load.all
	r.settle(all)
	rows, _ := r.journal.after(r.start)
	late := time.After(readerSilence + afterFreeze)
	for _, reader := range r.readers {
		if !reader.caughtUp(r.start+uint64(len(rows)), late) {
			r.found.add("%s has the mark %s, not %d; its connections ended: %q", reader.name, reader.mark, r.start+uint64(len(rows)), reader.ends)
		}
		reader.stop()
		reader.check(all, rows)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	r.auditor = audit(ctx, r.t, r.gateways[r.random.IntN(len(r.gateways))], all, rows, r.found)
	for table, what := range map[string]string{"parked": "parked", "dead_letters": "dead letters"} {
		for _, n := range query[int](r.t, r.database.URL(), "select count(*) from doorman."+table) {
			if n != 0 {
				r.found.add("%d %s are left", n, what)
			}
		}
	}
	r.came = r.audited.audit(rows, r.auditor.sent)
	r.logged()
	r.note("%d sent, %d landed, rejected %v; answers %v", len(all), r.auditor.landed, r.auditor.reasons, r.load.fates)
}

// settle waits until every command that was accepted has an outcome (promise 1).
func (r *round) settle(all []*sent) {
	late := time.After(patience)
	for {
		_, grown := r.journal.after(r.journal.head())
		open := slices.DeleteFunc(slices.Clone(all), func(s *sent) bool { return !s.accepted || r.journal.has(s.ID) })
		if len(open) == 0 {
			return
		}
		select {
		case <-grown:
		case <-late:
			byLane := map[int]int{}
			for _, s := range open {
				byLane[s.Stream.Lane(lanes)]++
			}
			s := open[0]
			r.found.add("%d commands that were accepted have no outcome %s later, by lane %v; such as %s on %s, ticket %s (promise 1)",
				len(open), patience, byLane, s.ID, s.Stream, s.Ticket)
			return
		}
	}
}

// parked waits until commands are.
func (r *round) parked(all ...*sent) {
	r.t.Helper()
	ids := make([]commands.ID, len(all))
	for i, s := range all {
		ids[i] = s.ID
	}
	asking := newClient(r.t, r.gateways[0])
	require.Eventually(r.t, func() bool {
		views, err := asking.Status(r.t.Context(), ids...)
		return err == nil && !slices.ContainsFunc(views, func(v commands.CommandView) bool { return v.Status != commands.StatusParked })
	}, patience, 20*time.Millisecond)
}
