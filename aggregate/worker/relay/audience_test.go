package relay_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/worker/relay"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/commands"
)

func TestWhatNobodyListensToDoesNotTravel(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		a := newOwner(t, w, nil)
		synctest.Wait()
		var batch []*commands.Outcome
		for i := range 1000 {
			batch = append(batch, landing(streamOn(i%lanes, 0), 2))
		}
		a.commit(batch...)
		synctest.Wait()
		require.Zero(t, a.relay.Behind())
		require.LessOrEqual(t, w.sent, 6, "one of each routing key")

		sent, began := w.sent, time.Now()
		for range 100 {
			a.commit(landing(streamOn(0, 0), 1))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		require.Zero(t, a.relay.Behind())
		require.LessOrEqual(t, w.sent-sent, 2*6, "what lands within 20 ms is asked for together, in %s", time.Since(began))

		q := w.bind(bus.EventsExchange, everything)
		more := []*commands.Outcome{landing(streamOn(0, 0), 2), landing(streamOn(0, 0), 3), landing(streamOn(1, 0), 1)}
		a.commit(more...)
		synctest.Wait()
		require.Len(t, q.got, 6, "all of it, none of it twice")
		require.NoError(t, w.check(q))
		require.NoError(t, a.relay.Shutdown(t.Context()))
	})
}

// To wait between full batches would bound how much a worker can commit before the relay has to read it from the log.
func TestFullBatchesThatNobodyListensToDoNotWait(t *testing.T) {
	t.Parallel()
	for name, tune := range map[string]func(*relay.Config){
		"by number": func(c *relay.Config) { c.Batch = 10 },
		"by size":   func(c *relay.Config) { c.BatchBytes = 1 << 10 },
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T, w *world) {
				a := newOwner(t, w, tune)
				synctest.Wait()
				var all []*commands.Outcome
				for range 100 {
					all = append(all, landing(streamOn(0, 0), 1))
				}
				a.commit(all...)
				synctest.Wait() // no time passes
				require.Zero(t, a.relay.Behind())
				require.NoError(t, a.relay.Shutdown(t.Context()))
			})
		})
	}
}

// A consumer that is routed to by headers may want one message of a routing key and not the one before.
func TestEverythingTravelsWhereThatIsAskedFor(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		a := newOwner(t, w, func(c *relay.Config) { c.Always = true })
		synctest.Wait()
		a.commit(landing(streamOn(0, 0), 2), landing(streamOn(1, 0), 2))
		synctest.Wait()
		require.Equal(t, 6, w.sent, "four events and two outcomes, though nobody is bound")
		require.NoError(t, a.relay.Shutdown(t.Context()))
	})
}

func TestAQueueForSomeRoutingKeysGetsThoseInFull(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		q := w.bind(bus.EventsExchange, func(key string) bool { return key == "document.noted" })
		a := newOwner(t, w, nil)
		for i := range 100 {
			a.commit(landing(streamOn(i%lanes, i%3), 1+i%3), landing(streamOn((i+1)%lanes, i%5), 2))
			synctest.Wait()
		}
		pass(time.Minute)
		a.commit(landing(streamOn(0, 0), 2), landing(streamOn(0, 1), 2))
		require.NoError(t, a.relay.Shutdown(t.Context()))
		require.NoError(t, w.check(q))
		require.NotEmpty(t, q.got)
	})
}

func TestAnAudienceThatLeftIsNoticed(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		w.bind(bus.EventsExchange, everything)
		a := newOwner(t, w, nil)
		a.commit(landing(streamOn(0, 0), 1))
		synctest.Wait()
		w.change(func() { w.queues = nil })
		pass(time.Minute)
		var batch []*commands.Outcome
		for range 500 {
			batch = append(batch, landing(streamOn(0, 0), 1))
		}
		before := w.sent
		a.commit(batch...)
		require.NoError(t, a.relay.Shutdown(t.Context()))
		require.LessOrEqual(t, w.sent-before, 2)
	})
}

func TestMoreRoutingKeysThanAreAskedForOneByOne(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		q := w.bind(bus.EventsExchange, func(key string) bool { return key == "order.kind_40" })
		a := newOwner(t, w, nil)
		o := landing(streamOn(0, 0), 100)
		for i := range o.Events {
			o.Events[i].Type = fmt.Sprintf("kind_%d", i)
		}
		a.commit(o)
		require.NoError(t, a.relay.Shutdown(t.Context()))
		require.NoError(t, w.check(q))
		require.Len(t, q.got, 1)
	})
}
