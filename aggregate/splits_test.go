package aggregate_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// TestABatchIsJudgedAsIfOneByOne has the same arrivals judged one by one, all at once, in any pieces, in
// rounds that are soon full, and by workers that die between any two commits (DESIGN section 2: a batch
// is judged as if one by one in arrival order).
func TestABatchIsJudgedAsIfOneByOne(t *testing.T) {
	t.Parallel()
	met := newSightings()
	for range 10 {
		rapid.Check(t, func(t *rapid.T) {
			s := drawStory(t)
			oneByOne := s.play(s.limits, func(int) int { return 1 }, nil)
			allAtOnce := s.play(s.limits, func(n int) int { return n }, nil)
			require.Equal(t, told(oneByOne, true), told(allAtOnce, true), "all at once")

			sizes := rapid.SliceOfN(rapid.IntRange(1, 5), 8, 8).Draw(t, "sizes of the pieces")
			small := s.limits
			small.Round = rapid.IntRange(1, 4).Draw(t, "round")
			split := s.play(small, pieces(sizes), func(c *counter) { c.seen = met.saw })
			require.Equal(t, told(oneByOne, true), told(split, true), "in pieces, in small rounds")

			crashes := rapid.SliceOfN(rapid.Bool(), 60, 60).Draw(t, "crashes")
			crashing := s.play(small, pieces(sizes), func(c *counter) { c.seen, c.crash = met.saw, oneAfterAnother(crashes) })
			require.Equal(t, told(oneByOne, false), told(crashing, false), "with crashes")
		})
	}
	met.require(t, "deferred", "leftovers over several rounds", "id known to the store alone",
		"crash before a commit", "crash after a commit", "crash amid leftovers", "crash before expiry was committed")
}

// story is what arrives, in scenes: between two of them time passes, and then what is due expires.
type story struct {
	limits aggregate.Limits
	scenes []scene
}

type scene struct {
	after    time.Duration // how long after the one before
	arrivals []commands.Envelope
}

// drawStory lets the model play along, so that what is drawn has to do with what came of the rest.
func drawStory(t *rapid.T) *story {
	p := newPair(t, newSightings())
	s := &story{limits: p.model.limits}
	s.limits.Round = 1000
	for range rapid.IntRange(1, 4).Draw(t, "scenes") {
		sc := scene{after: time.Duration(rapid.SampledFrom([]int{5, 31, 1, 20}).Draw(t, "seconds")) * time.Second}
		p.model.pass(sc.after)
		for range rapid.IntRange(1, 12).Draw(t, "arrivals") {
			if oneIn(t, 4, "tangle") {
				p.drawer.tangle(t, p.model)
			}
			env := p.drawer.command(t, p.model)
			p.model.take(env)
			sc.arrivals = append(sc.arrivals, env)
		}
		s.scenes = append(s.scenes, sc)
	}
	return s
}

func (m *model) pass(step time.Duration) {
	m.now = m.now.Add(step)
	for _, stream := range allStreams {
		m.clock[stream] += step
		m.expire(stream)
	}
}

// play has a counter judge the story in pieces of the sizes that size gives for what is left of a scene.
func (s *story) play(limits aggregate.Limits, size func(left int) int, change func(*counter)) *counter {
	c := newCounter(ledger{parkFor: 30 * time.Second, window: 10 * time.Second}, limits)
	if change != nil {
		change(c)
	}
	for _, sc := range s.scenes {
		c.now = c.now.Add(sc.after)
		for _, stream := range allStreams {
			c.clock[stream] += sc.after
			c.sweep(stream)
		}
		c.drain()
		for left := sc.arrivals; len(left) > 0; {
			n := min(size(len(left)), len(left))
			c.take(left[:n])
			left = left[n:]
		}
		c.drain()
	}
	return c
}

// told is all that came of it: of each stream by itself, since positions may differ. After a crash
// commands are delivered again, so more are answered.
func told(c *counter, answers bool) (all []string) {
	for _, stream := range allStreams {
		all = append(all, describeOutcomes(c.log, stream)...)
		inst := c.instance(stream)
		all = append(all, fmt.Sprintf("%s at version %d after %s: %s", stream, inst.Head.Version, nameOf(inst.Head.Ticket()), inst.State()))
		for _, w := range c.parked {
			if w.env.Stream == stream {
				all = append(all, fmt.Sprintf("%s waits on %s until %s", nameOf(w.env.ID), nameOf(w.env.Ticket), w.deadline))
			}
		}
	}
	all = append(all, fmt.Sprint(len(c.failed), " dead letters"))
	if answers {
		all = append(all, fmt.Sprint(c.answers))
	}
	return all
}

func pieces(sizes []int) func(int) int {
	next := 0
	return func(int) int { next++; return sizes[next%len(sizes)] }
}

// oneAfterAnother gives the values one by one, then false.
func oneAfterAnother(values []bool) func() bool {
	return func() bool {
		if len(values) == 0 {
			return false
		}
		first := values[0]
		values = values[1:]
		return first
	}
}
