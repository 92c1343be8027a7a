package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

var idTests = append(knownIDTests(), []test{
	{"an id twice in one batch is known", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		first := a.land(stream("1"), event("1"))
		a.reject(stream("2"), commands.StaleTicket).ID = first.ID
		_, err := a.try()
		require.ErrorIs(t, err, store.ErrIDKnown)
		require.Zero(t, end(t, d.store))

		w := a.park(stream("1"), time.Second)
		a.landAs(w.ID, stream("2"), event("1"))
		_, err = a.try()
		require.ErrorIs(t, err, store.ErrIDKnown)
		requireUntouched(t, d, stream("1"), stream("2"))
	}},
	{"a parked command's own outcome is no repetition when the batch unparks it", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		w := a.park(stream("1"), time.Second)
		a.commit()
		o := a.settled(w)
		o.Events = events(1)
		a.landing(o)
		a.commit()
		requireFact(t, o, facts(t, d.store, w.ID)[0])
		require.Empty(t, load(t, d.store, stream("1"))[0].Waiting)
	}},
	{"after ErrIDKnown the same committer goes on", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		first := a.land(stream("1"), event("1"))
		a.commit()
		for range 3 {
			a.land(stream("2"), event("1"))
			a.landAs(first.ID, stream("1"), event("2"))
			_, err := a.try()
			require.ErrorIs(t, err, store.ErrIDKnown)
			a.land(stream("1"), event("2"))
			a.land(stream("3"), event("1"))
			a.commit()
		}
		require.EqualValues(t, 7, end(t, d.store))
		require.EqualValues(t, 4, load(t, d.store, stream("1"))[0].Head.Version)
	}},
}...)

// met is one way in which an id can become known.
type met struct {
	name string
	add  func(a *author, s commands.Stream, id commands.ID)
}

var meetings = []met{
	{"landed", func(a *author, s commands.Stream, id commands.ID) {
		o := a.outcome(s)
		o.ID, o.Events = id, events(1)
		a.landing(o)
	}},
	{"landed without events", func(a *author, s commands.Stream, id commands.ID) {
		o := a.outcome(s)
		o.ID = id
		a.landing(o)
	}},
	{"rejected", func(a *author, s commands.Stream, id commands.ID) {
		o := a.outcome(s)
		o.ID, o.Reason, o.Root, o.RootReason = id, commands.StaleTicket, id, commands.StaleTicket
		a.rejection(o)
	}},
	{"parked", func(a *author, s commands.Stream, id commands.ID) {
		a.park(s, time.Second).ID = id
	}},
}

// knownIDTests pairs every way of becoming known with every way of coming again, on the same stream, on
// another stream of the lane, and on another lane.
func knownIDTests() []test {
	var tests []test
	places := []struct {
		name   string
		stream commands.Stream
	}{
		{"the same stream", streamOn(1, 0)}, {"another stream of the lane", streamOn(1, 1)}, {"another lane", streamOn(2, 0)},
	}
	for _, before := range meetings {
		for _, again := range meetings {
			for _, place := range places {
				tests = append(tests, test{
					rule: fmt.Sprintf("an id that was %s is known when it is %s on %s", before.name, again.name, place.name),
					check: func(t testing.TB, d *data) {
						knownID(t, d, before, again, place.stream)
					},
				})
			}
		}
	}
	return tests
}

func knownID(t testing.TB, d *data, before, again met, place commands.Stream) {
	first, second := newAuthor(t, d.store, 1), newAuthor(t, d.store, 2)
	bystander, id := streamOn(1, 2), commands.NewID()
	before.add(first, streamOn(1, 0), id)
	first.commit()
	fact := facts(t, d.store, id)[0]
	require.NotEqual(t, aggregate.Unheard, fact.Standing)
	log := wholeLog(t, d.store)

	a := first
	if place.Lane(Lanes) == 2 {
		a, bystander = second, streamOn(2, 2)
	}
	innocent := a.land(bystander, event("1"))
	again.add(a, place, id)
	waiting := a.park(bystander, time.Second)
	_, err := a.try()
	require.ErrorIs(t, err, store.ErrIDKnown)

	require.Equal(t, fact, facts(t, d.store, id)[0], "the first stands")
	for _, f := range facts(t, d.store, innocent.ID, waiting.ID) {
		require.Equal(t, aggregate.Fact{}, f, "nothing of the batch stays")
	}
	require.Equal(t, log, wholeLog(t, d.store))
	requireUntouched(t, d, bystander)
}

// requireUntouched checks that nothing ever happened on these streams.
func requireUntouched(t testing.TB, d *data, streams ...commands.Stream) {
	for i, r := range load(t, d.store, streams...) {
		require.Zero(t, r.Head)
		require.Nil(t, r.State)
		require.Empty(t, r.Tail)
		require.Empty(t, r.Waiting)
		require.Empty(t, changelog(t, d.store, streams[i], 0, 10))
	}
}
