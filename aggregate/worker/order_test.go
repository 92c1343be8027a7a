package worker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// watched tells when code of the type is run.
type watched struct {
	missingType
	ran func()
}

func (w watched) Decide(any, string, []byte) ([]commands.Event, error) {
	w.ran()
	return nil, nil
}

// deskOf is a desk that has one stream in memory, on which commands wait.
func deskOf(t aggregate.Type, stream commands.Stream, head aggregate.Head, parked []*aggregate.Waiting) *desk {
	d := newDesk(&Worker{cfg: Config{Limits: aggregate.DefaultLimits}, orders: make(chan *order)})
	d.lanes = map[int]*lane{0: {}}
	d.cache, d.facts, d.parked = newCache(10, 1<<20), newFacts(100), newParkedIndex(d.lanes, 1)
	var backlog []store.Parked
	for _, w := range parked {
		backlog = append(backlog, store.Parked{ID: w.ID, Stream: stream})
	}
	d.parked.load(backlog, time.Now())
	fact := func(id commands.ID) aggregate.Fact { f, _ := d.facts.Fact(id); return f }
	d.cache.put(&held{Instance: aggregate.Restore(t, stream, head, nil, nil, parked, fact, d.guard), lane: d.lanes[0]})
	return d
}

func waits(id, ticket commands.ID, stream commands.Stream) *aggregate.Waiting {
	w := &aggregate.Waiting{}
	w.ID, w.Ticket, w.Stream, w.Seq = id, ticket, stream, uint64(id[0])
	return w
}

// DESIGN section 2: endless work in aggregate code is never an endless wait. A desk whose goroutine is left
// behind hands its orders over, the one at hand too.
func TestAnOrderIsOnTheDeskWhileCodeRunsForIt(t *testing.T) {
	t.Parallel()
	landed, released, parked := commands.ID{1}, commands.ID{2}, commands.ID{3}
	stream := commands.Stream{Type: "tally", ID: "1"}
	var d *desk
	ran := 0
	kind := watched{"tally", func() {
		ran++
		require.Len(t, d.orders, 1)
	}}
	d = deskOf(kind, stream, aggregate.Head{Action: landed}, []*aggregate.Waiting{
		waits(released, landed, stream), waits(parked, commands.ID{9}, stream)})
	d.orders = []*order{{id: parked, done: make(chan error, 1)}}
	s := d.sit()
	require.True(t, d.carryOut(s))
	require.Equal(t, 1, ran)
	require.Empty(t, d.orders)
	require.Len(t, s.orders, 1)
	require.Len(t, s.round.Result.Outcomes, 2)
}

// DESIGN promise 12: every queue is bounded. What an operator gave up waiting for is not kept over an outage.
func TestOrdersAreBounded(t *testing.T) {
	t.Parallel()
	d := deskOf(watched{missingType: "tally"}, commands.Stream{Type: "tally", ID: "1"}, aggregate.Head{}, nil)
	ctx, giveUp := context.WithCancelCause(t.Context())
	for n := range mostOrders {
		o := &order{id: commands.ID{1}}
		if n%2 == 0 {
			o.over = ctx.Done()
		}
		require.NotNil(t, d.wanted())
		d.orders = append(d.orders, o)
	}
	require.Nil(t, d.wanted())
	require.Len(t, d.orders, mostOrders)
	giveUp(errors.New("the operator went home"))
	require.NotNil(t, d.wanted())
	require.Len(t, d.orders, mostOrders/2)
}
