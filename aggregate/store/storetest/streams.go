package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

var streamTests = []test{
	{"a stream of which nothing is known is a record at version 0", func(t testing.TB, d *data) {
		requireUntouched(t, d, stream("1"), stream("2"))
		_, ok, err := d.store.Head(context.Background(), stream("1"))
		require.NoError(t, err)
		require.False(t, ok)
	}},
	{"loading no streams gives no records", func(t testing.TB, d *data) {
		require.Empty(t, load(t, d.store))
	}},
	{"a head is what the batch says, with the position of its action", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		a.reject(stream("9"), commands.StaleTicket)
		a.land(stream("1"), events(2)...)
		last := a.land(stream("1"), events(3)...)
		a.land(stream("2"), events(1)...)
		a.commit()
		head := aggregate.Head{Version: 5, Action: last.ID, Position: 3, At: last.At, Session: last.Session}
		require.Equal(t, head, a.record(stream("1")).Head)
		requireHead(t, d.store, stream("1"), head)
	}},
	{"a head let in by policy any says so", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		o := a.outcome(stream("1"))
		o.Policy, o.Ticket, o.Events, o.Session = commands.PolicyAny, commands.None, events(1), ""
		a.landing(o)
		a.commit()
		requireHead(t, d.store, stream("1"), aggregate.Head{Version: 1, Action: o.ID, Position: 1, At: o.At, ByAny: true})
		require.Equal(t, changesOf(o), changelog(t, d.store, stream("1"), 0, 10))
		next := a.land(stream("1"), events(1)...)
		a.commit()
		requireHead(t, d.store, stream("1"), aggregate.Head{Version: 2, Action: next.ID, Position: 2, At: next.At, Session: next.Session})
	}},
	{"a landing without events moves the head and not the version", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		start := a.land(stream("1"))
		a.commit()
		requireHead(t, d.store, stream("1"), aggregate.Head{Action: start.ID, Position: 1, At: start.At, Session: start.Session})
		a.land(stream("1"), events(1)...)
		quiet := a.land(stream("1"))
		a.commit()
		requireHead(t, d.store, stream("1"), aggregate.Head{Version: 1, Action: quiet.ID, Position: 3, At: quiet.At, Session: quiet.Session})
		require.Len(t, changelog(t, d.store, stream("1"), 0, 10), 1)
		requireFact(t, quiet, facts(t, d.store, quiet.ID)[0])
	}},
	{"rejections leave the head alone, on streams known or not", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		a.land(stream("1"), events(1)...)
		a.commit()
		head := a.record(stream("1")).Head
		known, unknown := a.reject(stream("1"), commands.Refused), a.reject(stream("2"), commands.StaleTicket)
		a.commit()
		requireHead(t, d.store, stream("1"), head)
		requireUntouched(t, d, stream("2"))
		requireFact(t, known, facts(t, d.store, known.ID)[0])
		requireFact(t, unknown, facts(t, d.store, unknown.ID)[0])
		a.land(stream("2"), events(1)...)
		a.commit()
		require.EqualValues(t, 1, load(t, d.store, stream("2"))[0].Head.Version)
	}},
	{"streams that differ in tenant, type or id alone are different", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		streams := []commands.Stream{{Type: "order", ID: "1"}, {Tenant: "t", Type: "order", ID: "1"},
			{Type: "order", ID: "2"}, {Type: "orders", ID: "1"}, {Type: "order", ID: "A"}, {Type: "order", ID: "a"}}
		for n, s := range streams {
			a.land(s, events(n+1)...)
		}
		a.commit()
		for n, r := range load(t, d.store, streams...) {
			require.EqualValues(t, n+1, r.Head.Version)
		}
		for n, o := range wholeLog(t, d.store) {
			require.Equal(t, streams[n], o.Stream)
		}
	}},
	{"a stream asked for twice is given twice", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		a.land(stream("1"), events(1)...)
		a.commit()
		records := load(t, d.store, stream("1"), stream("2"), stream("1"))
		require.EqualValues(t, 1, records[0].Head.Version)
		require.Zero(t, records[1].Head)
		require.Equal(t, records[0].Head, records[2].Head)
	}},
	{"a state that is not given stays, and the tail holds what followed", laggingState},
	{"a snapshot is kept for reads as of its version", snapshots},
	{"a state above the head is not kept", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		zero, err := d.store.StateBefore(context.Background(), stream("1"), 0)
		require.NoError(t, err)
		require.Equal(t, store.Snapshot{}, zero)
		_, err = d.store.StateBefore(context.Background(), stream("1"), 1)
		require.ErrorIs(t, err, store.ErrNotKept)
		a.land(stream("1"), events(2)...)
		a.commit()
		_, err = d.store.StateBefore(context.Background(), stream("1"), 3)
		require.ErrorIs(t, err, store.ErrNotKept)
	}},
	{"a changelog is the events of the stream alone, from a version on, up to a limit", changelogs},
	{"a stream of more than 10,000 events is read in pages and loaded", longStream},
	{"a stream of many small batches reads like one of a single batch", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		var landed []*commands.Outcome
		for n := range 300 {
			landed = append(landed, a.landLazily(stream("1"), events(n%3)...))
			a.land(stream("2"), events(1)...)
			a.commit()
			if n%50 == 49 {
				clear(a.records) // so that it is loaded anew
				requireHead(t, d.store, stream("1"), a.record(stream("1")).Head)
				require.Equal(t, changesOf(landed...), changelog(t, d.store, stream("1"), 0, 37))
			}
		}
		require.EqualValues(t, 300, load(t, d.store, stream("2"))[0].Head.Version)
	}},
}

func laggingState(t testing.TB, d *data) {
	a := newAuthor(t, d.store)
	s := stream("1")
	lazy := a.landLazily(s, events(2)...)
	a.commit()
	requireHead(t, d.store, s, a.record(s).Head)
	require.Equal(t, lazy.Events, load(t, d.store, s)[0].Tail)

	a.land(s, events(1)...)
	a.commit()
	tail := append(a.landLazily(s, event("4"), event("5")).Events, a.landLazily(s, event("6")).Events...)
	a.landLazily(s)
	a.commit()
	tail = append(tail, a.landLazily(s, event("7")).Events...)
	a.commit()
	d.reopen()
	requireHead(t, d.store, s, a.record(s).Head)
	r := load(t, d.store, s)[0]
	require.EqualValues(t, 3, r.StateVersion)
	require.Equal(t, tail, r.Tail)

	// A state may also be given late, of a version that is no longer the head's.
	a = newAuthor(t, d.store)
	a.landLazily(s, event("8"))
	change := a.changes[s]
	change.State, change.StateVersion = stateAt(7), 7
	a.commit()
	r = load(t, d.store, s)[0]
	require.EqualValues(t, 7, r.StateVersion)
	require.Equal(t, []commands.Event{event("8")}, r.Tail)
	requireHead(t, d.store, s, a.record(s).Head)
}

func snapshots(t testing.TB, d *data) {
	a := newAuthor(t, d.store)
	s := stream("1")
	var kept []uint64
	for n := range 40 {
		o := a.land(s, events(1+n%2)...)
		if n%10 == 5 {
			a.changes[s].Snapshot = true
			kept = append(kept, o.Version)
		}
		a.commit()
	}
	head := a.record(s).Head.Version
	check := func() {
		for version := range head + 1 {
			snap, err := d.store.StateBefore(context.Background(), s, version)
			require.NoError(t, err)
			require.LessOrEqual(t, snap.Version, version)
			for _, k := range kept {
				require.False(t, k <= version && k > snap.Version, "version %d was kept", k)
			}
			if snap.Version == 0 {
				require.Nil(t, snap.State)
			} else {
				require.Equal(t, string(stateAt(snap.Version)), string(snap.State))
			}
		}
		snap, err := d.store.StateBefore(context.Background(), s, head)
		require.NoError(t, err)
		require.Equal(t, head, snap.Version, "the stored state counts too")
	}
	check()
	d.reopen()
	check()
}

func changelogs(t testing.TB, d *data) {
	a := newAuthor(t, d.store)
	var landed []*commands.Outcome
	for n := range 25 {
		landed = append(landed, a.land(stream("1"), events(n%4)...))
		a.land(stream("2"), events(2)...)
		a.reject(stream("1"), commands.Refused)
		if n%7 == 0 {
			a.commit()
		}
	}
	a.commit()
	want := changesOf(landed...)
	for _, page := range []int{1, 2, 7, 1000} {
		require.Equal(t, want, changelog(t, d.store, stream("1"), 0, page))
	}
	for after := range uint64(len(want)) + 1 {
		require.ElementsMatch(t, want[after:], changelog(t, d.store, stream("1"), after, 5))
	}
	none, err := d.store.Changes(context.Background(), stream("1"), 0, 0)
	require.NoError(t, err)
	require.Empty(t, none)
	_, err = d.store.Changes(context.Background(), stream("1"), uint64(len(want))+1, 5)
	require.ErrorIs(t, err, store.ErrNotKept)
	_, err = d.store.Changes(context.Background(), stream("3"), 1, 5)
	require.ErrorIs(t, err, store.ErrNotKept)
}

func longStream(t testing.TB, d *data) {
	a := newAuthor(t, d.store)
	s := stream("1")
	var landed []*commands.Outcome
	for n := range 1300 {
		landed = append(landed, a.landLazily(s, events(8)...))
		if n%100 == 99 {
			a.land(s, events(1)...)
			landed = append(landed, a.batch.Outcomes[len(a.batch.Outcomes)-1])
			a.commit()
		}
	}
	want := changesOf(landed...)
	require.Len(t, want, 10_413)
	check := func() {
		require.Equal(t, want, changelog(t, d.store, s, 0, 1000))
		for _, after := range []uint64{9_999, 5_120, 63, 64, 65} {
			page, err := d.store.Changes(context.Background(), s, after, 10)
			require.NoError(t, err)
			require.Equal(t, want[after:after+10], page)
		}
		started := time.Now()
		requireHead(t, d.store, s, a.record(s).Head)
		require.Less(t, time.Since(started), 5*time.Second)
	}
	check()
	d.reopen()
	check()
}
