package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

var parkingTests = []test{
	{"what is parked is loaded whole, in the order of parking", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		var want []*aggregate.Waiting
		for n := range 12 {
			w := a.park(stream("1"), time.Duration(100-n)*time.Second)
			w.ReplyTo, w.CorrelationID, w.TraceParent = "queue", "c-1", "00-abc-def-01"
			want = append(want, w)
			a.park(stream("2"), time.Second)
			if n%5 == 0 {
				a.commit()
			}
		}
		a.commit()
		require.Equal(t, want, load(t, d.store, stream("1"))[0].Waiting)
		d.reopen()
		require.Equal(t, want, load(t, d.store, stream("2"), stream("1"))[1].Waiting)
	}},
	{"a parked command is known as parked, with its hash and stream", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		w := a.park(stream("1"), time.Second)
		a.commit()
		require.Equal(t, []aggregate.Fact{{Standing: aggregate.Parked, Stream: w.Stream, Hash: w.Hash}}, facts(t, d.store, w.ID))
		r, _, err := d.store.Head(context.Background(), stream("1"))
		require.NoError(t, err)
		if r != nil {
			require.Empty(t, r.Waiting)
		}
	}},
	{"settling takes a command off the lot and into the log, in one transaction", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		first, second, third := a.park(stream("1"), time.Second), a.park(stream("1"), time.Second), a.park(stream("1"), time.Second)
		a.commit()
		landed := a.settled(first)
		landed.Events = events(2)
		a.landing(landed)
		rejected := a.settled(third)
		rejected.Reason, rejected.Root, rejected.RootReason = commands.PredecessorRejected, first.ID, commands.Refused
		rejected.Cascaded = true
		a.rejection(rejected)
		a.commit()
		require.Equal(t, []*aggregate.Waiting{second}, load(t, d.store, stream("1"))[0].Waiting)
		requireFact(t, landed, facts(t, d.store, first.ID)[0])
		requireFact(t, rejected, facts(t, d.store, third.ID)[0])
		require.Equal(t, []*commands.Outcome{landed, rejected}, wholeLog(t, d.store))
	}},
	{"extending moves the deadline and nothing else", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		first, second := a.park(stream("1"), time.Second), a.park(stream("1"), 2*time.Second)
		a.commit()
		moved := *first
		moved.Deadline = time.Hour + 123456*time.Microsecond
		a.batch.Extend = append(a.batch.Extend, &moved)
		a.commit()
		require.Equal(t, []*aggregate.Waiting{&moved, second}, load(t, d.store, stream("1"))[0].Waiting)
		backlog, err := d.store.Backlog(context.Background(), []int{stream("1").Lane(Lanes)})
		require.NoError(t, err)
		require.Equal(t, moved.Deadline, backlog[0].Deadline)
	}},
	{"the backlog is what is parked on the lanes asked for, in order of parking", backlogs},
	{"a failed commit leaves the lot as it was", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		w, known := a.park(stream("1"), time.Second), a.land(stream("2"), events(1)...)
		a.commit()
		o := a.settled(w)
		o.Events = events(1)
		a.landing(o)
		a.park(stream("1"), time.Minute)
		a.landAs(known.ID, stream("2"), events(1)...)
		_, err := a.try()
		require.ErrorIs(t, err, store.ErrIDKnown)
		require.Equal(t, []*aggregate.Waiting{w}, load(t, d.store, stream("1"))[0].Waiting)
		require.Equal(t, aggregate.Parked, facts(t, d.store, w.ID)[0].Standing)
	}},
	{"until is when a command expires if its lane is worked from now on", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		w := a.park(stream("1"), 40*time.Second)
		for i := range a.batch.Claims {
			a.batch.Claims[i].Worked = 10 * time.Second
		}
		before := time.Now()
		a.commit()
		status := statuses(t, d.store, w.ID)[0]
		require.WithinRange(t, status.Until, before.Add(30*time.Second-time.Millisecond), time.Now().Add(30*time.Second+time.Millisecond))
		require.Equal(t, time.UTC, status.Until.Location())
		require.Nil(t, status.Outcome)
		require.Equal(t, w.Deadline, status.Waiting.Deadline)
		require.Equal(t, w.Envelope, status.Waiting.Envelope, "an operator looks at all of it")
	}},
	{"a stream on which something is only parked is at version 0", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		w := a.park(stream("1"), time.Second)
		a.commit()
		r := load(t, d.store, stream("1"))[0]
		require.Zero(t, r.Head)
		require.Equal(t, []*aggregate.Waiting{w}, r.Waiting)
		clear(a.records)
		o := a.settled(w)
		o.Events = events(1)
		a.landing(o)
		a.commit()
		requireHead(t, d.store, stream("1"), a.record(stream("1")).Head)
	}},
}

func backlogs(t testing.TB, d *data) {
	a := newAuthor(t, d.store)
	var parked []*aggregate.Waiting
	for n := range 20 {
		parked = append(parked, a.park(streamOn(n%Lanes, n%3), time.Duration(n)*time.Second))
		if n%6 == 0 {
			a.commit()
		}
	}
	a.commit()
	for _, gone := range parked[8:10] {
		o := a.settled(gone)
		o.Events = events(1)
		a.landing(o)
	}
	a.commit()
	parked = slices.Delete(parked, 8, 10)
	check := func() {
		for _, lanes := range [][]int{nil, {0}, {1, 3}, {3, 2, 1, 0}} {
			var want []store.Parked
			for _, w := range parked {
				if slices.Contains(lanes, w.Stream.Lane(Lanes)) {
					want = append(want, store.Parked{ID: w.ID, Stream: w.Stream, Session: w.Session, Deadline: w.Deadline})
				}
			}
			got, err := d.store.Backlog(context.Background(), lanes)
			require.NoError(t, err)
			if len(want) == 0 {
				require.Empty(t, got)
			} else {
				require.Equal(t, want, got)
			}
		}
	}
	check()
	d.reopen()
	check()
}
