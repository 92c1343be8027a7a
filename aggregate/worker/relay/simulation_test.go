package relay_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ticketed/doorman/aggregate/worker/relay"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/commands"
)

// DESIGN promise 9: at least once, first deliveries per stream in order, nothing that did not commit; whatever
// happens to owners, store and broker, and whenever a queue is bound.
func TestEventsArriveInOrderWhateverHappens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var wrong error
		seed := rapid.Uint64().Draw(rt, "seed") // rapid itself cannot draw in a bubble
		synctest.Test(t, func(*testing.T) {
			s := &simulation{t: rt, w: newWorld(), random: rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // it is to be repeatable
			s.askers = newAskers(s)
			wrong = s.run()
			for _, q := range s.w.queues {
				if q.exchange == bus.EventsExchange && wrong == nil {
					wrong = s.w.check(q)
				}
			}
			if wrong == nil {
				wrong = s.askers.check(s.w)
			}
		})
		require.NoError(rt, wrong)
	})
}

type simulation struct {
	t      *rapid.T
	random *rand.Rand
	w      *world
	at     [lanes]*owner // who holds a lane
	gone   []*owner      // their lanes were taken over
	askers *askers
}

func (s *simulation) upTo(most int) int { return s.random.IntN(most + 1) }

func (s *simulation) run() error {
	if s.upTo(1) == 0 {
		s.w.bind(bus.EventsExchange, everything)
	}
	s.takeOver([]int{0, 1, 2, 3})
	for range s.upTo(60) {
		s.step()
	}
	s.w.mu.Lock()
	s.w.broken, s.w.slow, s.w.away = -1, 0, false
	s.w.mu.Unlock()
	s.takeOver([]int{0, 1, 2, 3})
	for _, o := range s.gone {
		o.line.thaw()
	}
	s.askers.finish()
	for _, o := range s.gone {
		_ = o.relay.Shutdown(context.Background()) // what it lacks the last owner has
	}
	return s.at[0].relay.Shutdown(context.Background())
}

// takeOver gives lanes to a new owner. The old ones are left as they are.
func (s *simulation) takeOver(taken []int) {
	o := newOwner(s.t, s.w, func(c *relay.Config) {
		c.KeepOutcomes, c.Batch = 1+s.upTo(40), 1+s.upTo(20)
		c.IdleLag, c.IdleAfter = 5, time.Second
		c.AskEvery = time.Duration(s.upTo(1000)) * time.Millisecond
		c.SaveEvery = time.Duration(1+s.upTo(500)) * time.Millisecond
		c.KeepReplies, c.KeepWaiting, c.KeepAside = 1+s.upTo(10), 1000, 1+s.upTo(30)
	}, taken...)
	for _, lane := range taken {
		if old := s.at[lane]; old != nil {
			s.gone = append(s.gone, old) // more than once is fine
		}
		s.at[lane] = o
	}
}

func (s *simulation) step() {
	w := s.w
	switch s.upTo(17) {
	case 10:
		s.askers.ask()
	case 11:
		s.askers.park()
	case 12:
		s.askers.settle()
	case 13:
		s.askers.moods()
	case 0:
		s.takeOver([][]int{{0}, {1, 2}, {3}, {0, 1, 2, 3}, {2, 3}}[s.upTo(4)])
	case 1: // the same worker again, as after it lost its connection
		o := s.at[s.upTo(lanes-1)]
		var own []int
		for lane := range lanes {
			if s.at[lane] == o {
				own = append(own, lane)
			}
		}
		o.take(own...)
	case 2:
		s.at[s.upTo(lanes-1)].line.freeze()
	case 3:
		for _, o := range append(s.gone, s.at[0], s.at[1], s.at[2], s.at[3]) {
			o.line.thaw()
		}
	case 4:
		w.mu.Lock()
		w.broken = s.upTo(30) - 1
		w.mu.Unlock()
	case 5:
		w.mu.Lock()
		w.broken = -1
		w.mu.Unlock()
	case 6:
		w.mu.Lock()
		w.away = !w.away
		w.mu.Unlock()
	case 7:
		w.mu.Lock()
		w.slow = time.Duration(s.upTo(20)) * time.Millisecond
		w.mu.Unlock()
	case 8:
		s.bind()
	case 9:
		time.Sleep(time.Duration(s.upTo(8000)) * time.Millisecond)
	default:
		s.commit()
	}
}

func (s *simulation) bind() {
	if s.upTo(1) == 0 {
		s.w.bind(bus.EventsExchange, everything)
	} else {
		s.w.bind(bus.EventsExchange, func(key string) bool { return key == "order.noted" })
	}
	if s.upTo(1) == 0 {
		s.w.bind(bus.OutcomesExchange, everything)
	}
}

// commit commits some, with pauses in which relays get on.
func (s *simulation) commit() {
	for range 1 + s.upTo(10) {
		o := s.at[s.upTo(lanes-1)]
		var batch []*commands.Outcome
		for range s.upTo(6) {
			c := o.claims[s.upTo(len(o.claims)-1)]
			stream := streamOn(c.Lane, s.upTo(2))
			if s.upTo(3) == 0 {
				batch = append(batch, rejection(stream))
			} else {
				batch = append(batch, landing(stream, s.upTo(3)))
			}
			s.askers.first(batch[len(batch)-1])
		}
		s.askers.committed(batch, o.commit(batch...))
		if s.upTo(2) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}
