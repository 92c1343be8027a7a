package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/worker/relay"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// kindOf is what a reply says, in a word.
func kindOf(n bus.Notice) string {
	if n.ContentType == problem.ContentType {
		var p problem.Problem
		if err := json.Unmarshal(n.Body, &p); err != nil {
			return err.Error()
		}
		return string(p.Code)
	}
	var view commands.CommandView
	if err := json.Unmarshal(n.Body, &view); err != nil {
		return err.Error()
	}
	return string(view.Status)
}

// counts are the metrics of replies.
type counts struct {
	mu           sync.Mutex
	sent, passed int
}

func (c *counts) Published(int, int) {}
func (c *counts) Took(time.Duration) {}

func (c *counts) Replied(sent, passed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent += sent
	c.passed += passed
}

func (c *counts) passedOver() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.passed
}

func (c *counts) answered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent
}

func settle(t *testing.T, o *owner) {
	t.Helper()
	synctest.Wait()
	require.NoError(t, o.relay.Shutdown(t.Context()))
	require.Zero(t, o.relay.Behind())
	require.Zero(t, o.world.asksLeft())
}

// DESIGN section 4, reply_to: the JSON of GET /v1/commands/{id} as of when told.
func TestWhoWantsAnAnswerIsToldTheOutcome(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		q := w.requester("answers")
		a := newOwner(t, w, func(c *relay.Config) {
			c.Tell = func(_ context.Context, o *commands.Outcome) (commands.CommandView, error) {
				view := commands.ViewOutcome("e1", o)
				if !o.Landed() {
					view.FillIn(commands.Genesis, 7, []byte(`{"now":1}`), nil)
				}
				return view, nil
			}
		})
		landed := asking(landing(streamOn(0, 0), 1), "answers", "c-1")
		landed.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		a.commit(landed, landing(streamOn(1, 0), 1), asking(rejection(streamOn(2, 0)), "answers", "c-2"))
		settle(t, a)

		require.Len(t, q.all(), 2)
		first, second := q.got[0], q.got[1]
		require.Equal(t, bus.Notice{RoutingKey: "answers", CorrelationID: "c-1", ContentType: "application/json", Persistent: true,
			MessageID: first.MessageID, Body: first.Body, Headers: map[string]any{"traceparent": landed.TraceParent}}, first)
		view := commands.ViewOutcome("e1", landed)
		require.Equal(t, string(view.AppendTo(nil)), string(first.Body))
		require.NotEmpty(t, first.MessageID)
		require.NotEqual(t, first.MessageID, second.MessageID)
		require.Equal(t, "c-2", second.CorrelationID)
		require.NoError(t, json.Unmarshal(second.Body, &view))
		require.EqualValues(t, 7, view.Version)
		require.JSONEq(t, `{"now":1}`, string(view.State))
		require.Equal(t, [lanes]uint64{3, 3, 3, 3}, w.saved())
	})
}

// A queue's name and a correlation id may be any bytes.
func TestWhoIsToldSomethingElseIsToldUnderAnotherID(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		short, long := w.requester("q"), w.requester("q\x00c")
		a := newOwner(t, w, nil)
		o := asking(landing(streamOn(0, 0), 1), "q", "c\x00")
		a.commit(o)
		synctest.Wait()
		a.round(&aggregate.Result{Answers: []aggregate.Answer{again(o.ID, o.Stream, "q\x00c", "")}})
		settle(t, a)
		require.Len(t, short.all(), 1)
		require.Len(t, long.all(), 1)
		require.NotEqual(t, short.got[0].MessageID, long.got[0].MessageID)
	})
}

func TestWhoSendsAKnownCommandAgainIsToldWhatBecameOfIt(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		q, other := w.requester("answers"), w.requester("others")
		a := newOwner(t, w, nil)
		o := asking(landing(streamOn(0, 0), 1), "answers", "1")
		a.commit(o)
		synctest.Wait()
		a.round(&aggregate.Result{Answers: []aggregate.Answer{
			again(o.ID, o.Stream, "answers", "1"), again(o.ID, o.Stream, "others", "1"), again(o.ID, o.Stream, "", "1"),
			{Ruling: aggregate.Conflict, ID: o.ID, Stream: streamOn(1, 1), ReplyTo: "answers", CorrelationID: "2"},
		}})
		synctest.Wait()
		require.Equal(t, []string{"1 landed", "1 landed", "2 id_conflict"}, []string{q.told()[0], q.told()[2], q.told()[1]})
		require.Equal(t, q.got[0].MessageID, q.got[2].MessageID, "told the same, he can tell that it is the same")
		require.NotEqual(t, q.got[0].MessageID, q.got[1].MessageID)
		require.Equal(t, []string{"1 landed"}, other.told())
		var p problem.Problem
		require.NoError(t, json.Unmarshal(q.got[1].Body, &p))
		require.Equal(t, o.ID, p.ID)
		require.Equal(t, streamOn(1, 1), p.Stream)
		settle(t, a)
	})
}

func TestWhoAsksForAParkedCommandIsToldWhenItComesToItsEnd(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		first, second := w.requester("first"), w.requester("second")
		a := newOwner(t, w, nil)
		o, silent := asking(landing(streamOn(0, 0), 1), "first", "1"), landing(streamOn(0, 1), 1)
		a.round(&aggregate.Result{Park: []*aggregate.Waiting{waitingFor(o), waitingFor(silent)}})
		a.round(&aggregate.Result{Answers: []aggregate.Answer{again(o.ID, o.Stream, "second", "2"), again(silent.ID, silent.Stream, "second", "3")}})
		synctest.Wait()
		pass(time.Minute)
		require.Empty(t, second.all())
		require.Equal(t, 2, w.asksLeft())

		b := newOwner(t, w, nil) // which takes over while it waits
		synctest.Wait()
		b.round(&aggregate.Result{Answers: []aggregate.Answer{again(o.ID, o.Stream, "first", "4")}})
		b.commit(o, silent)
		settle(t, b)
		require.ElementsMatch(t, []string{"1 landed", "4 landed"}, first.told())
		require.ElementsMatch(t, []string{"2 landed", "3 landed"}, second.told())
		require.NoError(t, a.relay.Shutdown(t.Context()))
	})
}

func waitingFor(o *commands.Outcome) *aggregate.Waiting {
	w := &aggregate.Waiting{}
	w.ID, w.Stream, w.ReplyTo, w.CorrelationID = o.ID, o.Stream, o.ReplyTo, o.CorrelationID
	return w
}

// DESIGN promise 12: every queue is bounded.
func TestMoreThanMayWaitForACommandAreToldSoAtOnce(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		q := w.requester("answers")
		tune := func(c *relay.Config) { c.KeepWaiting = 70 }
		a := newOwner(t, w, tune)
		o, other := landing(streamOn(0, 0), 1), landing(streamOn(0, 1), 1)
		a.round(&aggregate.Result{Park: []*aggregate.Waiting{waitingFor(o), waitingFor(other)}})
		for n := range 100 {
			a.round(&aggregate.Result{Answers: []aggregate.Answer{again(o.ID, o.Stream, "answers", fmt.Sprint(n))}})
		}
		synctest.Wait()
		require.Len(t, q.all(), 36)
		for n, told := range q.told() {
			require.Equal(t, fmt.Sprint(64+n, " rate_limited"), told)
		}
		var many []aggregate.Answer
		for n := range 10 {
			many = append(many, again(other.ID, other.Stream, "answers", fmt.Sprint("other ", n)))
		}
		a.round(&aggregate.Result{Answers: many})
		synctest.Wait()
		require.Len(t, q.all(), 40, "for all of them together")
		require.Equal(t, 70, w.asksLeft())

		b := newOwner(t, w, tune)
		synctest.Wait()
		require.Len(t, q.all(), 40, "who waits goes on waiting")
		b.commit(o, other)
		settle(t, b)
		require.Len(t, q.all(), 110)
		for _, told := range q.told()[40:] {
			require.Contains(t, told, "landed")
		}
		require.NoError(t, a.relay.Shutdown(t.Context()))
	})
}

func TestManyAskForWhatHasLanded(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		q := w.requester("answers")
		a := newOwner(t, w, func(c *relay.Config) { c.KeepReplies = 10 })
		o := landing(streamOn(0, 0), 1)
		a.commit(o)
		a.line.freeze()
		for range 20 {
			var many []aggregate.Answer
			for range 100 {
				many = append(many, again(o.ID, o.Stream, "answers", ""))
			}
			a.round(&aggregate.Result{Answers: many})
		}
		synctest.Wait()
		a.line.thaw()
		settle(t, a)
		require.Len(t, q.all(), 2000)
	})
}

func TestAQueueThatIsGoneKeepsNobodyWaiting(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		q, told := w.requester("answers"), &counts{}
		a := newOwner(t, w, func(c *relay.Config) { c.Metrics = told })
		gone := asking(landing(streamOn(0, 0), 1), "gone", "1")
		began := time.Now()
		a.commit(gone, asking(landing(streamOn(0, 0), 1), "answers", "2"))
		a.round(&aggregate.Result{Answers: []aggregate.Answer{again(gone.ID, gone.Stream, "gone", "3"), again(gone.ID, gone.Stream, "answers", "4")}})
		settle(t, a)
		require.Zero(t, time.Since(began))
		require.ElementsMatch(t, []string{"2 landed", "4 landed"}, q.told())
		require.Equal(t, 2, told.answered())
		require.Equal(t, 2, told.passedOver())
	})
}

// DESIGN section 4: a queue that refuses is tried for 10 s, and then passed over. Meanwhile others get theirs.
func TestAQueueThatIsFullKeepsNobodyElseWaiting(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		events := w.bind(bus.EventsExchange, everything)
		q, full, told := w.requester("answers"), w.requester("full"), &counts{}
		full.full = true
		a := newOwner(t, w, func(c *relay.Config) { c.Metrics = told })
		for n := range 100 {
			began := time.Now()
			a.commit(asking(landing(streamOn(n%lanes, 0), 1), "full", fmt.Sprint(n)), asking(landing(streamOn(n%lanes, 0), 1), "answers", ""))
			synctest.Wait()
			require.Zero(t, time.Since(began))
			require.Len(t, q.all(), n+1)
			require.Len(t, events.got, 2*(n+1))
			pass(10 * time.Millisecond)
		}
		pass(time.Second)
		require.Zero(t, w.saved()[0], "what was not answered is answered by whoever takes the lane over")
		w.change(func() { full.full = false })
		pass(2 * time.Second)
		require.Len(t, full.all(), 100)
		require.Equal(t, [lanes]uint64{200, 200, 200, 200}, w.saved())

		w.change(func() { full.full = true })
		a.commit(asking(landing(streamOn(0, 0), 1), "full", "late"))
		pass(9 * time.Second)
		require.EqualValues(t, 200, w.saved()[0])
		pass(2 * time.Second)
		require.Equal(t, 1, told.passedOver())
		require.EqualValues(t, 201, w.saved()[0])
		a.commit(asking(landing(streamOn(0, 0), 1), "full", "later"))
		pass(2 * time.Second)
		require.Equal(t, 2, told.passedOver(), "it is not waited for again")
		w.change(func() { full.full = false })
		a.commit(asking(landing(streamOn(0, 0), 1), "full", "at last"))
		pass(2 * time.Second)
		settle(t, a)
		require.Equal(t, "at last landed", full.told()[100])
		require.Equal(t, 201, told.answered())
	})
}

// One of a queue without a leader, of which the broker says nothing.
func TestAQueueThatSaysNothingKeepsOthersWaitingOnce(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		q, silent, told := w.requester("answers"), w.requester("silent"), &counts{}
		silent.silent = true
		a := newOwner(t, w, func(c *relay.Config) { c.Metrics = told })
		pair := func() {
			a.commit(asking(landing(streamOn(0, 0), 1), "silent", ""), asking(landing(streamOn(0, 0), 1), "answers", ""))
		}
		pair()
		pass(2 * time.Second)
		require.Len(t, q.all(), 1)
		for n := range 300 {
			pair()
			synctest.Wait()
			require.Len(t, q.all(), n+2)
			pass(100 * time.Millisecond)
		}
		pass(20 * time.Second)
		require.Equal(t, 301, told.passedOver())
		require.Less(t, silent.tried(), 30, "not each of them is tried")
		w.change(func() { silent.silent = false })
		pair()
		pass(3 * time.Second)
		pair()
		settle(t, a)
		require.Len(t, silent.all(), 2)
	})
}

func TestNoMoreThanABoundIsPutAside(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		full, q, told := w.requester("full"), w.requester("answers"), &counts{}
		full.full = true
		a := newOwner(t, w, func(c *relay.Config) { c.Metrics, c.KeepAside = told, 10 })
		for range 100 {
			a.commit(asking(landing(streamOn(0, 0), 1), "full", ""))
			synctest.Wait()
		}
		a.commit(asking(landing(streamOn(0, 0), 1), "answers", ""))
		synctest.Wait()
		require.Equal(t, 90, told.passedOver())
		require.Len(t, q.all(), 1)
		w.change(func() { full.full = false })
		pass(2 * time.Second)
		settle(t, a)
		require.Len(t, full.all(), 10)
	})
}

func TestRepliesWaitForNoEvent(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		q := w.requester("answers")
		a := newOwner(t, w, nil)
		w.change(func() { w.slow = time.Hour }) // for what goes to exchanges
		for range 10 {
			a.commit(asking(landing(streamOn(0, 0), 1), "answers", ""))
			synctest.Wait()
		}
		require.Len(t, q.all(), 10)
		require.Zero(t, w.saved()[0])
		w.change(func() { w.slow = 0 })
		pass(2 * time.Hour)
		settle(t, a)
		require.Len(t, q.all(), 10)
	})
}

func TestEventsWaitForNoReply(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		events, q := w.bind(bus.EventsExchange, everything), w.requester("answers")
		fails := true
		a := newOwner(t, w, func(c *relay.Config) {
			c.KeepReplies = 5
			c.Tell = func(_ context.Context, o *commands.Outcome) (commands.CommandView, error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				if fails {
					return commands.CommandView{}, fmt.Errorf("%w: for now", store.ErrUnavailable)
				}
				return commands.ViewOutcome("e1", o), nil
			}
		})
		for n := range 50 {
			a.commit(asking(landing(streamOn(0, 0), 1), "answers", ""), asking(rejection(streamOn(0, 0)), "answers", ""))
			synctest.Wait()
			require.Len(t, events.got, n+1)
		}
		require.Empty(t, q.all())
		require.Zero(t, w.saved()[0])
		w.change(func() { fails = false })
		pass(5 * time.Second)
		settle(t, a)
		require.Len(t, q.all(), 100)
	})
}

func TestAnOutcomeThatCannotBeToldInFullIsToldAsFarAsItGoes(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		q := w.requester("answers")
		a := newOwner(t, w, func(c *relay.Config) {
			c.Tell = func(context.Context, *commands.Outcome) (commands.CommandView, error) {
				return commands.CommandView{}, errors.New("its stream is damaged")
			}
		})
		a.commit(asking(rejection(streamOn(0, 0)), "answers", "1"))
		settle(t, a)
		require.Equal(t, []string{"1 rejected"}, q.told())
	})
}

func TestWhatWasNotAnsweredBeforeTheEndTheNextOwnerAnswers(t *testing.T) {
	simulated(t, func(t *testing.T, w *world) {
		full := w.requester("full")
		full.full = true
		a := newOwner(t, w, nil)
		o := asking(landing(streamOn(0, 0), 1), "full", "1")
		a.commit(o)
		a.round(&aggregate.Result{Answers: []aggregate.Answer{again(o.ID, o.Stream, "full", "2")}})
		synctest.Wait()
		began := time.Now()
		require.ErrorContains(t, a.relay.Shutdown(t.Context()), "1 positions behind")
		require.Less(t, time.Since(began), time.Second, "it does not wait for who refuses")
		w.change(func() { full.full = false })
		b := newOwner(t, w, nil)
		settle(t, b)
		require.ElementsMatch(t, []string{"1 landed", "2 landed"}, full.told())
	})
}
