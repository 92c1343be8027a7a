package worker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/worker"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/frame"
	"github.com/ticketed/doorman/commands"
)

var errNoLeader = errors.New("the queue has no leader")

// partly is a bus some of whose queues do not answer.
type partly struct {
	message.Subscriber

	mu    sync.Mutex
	since map[string]time.Time // when each topic was subscribed to
	mute  map[string]bool
	delay time.Duration // of the queues that do not answer, until they are given up
}

func newPartly(whole message.Subscriber) *partly {
	return &partly{Subscriber: whole, since: map[string]time.Time{}, mute: map[string]bool{}}
}

func (p *partly) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	p.mu.Lock()
	mute := p.mute[topic]
	p.mu.Unlock()
	if mute {
		time.Sleep(p.delay)
		return nil, errNoLeader
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since[topic] = time.Now()
	return p.Subscriber.Subscribe(ctx, topic)
}

func (p *partly) consuming(lane int) (time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	since, subscribed := p.since[bus.LaneTopic(lane)]
	if !subscribed || p.mute[bus.LaneTopic(lane)] {
		return since, errNoLeader
	}
	return since, nil
}

func (p *partly) set(lane int, mute bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute[bus.LaneTopic(lane)] = mute
	if _, subscribed := p.since[bus.LaneTopic(lane)]; subscribed && !mute {
		p.since[bus.LaneTopic(lane)] = time.Now()
	}
}

// onLane is the name of a stream of one of two lanes.
func onLane(lane int) string {
	n := 0
	for ; (commands.Stream{Type: "tally", ID: fmt.Sprint(n)}).Lane(2) != lane; n++ {
	}
	return fmt.Sprint(n)
}

func startPartly(t *testing.T, m *memory, prepare func(*partly, *worker.Config)) (*rig, *partly) {
	var p *partly
	r := start(t, m, func(c *worker.Config) {
		p = newPartly(c.Subscriber)
		c.Subscriber, c.Consuming = p, p.consuming
		if prepare != nil {
			prepare(p, c)
		}
	})
	return r, p
}

// A queue without a leader, which may stay without one for ever, keeps no other lane from being worked.
func TestALaneWhoseQueueDoesNotAnswerLeavesTheOthersBe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, p := startPartly(t, newMemory(2), func(p *partly, _ *worker.Config) { p.set(1, true) })
		r.send(command(1, onLane(0), "add", commands.Genesis))
		require.Equal(t, "landed@1", r.outcome(id(1)))
		p.set(1, false)
		time.Sleep(2 * time.Second)
		r.send(command(2, onLane(1), "add", commands.Genesis))
		require.Equal(t, "landed@1", r.outcome(id(2)))
	})
}

// Nor does it keep them waiting until it is given up for the first time: lanes that are taken over go on within 5 s.
func TestNoLaneWaitsForAnotherOnesQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const givenUp = 10 * time.Second
		began, confirmed := time.Now(), make(chan time.Duration, 1)
		r, _ := startPartly(t, newMemory(2), func(p *partly, _ *worker.Config) {
			p.set(1, true)
			p.delay = givenUp
			env := command(1, onLane(0), "add", commands.Genesis)
			m := message.NewMessage("0", frame.Append(nil, &env))
			p.Subscriber.(bus.Publisher).PublishAsync(bus.LaneTopic(0), m, func(err error) {
				if err == nil {
					confirmed <- time.Since(began)
				}
			})
		})
		require.GreaterOrEqual(t, time.Since(began), givenUp)
		require.Equal(t, "landed@1", r.outcome(id(1)))
		require.Less(t, <-confirmed, time.Second)
	})
}

func TestStartSaysWhenNoQueueAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		types, err := aggregate.NewRegistry(tally{})
		require.NoError(t, err)
		p := newPartly(nil)
		p.set(0, true)
		p.set(1, true)
		w, err := worker.New(worker.Config{Store: newMemory(2), Types: types, Subscriber: p, Lanes: []int{0, 1}})
		require.NoError(t, err)
		require.ErrorIs(t, w.Start(t.Context()), errNoLeader)
		require.NoError(t, w.Stop())
	})
}

// DESIGN section 2: what waits grows older in its own lane's time alone.
func TestOnlyTheClockOfALaneThatBringsNothingStands(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, p := startPartly(t, newMemory(2), nil)
		r.send(command(2, onLane(0), "add", id(1)), command(3, onLane(1), "add", id(1)))
		p.set(1, true)
		time.Sleep(aggregate.DefaultParkFor + 2*time.Second)
		require.Equal(t, "predecessor_missing", r.outcome(id(2)))
		require.Empty(t, r.outcome(id(3)))
		p.set(1, false)
		time.Sleep(aggregate.DefaultParkFor + 2*time.Second)
		require.Equal(t, "predecessor_missing", r.outcome(id(3)))
	})
}

// Promise 4: after a connection was lost, the broker may take it for alive for a while, with what it had handed out
// over it. What waits for that must not expire meanwhile.
func TestNothingExpiresForWantOfWhatALostConnectionHoldsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const heldBack = 15 * time.Second
		r, p := startPartly(t, newMemory(2), func(_ *partly, c *worker.Config) { c.HeldBack = heldBack })
		r.send(command(2, onLane(0), "add", id(1)))
		time.Sleep(aggregate.DefaultParkFor - time.Second)
		p.set(0, true)
		p.set(0, false) // too soon for anybody to have seen it
		time.Sleep(heldBack - time.Second)
		require.Empty(t, r.outcome(id(2)))
		r.send(command(1, onLane(0), "add", commands.Genesis))
		require.Equal(t, "landed@2", r.outcome(id(2)))
	})
}
