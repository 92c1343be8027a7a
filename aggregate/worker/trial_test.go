package worker_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/worker"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/frame"
	"github.com/ticketed/doorman/commands"
)

// returned publishes a frame as one that has come back so often.
func (r *rig) returned(times int, envelopes ...commands.Envelope) chan error {
	confirmed := make(chan error, 1)
	r.bus.PublishAsync(bus.LaneTopic(0), cameBack(times, envelopes...), func(err error) { confirmed <- err })
	return confirmed
}

func cameBack(times int, envelopes ...commands.Envelope) *message.Message {
	var payload []byte
	for i := range envelopes {
		payload = frame.Append(payload, &envelopes[i])
	}
	m := message.NewMessage("m", payload)
	m.Metadata.Set(bus.DeliveriesKey, strconv.Itoa(times))
	return m
}

// suspects counts what is noted, as if so many processes had noted an id before.
type suspects struct {
	mu     sync.Mutex
	before map[commands.ID]int
	noted  []commands.ID
}

func (s *suspects) note(_ context.Context, id commands.ID) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noted = append(s.noted, id)
	return s.before[id] + 1, nil
}

func chainOf(n int) []commands.Envelope {
	chain := []commands.Envelope{command(1, "a", "add", commands.Genesis)}
	for i := 2; i <= n; i++ {
		chain = append(chain, command(i, "a", "add", id(i-1)))
	}
	return chain
}

// commits are how many outcomes each commit had.
func (r *rig) commits() (sizes []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, result := range r.results {
		if n := len(result.Outcomes); n > 0 {
			sizes = append(sizes, n)
		}
	}
	return sizes
}

// DESIGN section 7: "a frame that keeps coming back is judged command by command".
func TestAFrameThatKeepsComingBackIsJudgedInSmallerAndSmallerParts(t *testing.T) {
	t.Parallel()
	for returns, most := range map[int]int{1: 302, 2: 256, 3: 32, 4: 1, 99: 1} {
		t.Run(strconv.Itoa(returns), func(t *testing.T) {
			t.Parallel()
			s := &suspects{}
			r := start(t, newMemory(1), func(c *worker.Config) { c.Suspect = s.note })
			before, after := command(501, "b", "add", commands.Genesis), command(502, "c", "add", commands.Genesis)
			first := r.returned(0, before)
			again := r.returned(returns, chainOf(300)...)
			r.await([]chan error{first, again, r.returned(0, after)})
			total := 0
			for _, size := range r.commits() {
				total += size
				require.LessOrEqual(t, size, most)
			}
			require.Equal(t, 302, total)
			if most == 1 {
				require.Len(t, s.noted, 300, "each was noted before it was judged alone")
			} else {
				require.Empty(t, s.noted)
			}
		})
	}
}

// After an outage there are many small frames that were handed on a few times, and none of them is to blame.
func TestFramesThatCameBackAsOftenAreJudgedTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(1)
		hold := make(chan struct{})
		m.before = func(*store.Batch) (error, bool) {
			<-hold
			return nil, false
		}
		messages := make(byHand)
		r := start(t, m, func(c *worker.Config) { c.Subscriber = messages })
		first := cameBack(0, command(500, "b", "add", commands.Genesis))
		messages <- first
		synctest.Wait() // the rest comes while it is being committed
		frames := []*message.Message{first}
		for n, env := range chainOf(128) {
			frames = append(frames, cameBack(2+n/64, env))
			messages <- frames[n+1]
		}
		synctest.Wait()
		close(hold)
		for _, m := range frames {
			<-m.Acked()
		}
		require.Equal(t, []int{1, 64, 32, 32}, r.commits(), "64 of one command each together, and 32 at a time")
	})
}

// DESIGN section 7: "and the culprit ends failed".
func TestACommandThatEndedSeveralProcessesEndsAsFailed(t *testing.T) {
	t.Parallel()
	s := &suspects{before: map[commands.ID]int{id(3): 2, id(2): 1}}
	m := newMemory(1)
	r := start(t, m, func(c *worker.Config) { c.Suspect = s.note })
	r.await([]chan error{r.returned(5, chainOf(4)...)})
	for n, want := range []string{1: "landed@1", 2: "landed@2", 3: "failed", 4: "predecessor_rejected"} {
		if n > 0 {
			require.Equal(t, want, r.outcome(id(n)))
		}
	}

	// What is known already is not run again, so it is no suspect.
	r.await([]chan error{r.returned(6, chainOf(4)...)})
	require.Equal(t, []commands.ID{id(1), id(2), id(3), id(4)}, s.noted)
	require.Equal(t, "failed", r.outcome(id(3)))
}
