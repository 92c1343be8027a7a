package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/worker"
	"github.com/ticketed/doorman/bus/frame"
	"github.com/ticketed/doorman/commands"
)

// reject is Olga's order about a command on stream a.
func reject(n int, why string) commands.Envelope {
	return commands.RejectOrder(id(n), commands.Stream{Type: "tally", ID: "a"}, "Olga", why, time.Now())
}

// DESIGN section 2: "An operator may reject a parked command (rejected_by_operator, with who and why); it
// cascades". Its frame is acknowledged once that is committed, and what comes again changes nothing.
func TestAnOperatorRejectsAParkedCommand(t *testing.T) {
	t.Parallel()
	m := newMemory(4)
	var away atomic.Int32
	m.before = func(*store.Batch) (error, bool) {
		if away.Add(-1) >= 0 {
			return store.ErrUnavailable, false
		}
		return nil, false
	}
	r := start(t, m, nil)
	r.send(command(2, "a", "add", id(1)), command(3, "a", "add", id(2)))
	away.Store(3)
	order := reject(2, "a mistake")
	r.send(order)
	require.Equal(t, "rejected_by_operator", r.outcome(id(2)))
	require.Equal(t, "rejected by Olga: a mistake", m.log[0].Detail)
	require.Equal(t, "predecessor_rejected", r.outcome(id(3)))
	require.Equal(t, id(2), m.log[1].Root)

	r.send(order) // as when the acknowledgement was lost
	r.send(reject(2, "again"), reject(77, "who is that?"))
	require.Len(t, m.log, 2)
	require.Empty(t, m.dead)
}

// What has landed, or is about to, is not taken back.
func TestAnOrderThatComesTooLateChangesNothing(t *testing.T) {
	t.Parallel()
	r := start(t, newMemory(4), nil)
	r.send(command(2, "a", "add", id(1)), command(3, "a", "add", id(2)))
	r.send(command(1, "a", "add", commands.Genesis), reject(3, "too late"))
	require.Equal(t, "landed@3", r.outcome(id(3)))
	r.send(reject(3, "much too late"))
	require.Len(t, r.store.log, 3)
}

// An order that cannot be carried out stops no lane and costs no command: it becomes a dead letter, which holds the
// order as it was sent.
func TestAnOrderThatCannotBeCarriedOutBecomesADeadLetter(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*commands.Envelope)
		cause  string
	}{
		"of a later release":    {func(e *commands.Envelope) { e.Order = 7 }, "this program knows no order number 7"},
		"nobody's":              {func(e *commands.Envelope) { e.Actor = "" }, "does not say who gave it and why"},
		"without a reason":      {func(e *commands.Envelope) { e.Data = nil }, "does not say who gave it and why"},
		"with several lines":    {func(e *commands.Envelope) { e.Data = []byte("a\nb") }, `"why" must not hold control characters`},
		"by nobody to be shown": {func(e *commands.Envelope) { e.Actor = "Olga\x00" }, `"by" must not hold control characters`},
		"no text":               {func(e *commands.Envelope) { e.Data = []byte("\xff") }, "no UTF-8"},
		"a novel":               {func(e *commands.Envelope) { e.Data = []byte(strings.Repeat("a", 1001)) }, `"why" must be 1000 characters at most`},
		"that no store takes":   {func(e *commands.Envelope) { e.Data = []byte(unstorable) }, "could not be committed: this text cannot be stored"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMemory(1)
			m.before = func(b *store.Batch) (error, bool) {
				for _, o := range b.Outcomes {
					if strings.Contains(o.Detail, unstorable) {
						return errors.New("this text cannot be stored"), false
					}
				}
				return nil, false
			}
			r := start(t, m, nil)
			r.send(command(2, "a", "add", id(1)))
			order := reject(2, "a mistake")
			test.change(&order)
			r.send(command(8, "b", "add", commands.Genesis), order, command(9, "b", "add", id(8)), reject(2, "in earnest"))
			require.Equal(t, "landed@2", r.outcome(id(9)))
			require.Equal(t, "rejected_by_operator", r.outcome(id(2)), "by the other order")
			require.Len(t, m.dead, 1)
			require.Contains(t, m.dead[0].Cause, test.cause)
			require.Equal(t, commands.Malformed, m.dead[0].Reason)
			kept, err := frame.Decode(m.dead[0].Envelope.Data)
			require.NoError(t, err)
			require.Len(t, kept, 1)
			require.Equal(t, order.ID, kept[0].ID)
			require.Equal(t, order.Order, kept[0].Order)
		})
	}
}

// DESIGN section 7: "a frame that keeps coming back is judged command by command", an order among them.
func TestAnOrderThatEndedSeveralProcessesIsNotCarriedOut(t *testing.T) {
	t.Parallel()
	order := reject(2, "a mistake")
	s := &suspects{before: map[commands.ID]int{order.ID: 2}}
	m := newMemory(1)
	r := start(t, m, func(c *worker.Config) { c.Suspect = s.note })
	r.send(command(2, "a", "add", id(1)))
	r.await([]chan error{r.returned(5, command(1, "b", "add", commands.Genesis), order, reject(2, "in earnest"))})
	require.Equal(t, "rejected by Olga: in earnest", m.log[1].Detail)
	require.Len(t, m.dead, 1)
	require.Equal(t, "an operator's order about the command "+id(2).String()+`, by "Olga": 2 processes ended while they judged it alone`,
		m.dead[0].Cause)
}

// Whoever holds the lane carries it out: what one worker had judged and did not live to commit, the next one does.
func TestAnOrderOutlivesTheWorkerThatHeldIt(t *testing.T) {
	t.Parallel()
	m := newMemory(1)
	committing, hold := make(chan struct{}, 100), make(chan struct{})
	var dead atomic.Bool
	m.before = func(b *store.Batch) (error, bool) {
		if len(b.Unpark) > 0 && !dead.Load() {
			committing <- struct{}{}
			<-hold
			return fmt.Errorf("%w: it is gone", store.ErrUnavailable), false
		}
		return nil, false
	}
	w := &world{t: t}
	w.store, w.broker = m, newBroker(1, func([]byte) {})
	first := w.broker.connect(10)
	old := start(t, m, func(c *worker.Config) { c.Subscriber = first })
	waiting := command(2, "a", "add", id(1))
	w.broker.publish(0, frame.Append(nil, &waiting))
	old.until("it is parked", func() bool { return len(m.waiting()) == 1 })
	order := reject(2, "a mistake")
	w.broker.publish(0, frame.Append(nil, &order))
	<-committing

	first.cut()
	w.broker.giveBack(func([][]byte) {})
	dead.Store(true)
	second := w.broker.connect(10)
	next := start(t, m, func(c *worker.Config) { c.Subscriber = second })
	next.until("it is carried out", func() bool { return next.outcome(id(2)) == "rejected_by_operator" })
	next.until("its frame is acknowledged", func() bool { return w.broker.left() == 0 })
	close(hold)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, old.worker.Shutdown(ctx))
	second.cut()
	require.Len(t, m.log, 1)
}
