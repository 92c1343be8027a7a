package relay_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/worker/relay"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/commands"
)

// simulated is a test in a world and a time of its own.
func simulated(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld()) })
}

// pass lets time pass, and everybody do what is to be done then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// owner is a worker with its relay.
type owner struct {
	world  *world
	line   *line
	relay  *relay.Relay
	claims []store.Claim
}

// newOwner takes lanes, all of them when none is named.
func newOwner(t require.TestingT, w *world, tune func(*relay.Config), wanted ...int) *owner {
	o := &owner{world: w, line: &line{world: w}}
	config := relay.Config{Store: w, Publisher: o.line, Source: "doorman/e1"}
	if tune != nil {
		tune(&config)
	}
	var err error
	o.relay, err = relay.New(config)
	require.NoError(t, err)
	o.relay.Start()
	o.take(wanted...)
	return o
}

func (o *owner) take(wanted ...int) {
	if len(wanted) == 0 {
		wanted = []int{0, 1, 2, 3}
	}
	o.claims = o.world.acquire(wanted...)
	o.relay.Acquired(o.claims)
}

// commit commits and tells.
func (o *owner) commit(outcomes ...*commands.Outcome) bool {
	covered, ok := o.world.commit(o.claims, outcomes...)
	if ok {
		o.relay.Observe(covered, &aggregate.Result{Outcomes: outcomes})
	}
	return ok
}

// DESIGN section 4: doorman.events and doorman.outcomes.
func TestWhatIsCommittedIsPublishedToBothExchanges(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		events, outcomes := w.bind(bus.EventsExchange, everything), w.bind(bus.OutcomesExchange, everything)
		a := newOwner(t, w, nil)
		stream := streamOn(0, 0)
		first, second := landing(stream, 2), rejection(stream)
		second.CorrelationID, second.TraceParent = "c-1", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		unheard := rejection(streamOn(1, 0))
		a.commit(first, second, unheard)
		a.commit() // nothing but a parking
		synctest.Wait()
		require.Zero(t, a.relay.Behind())
		require.NoError(t, a.relay.Shutdown(t.Context()))

		require.Len(t, events.got, 2)
		require.Equal(t, "order.changed", events.got[0].RoutingKey)
		require.Equal(t, "e1-1.0", events.got[0].MessageID)
		require.Equal(t, "application/json", events.got[0].ContentType)
		require.True(t, events.got[0].Persistent)
		require.JSONEq(t, `{"n":1}`, string(events.got[0].Body))
		require.Equal(t, stream.String(), events.got[0].Headers["cloudEvents_subject"])
		require.Equal(t, "2", events.got[1].Headers["cloudEvents_sequence"])

		require.Len(t, outcomes.got, 3)
		require.Equal(t, "order.landed", outcomes.got[0].RoutingKey)
		require.Equal(t, "order.rejected", outcomes.got[1].RoutingKey)
		require.Equal(t, map[string]any{"traceparent": second.TraceParent}, outcomes.got[1].Headers)
		require.Equal(t, "c-1", outcomes.got[1].CorrelationID)
		var view commands.CommandView
		require.NoError(t, json.Unmarshal(outcomes.got[1].Body, &view))
		require.Equal(t, commands.StatusRejected, view.Status)
		require.Equal(t, first.ID, view.Ticket, "the ticket to send next")
		require.EqualValues(t, 2, view.Version)
		require.Nil(t, view.State)
		require.NotContains(t, string(outcomes.got[1].Body), "secret")
		require.NoError(t, json.Unmarshal(outcomes.got[2].Body, &view))
		require.Equal(t, commands.Genesis, view.Ticket)
		require.Equal(t, [lanes]uint64{3, 3, 3, 3}, w.relayed, "of idle lanes too")
	})
}

func TestTheHappyPathReadsNoLog(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		q := w.bind(bus.EventsExchange, everything)
		a := newOwner(t, w, nil)
		synctest.Wait()
		for range 100 {
			a.commit(landing(streamOn(2, 0), 1))
			synctest.Wait()
		}
		require.Zero(t, w.reads)
		require.NoError(t, a.relay.Shutdown(t.Context()))
		require.NoError(t, w.check(q))
	})
}

func TestWhoTakesALaneOverGoesOnFromItsCheckpoint(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		q := w.bind(bus.EventsExchange, everything)
		a := newOwner(t, w, nil)
		synctest.Wait()
		for range 10 {
			a.commit(landing(streamOn(0, 0), 1), landing(streamOn(1, 0), 1))
		}
		pass(time.Second)
		require.Equal(t, [lanes]uint64{20, 20, 20, 20}, w.relayed)
		a.line.freeze() // it does not come to publishing what it commits
		a.commit(landing(streamOn(0, 0), 1), landing(streamOn(1, 0), 1))
		synctest.Wait()

		b := newOwner(t, w, nil, 0)
		require.False(t, a.commit(landing(streamOn(1, 0), 1)))
		synctest.Wait()
		require.Len(t, q.got, 21, "what was on its lane, once")
		b.commit(landing(streamOn(0, 0), 1))
		pass(time.Second)
		require.Equal(t, [lanes]uint64{23, 20, 20, 20}, w.relayed)

		a.line.thaw() // and repeats, now that it wakes up
		synctest.Wait()
		require.NoError(t, a.relay.Shutdown(t.Context()))
		require.NoError(t, b.relay.Shutdown(t.Context()))
		require.Len(t, q.got, 24)
		require.NoError(t, w.check(q))
	})
}

// DESIGN promise 12: every queue is bounded.
func TestABrokerThatIsAwayIsMadeUpForFromTheLog(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		q := w.bind(bus.EventsExchange, everything)
		a := newOwner(t, w, func(c *relay.Config) { c.KeepOutcomes = 50 })
		synctest.Wait()
		w.change(func() { w.broken = 0 })
		for i := range 3000 {
			a.commit(landing(streamOn(i%lanes, i%7), 1+i%2))
			require.LessOrEqual(t, a.relay.Kept(), 50)
		}
		synctest.Wait()
		require.EqualValues(t, 3000, a.relay.Behind())
		require.Zero(t, w.relayed[0])
		w.change(func() { w.broken, w.slow = -1, time.Millisecond })
		for i := range 1000 { // while it catches up
			a.commit(landing(streamOn(i%lanes, i%7), 1))
			require.LessOrEqual(t, a.relay.Kept(), 50)
			time.Sleep(5 * time.Millisecond)
		}
		pass(10 * time.Second)
		require.Zero(t, a.relay.Behind())
		reads := w.reads
		require.Positive(t, reads)
		a.commit(landing(streamOn(0, 0), 1))
		pass(time.Second)
		require.Equal(t, reads, w.reads, "it goes on with what it is told")
		require.NoError(t, a.relay.Shutdown(t.Context()))
		require.NoError(t, w.check(q))
		require.Len(t, q.got, 4500+1000+1, "none twice, as no batch failed half-way")
	})
}

func TestTheEndPublishesWhatWasCommittedForAWhile(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		q := w.bind(bus.EventsExchange, everything)
		a := newOwner(t, w, nil)
		w.change(func() { w.slow = 10 * time.Millisecond })
		for range 100 {
			a.commit(landing(streamOn(0, 0), 1))
		}
		require.NoError(t, a.relay.Shutdown(t.Context()))
		require.NoError(t, a.relay.Shutdown(t.Context()), "again is fine")
		require.Len(t, q.got, 100)
		require.EqualValues(t, 100, w.relayed[0])

		b := newOwner(t, w, nil)
		w.change(func() { w.broken = 5 })
		for range 10 {
			b.commit(landing(streamOn(0, 0), 1))
		}
		began := time.Now()
		require.ErrorContains(t, b.relay.Shutdown(t.Context()), "10 positions behind")
		require.Equal(t, 5*time.Second, time.Since(began))
		require.NoError(t, newIdle(t, w).Shutdown(t.Context()), "one that never had lanes, or never began")
	})
}

func newIdle(t *testing.T, w *world) *relay.Relay {
	t.Helper()
	r, err := relay.New(relay.Config{Store: w, Publisher: &line{world: w}, Source: "doorman/e1"})
	require.NoError(t, err)
	return r
}

func TestAnIdleRelayKeepsUpWithWhatOthersCommit(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		q := w.bind(bus.EventsExchange, everything)
		tune := func(c *relay.Config) { c.IdleLag = 100 }
		a, b := newOwner(t, w, tune, 0, 1), newOwner(t, w, tune, 2, 3)
		synctest.Wait()
		b.commit(landing(streamOn(2, 0), 1))
		for range 200 {
			a.commit(landing(streamOn(0, 0), 1))
		}
		pass(20 * time.Second)
		require.Equal(t, [lanes]uint64{201, 201, 201, 201}, w.relayed)
		require.NoError(t, a.relay.Shutdown(t.Context()))
		require.NoError(t, b.relay.Shutdown(t.Context()))
		require.Len(t, q.got, 201)
	})
}

func TestConfigTellsEverythingThatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := relay.New(relay.Config{Batch: -1, Drain: -1})
	for _, part := range []string{"Store is", "Publisher is", "Source is", "Batch", "Drain"} {
		require.ErrorContains(t, err, part)
	}
}
