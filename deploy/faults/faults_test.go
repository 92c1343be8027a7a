//go:build unix

package faults

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	soakFor  = flag.Duration("faults.for", 0, "how long faults go on; 0: each kind once, as many times as its row says")
	soakSeed = flag.Uint64("faults.seed", 0, "the seed to replay; 0: a new one")
	soakFrom = flag.Uint64("faults.from", 1, "the round to begin with")
	soakOnly = flag.String("faults.only", "", "the only kind of fault that there is to be")
	soakKeep = flag.String("faults.keep", "../../.cache/faults", "the folder for the histories of rounds that fail")
)

// mostFailures are looked at; then something is wrong with everything.
const mostFailures = 5

// stage is one round of the schedule.
type stage struct {
	number uint64
	fault  fault
	times  int
}

// schedule says what happens, and in which order. It follows from the seed alone, round by round, so that it
// can be entered anywhere.
type schedule struct {
	seed  uint64
	ends  time.Time // of a soak
	order []int
	next  uint64
}

func newSchedule(t *testing.T) *schedule {
	t.Helper()
	s := &schedule{seed: *soakSeed, next: *soakFrom}
	if s.seed == 0 {
		s.seed = rand.Uint64N(1 << 32)
	}
	s.order = rand.New(rand.NewPCG(s.seed, 0)).Perm(len(every))
	if *soakFor > 0 {
		s.ends = time.Now().Add(*soakFor)
	}
	if *soakOnly != "" {
		at := slices.IndexFunc(every, func(f fault) bool { return f.name == *soakOnly })
		require.GreaterOrEqual(t, at, 0, "there is no fault %s", *soakOnly)
		s.order = []int{at}
	}
	return s
}

// round gives the next one; false when there is none.
func (s *schedule) round() (stage, bool) {
	n := s.next
	s.next++
	if s.ends.IsZero() {
		if n > uint64(len(s.order)) {
			return stage{}, false
		}
		f := every[s.order[n-1]]
		return stage{n, f, f.times}, true
	}
	random := rand.New(rand.NewPCG(s.seed, n))
	f := every[random.IntN(len(every))]
	if *soakOnly != "" {
		f = every[s.order[0]]
	}
	return stage{n, f, 1 + random.IntN(2*f.times)}, time.Now().Before(s.ends)
}

// DESIGN section 5, all promises, across everything that can break: whatever it is, every command that was
// accepted has one outcome, no stream is broken, nobody who watches misses anything, and it goes on in time.
func TestFaults(t *testing.T) {
	s := newSchedule(t)
	t.Logf("seed %d; to see it again: %s", s.seed, again(s.seed, s.next))
	results := map[string]*result{}
	t.Cleanup(func() { report(t, results) })
	failures := 0
	next, more := s.round()
	for clusters := 1; more && failures < mostFailures; clusters++ {
		t.Run(fmt.Sprintf("deployment%d", clusters), func(t *testing.T) {
			c := newCluster(t)
			for fine := true; more && fine; next, more = s.round() {
				of := results[next.fault.name]
				if of == nil {
					of = &result{}
					results[next.fault.name] = of
				}
				name := fmt.Sprintf("%03d_%s", next.number, next.fault.name)
				// What is broken may stay so: after a failure the next round has another deployment.
				if fine = t.Run(name, func(t *testing.T) { c.round(t, name, s.seed, next, of) }); !fine {
					failures++
					of.failed++
				}
			}
		})
	}
}

// again is how a schedule is entered at a round.
func again(seed, round uint64) string {
	if *soakFor == 0 {
		return fmt.Sprintf("go test ./deploy/faults -run 'TestFaults$' -count 1 -v -args -faults.seed %d -faults.from %d", seed, round)
	}
	again := fmt.Sprintf("make soak SEED=%d FROM=%d", seed, round)
	if *soakOnly != "" {
		again += " FAULT=" + *soakOnly
	}
	return again
}

// result is what came of all rounds with one kind of fault.
type result struct {
	rounds, strikes, failed int
	slowest                 time.Duration // first landing
}

func report(t *testing.T, results map[string]*result) {
	t.Helper()
	var b strings.Builder
	for _, f := range every {
		if of := results[f.name]; of != nil {
			fmt.Fprintf(&b, "\n%-16s %4d rounds, %4d faults, slowest first landing %7s, %d rounds failed",
				f.name, of.rounds, of.strikes, of.slowest.Round(time.Millisecond), of.failed)
		}
	}
	t.Log(b.String())
}

// round is one stage of the schedule, with its audit.
func (c *cluster) round(t *testing.T, name string, seed uint64, of stage, result *result) {
	t.Helper()
	r := newRound(t, c, name, seed, of.number)
	r.note("seed %d, round %d: %s, %d times", seed, of.number, of.fault.name, of.times)
	result.rounds++
	defer func() {
		result.slowest = max(result.slowest, r.slowest)
		r.complain()
	}()
	for range of.times {
		r.steady()
		of.fault.strike(r)
		result.strikes++
	}
	r.finish()
}

// complain tells what was found, and keeps the history of a round that failed.
func (r *round) complain() {
	all := r.found.take()
	for _, complaint := range all {
		r.t.Error(complaint)
	}
	if !r.t.Failed() {
		return
	}
	folder, err := r.keep(all)
	if err != nil {
		r.t.Errorf("its history is not kept: %v", err)
		return
	}
	r.t.Logf("its history is in %s; to see it again: %s", folder, again(r.seed, r.number))
}
