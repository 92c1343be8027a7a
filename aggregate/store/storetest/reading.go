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

var readingTests = []test{
	{"an outcome is read as it was committed", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		landed := a.outcome(stream("1"))
		landed.Policy, landed.Ticket = commands.PolicySession, commands.NewID()
		landed.ReplyTo, landed.CorrelationID, landed.TraceParent = "queue", "c-1", "00-abc-def-01"
		landed.Events = []commands.Event{{Type: "a", Schema: 1, Data: []byte(`{"x":1.50}`)}, {Type: "b", Schema: 7, Data: []byte(`[]`)}}
		a.landing(landed)
		rejected := a.outcome(stream("1"))
		rejected.Policy, rejected.Reason, rejected.Refusal, rejected.Detail = commands.PolicyStrict, commands.Refused, "full", "It is full."
		rejected.Root, rejected.RootReason = rejected.ID, commands.Refused
		a.rejection(rejected)
		cascaded := a.outcome(stream("1"))
		cascaded.Reason, cascaded.Root, cascaded.RootReason = commands.PredecessorRejected, rejected.ID, commands.Refused
		cascaded.Cascaded, cascaded.Ticket = true, rejected.ID
		a.rejection(cascaded)
		plain := &commands.Outcome{ID: commands.NewID(), Stream: stream("2"), Type: "t", Policy: commands.PolicyAny, At: a.tick()}
		a.landing(plain)
		a.commit()
		want := []*commands.Outcome{landed, rejected, cascaded, plain}
		check := func() {
			require.Equal(t, want, wholeLog(t, d.store))
			for i, status := range statuses(t, d.store, landed.ID, rejected.ID, cascaded.ID, plain.ID) {
				require.Equal(t, want[i], status.Outcome)
				require.Nil(t, status.Waiting)
			}
			for i, fact := range facts(t, d.store, landed.ID, rejected.ID, cascaded.ID, plain.ID) {
				requireFact(t, want[i], fact)
			}
		}
		check()
		d.reopen()
		check()
	}},
	{"ids of which nothing is known are told in their places", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		landed, parked := a.land(stream("1"), events(1)...), a.park(stream("1"), time.Second)
		a.commit()
		ids := []commands.ID{commands.NewID(), landed.ID, commands.NewID(), parked.ID, landed.ID}
		found := facts(t, d.store, ids...)
		for i, want := range []aggregate.Standing{aggregate.Unheard, aggregate.Landed, aggregate.Unheard, aggregate.Parked, aggregate.Landed} {
			require.Equal(t, want, found[i].Standing)
		}
		require.Equal(t, aggregate.Fact{}, found[0])
		status := statuses(t, d.store, ids...)
		require.Equal(t, store.CommandStatus{ID: ids[0]}, status[0])
		require.Equal(t, landed.ID, status[1].Outcome.ID)
		require.Equal(t, store.CommandStatus{ID: ids[2]}, status[2])
		require.Equal(t, parked.ID, status[3].Waiting.ID)
		require.Equal(t, landed.ID, status[4].Outcome.ID)
	}},
	{"asking for no ids is answered with none", func(t testing.TB, d *data) {
		require.Empty(t, facts(t, d.store))
		require.Empty(t, statuses(t, d.store))
	}},
	{"a thousand ids are looked up at once", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		var ids []commands.ID
		for range 500 {
			ids = append(ids, a.land(stream("1"), events(1)...).ID, commands.NewID())
		}
		a.commit()
		for i, f := range facts(t, d.store, ids...) {
			require.Equal(t, i%2 == 0, f.Standing == aggregate.Landed)
		}
		for i, status := range statuses(t, d.store, ids...) {
			require.Equal(t, i%2 == 0, status.Outcome != nil)
		}
	}},
	{"a thousand streams are loaded at once", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		var streams []commands.Stream
		for n := range 1000 {
			s := stream(time.Duration(n).String())
			streams = append(streams, s)
			a.land(s, events(1+n%3)...)
		}
		a.commit()
		for n, r := range load(t, d.store, streams...) {
			requireRecord(t, a.record(streams[n]).Head, r)
		}
	}},
	{"reads never wait for a commit, nor for each other's snapshot", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		o := a.land(stream("1"), events(1)...)
		a.commit()
		stop, stopped := make(chan struct{}), make(chan error)
		go func() {
			for {
				select {
				case <-stop:
					stopped <- nil
					return
				default:
				}
				a.land(stream("2"), events(1)...)
				if _, err := a.try(); err != nil {
					stopped <- err
					return
				}
			}
		}()
		for range 200 {
			require.NoError(t, visible(d.store, o))
		}
		close(stop)
		require.NoError(t, <-stopped)
	}},
	{"a read whose context is over fails with its error", func(t testing.TB, d *data) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := d.store.Log(ctx, 0, 10)
		require.ErrorIs(t, err, context.Canceled)
		_, err = d.store.Lookup(ctx, []commands.ID{commands.NewID()})
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, d.store.Ping(context.Background()))
	}},
}
