package worker

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
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
	w := &Worker{cfg: Config{Limits: aggregate.DefaultLimits}}
	w.cfg.setDefaults()
	d := newDesk(w)
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

// arrived is a frame of one order, on the desk.
func (d *desk) arrived(order commands.Envelope) {
	a := &arrival{message: message.NewMessage("m", nil), commands: []commands.Envelope{order}, left: 1}
	d.lanes[0].unread++
	d.backlog = append(d.backlog, item{env: &a.commands[0], from: a})
}

// DESIGN section 2: endless work in aggregate code is never an endless wait. A desk whose goroutine is left
// behind hands on what it has in hand, the order that is being carried out too.
func TestAnOrderIsOnTheDeskWhileCodeRunsForIt(t *testing.T) {
	t.Parallel()
	landed, released, parked := commands.ID{1}, commands.ID{2}, commands.ID{3}
	stream := commands.Stream{Type: "tally", ID: "1"}
	var d *desk
	ran := 0
	kind := watched{"tally", func() {
		ran++
		require.Len(t, d.pass.rest(), 1)
	}}
	d = deskOf(kind, stream, aggregate.Head{Action: landed}, []*aggregate.Waiting{
		waits(released, landed, stream), waits(parked, commands.ID{9}, stream)})
	d.arrived(commands.RejectOrder(parked, stream, "Olga", "a mistake", time.Now()))
	s := d.sit()
	d.take(s, 1)
	require.Equal(t, 1, ran)
	require.Empty(t, d.backlog)
	require.Len(t, s.frames, 1)
	require.Len(t, s.round.Result.Outcomes, 2)
}

// What is in a frame is whatever somebody put there. Only what is parked here is looked at, and no stream is
// read for an order that is about something else.
func TestAnOrderAboutWhatIsNotParkedHereReadsNothing(t *testing.T) {
	t.Parallel()
	stream := commands.Stream{Type: "tally", ID: "1"}
	parked := commands.ID{3}
	for name, order := range map[string]commands.Envelope{
		"an unknown id":       commands.RejectOrder(commands.ID{4}, stream, "Olga", "a mistake", time.Now()),
		"another stream":      commands.RejectOrder(parked, commands.Stream{Type: "tally", ID: "2"}, "Olga", "a mistake", time.Now()),
		"what is no stream":   commands.RejectOrder(parked, commands.Stream{Type: "\x00", ID: "\xff"}, "Olga", "a mistake", time.Now()),
		"no command whatever": commands.RejectOrder(commands.None, commands.Stream{}, "Olga", "a mistake", time.Now()),
	} {
		d := deskOf(watched{missingType: "tally"}, stream, aggregate.Head{}, []*aggregate.Waiting{waits(parked, commands.ID{9}, stream)})
		d.arrived(order)
		s := d.sit()
		d.take(s, 1) // there is no store: it would panic
		require.Empty(t, s.round.Result.Outcomes, name)
		require.Len(t, s.frames, 1, "%s: its frame is acknowledged", name)
		require.Nil(t, s.batch(d.lanes), name)
	}
}

// It keeps its place: what came before it on its stream, and waits for facts, goes first.
func TestAnOrderWaitsBehindTheCommandsOfItsStream(t *testing.T) {
	t.Parallel()
	stream := commands.Stream{Type: "tally", ID: "1"}
	parked := commands.ID{3}
	d := deskOf(watched{missingType: "tally"}, stream, aggregate.Head{}, []*aggregate.Waiting{waits(parked, commands.ID{9}, stream)})
	d.arrived(commands.RejectOrder(parked, stream, "Olga", "a mistake", time.Now()))
	h, _ := d.cache.get(stream)
	h.blocked = true
	d.pass.items = d.backlog
	_, full := d.goThrough(d.sit(), nil)
	require.False(t, full)
	require.Equal(t, 1, d.pass.kept)
}
