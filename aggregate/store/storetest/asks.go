package storetest

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

var askTests = []test{
	{"asks are written with their batch, and read by lane in the order of commits", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		var want []store.Ask
		for n := range 40 {
			want = append(want, a.ask(streamOn(n%Lanes, n%3), n%5 == 0))
			if n%3 == 0 {
				a.land(stream("1"), events(1)...)
				a.park(stream("2"), time.Hour)
				a.commit()
			}
		}
		a.commit()
		d.reopen()
		require.Equal(t, withNumbers(want, asked(t, d.store, 0, 1, 2, 3)), asked(t, d.store, 0, 1, 2, 3))
		for lane := range Lanes {
			var mine []store.Ask
			for _, ask := range want {
				if ask.Stream.Lane(Lanes) == lane {
					mine = append(mine, ask)
				}
			}
			require.Equal(t, mine, asked(t, d.store, lane))
		}
		require.Empty(t, asked(t, d.store))
		require.Empty(t, asked(t, d.store, 77))
	}},
	{"asks are read in pages", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		for n := range 10 {
			a.ask(streamOn(n%2, 0), false)
			a.commit()
		}
		all := asked(t, d.store, 0, 1)
		require.Len(t, all, 10)
		for at := range all {
			page, err := d.store.Asked(context.Background(), []int{1, 0}, all[at].N, 3)
			require.NoError(t, err)
			require.Equal(t, all[at+1:min(at+4, len(all))], append([]store.Ask{}, page...))
		}
		for _, after := range []uint64{all[9].N, math.MaxInt64, math.MaxUint64} {
			page, err := d.store.Asked(context.Background(), []int{0, 1}, after, 3)
			require.NoError(t, err)
			require.Empty(t, page)
		}
		page, err := d.store.Asked(context.Background(), []int{0, 1}, 0, -1)
		require.NoError(t, err)
		require.Empty(t, page)
	}},
	{"a batch of nothing but asks covers no position", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		a.land(stream("1"), events(1)...)
		a.commit()
		a.ask(stream("1"), false)
		require.Equal(t, store.Range{First: 2, Last: 1}, a.commit())
		require.Len(t, asked(t, d.store, 0, 1, 2, 3), 1)
		a.land(stream("1"), events(1)...)
		require.Equal(t, store.Range{First: 2, Last: 2}, a.commit())
	}},
	{"a batch that is fenced, or whose ids are known, leaves no ask", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		first := a.land(stream("1"), events(1)...)
		a.commit()
		a.ask(stream("1"), false)
		a.landAs(first.ID, stream("2"), events(1)...)
		_, err := a.try()
		require.ErrorIs(t, err, store.ErrIDKnown)
		require.Empty(t, asked(t, d.store, 0, 1, 2, 3))

		newer := newAuthor(t, d.store)
		a.ask(stream("1"), false)
		_, err = a.try()
		require.ErrorIs(t, err, store.ErrFenced)
		require.Empty(t, asked(t, d.store, 0, 1, 2, 3))
		want := newer.ask(stream("1"), true)
		newer.commit()
		require.Equal(t, withNumbers([]store.Ask{want}, asked(t, d.store, 0, 1, 2, 3)), asked(t, d.store, 0, 1, 2, 3))
	}},
	{"who was answered is forgotten, and no number comes again", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		for range 5 {
			a.ask(stream("1"), false)
		}
		a.commit()
		all := asked(t, d.store, 0, 1, 2, 3)
		require.NoError(t, d.store.Answered(context.Background(), []uint64{all[4].N, all[1].N, 4711, math.MaxUint64}))
		require.NoError(t, d.store.Answered(context.Background(), []uint64{all[4].N}))
		require.NoError(t, d.store.Answered(context.Background(), nil))
		d.reopen()
		require.Equal(t, []store.Ask{all[0], all[2], all[3]}, asked(t, d.store, 0, 1, 2, 3))
		require.NoError(t, d.store.Answered(context.Background(), []uint64{all[0].N, all[2].N, all[3].N}))
		require.Empty(t, asked(t, d.store, 0, 1, 2, 3))
		d.reopen()
		a = newAuthor(t, d.store)
		a.ask(stream("1"), false)
		a.commit()
		require.Greater(t, asked(t, d.store, 0, 1, 2, 3)[0].N, all[4].N)
	}},
	{"texts of asks are kept as they are", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		a.batch.Asks = append(a.batch.Asks, store.Ask{Stream: stream("1"), ID: commands.NewID(), ReplyTo: "Zoë.\x00'q'", CorrelationID: ""})
		want := a.batch.Asks[0]
		a.commit()
		require.Equal(t, withNumbers([]store.Ask{want}, asked(t, d.store, 0, 1, 2, 3)), asked(t, d.store, 0, 1, 2, 3))
	}},
}

// askRelaneTests are about asks in a store whose number of lanes is changed.
var askRelaneTests = []test{
	{"asks move to the lane that their stream is on then", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		for n := range 20 {
			a.ask(streamOn(n%Lanes, n%3), false)
		}
		a.commit()
		want := asked(t, d.store, 0, 1, 2, 3)
		for _, lanes := range numbers {
			d.relane(lanes)
			for lane := range lanes {
				for _, ask := range asked(t, d.store, lane) {
					require.Equal(t, lane, ask.Stream.Lane(lanes), "of %d lanes", lanes)
				}
			}
			require.Equal(t, want, asked(t, d.store, allLanes(lanes)...))
		}
	}},
}

var parkedListTests = []test{
	{"what is parked is listed in the order of parking, in pages, as Status tells it but for data and session", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		var want []commands.ID
		of := map[commands.Stream][]commands.ID{}
		for n := range 25 {
			w := a.park(streamOn(n%Lanes, n%3), time.Minute)
			w.ReplyTo, w.CorrelationID, w.TraceParent, w.Policy = "replies", "7", "00-1-2-00", commands.PolicySession
			want = append(want, w.ID)
			of[w.Stream] = append(of[w.Stream], w.ID)
			if n%7 == 0 {
				for i := range a.batch.Claims {
					a.batch.Claims[i].Worked = time.Duration(n) * time.Second
				}
				a.commit()
			}
		}
		a.commit()
		d.reopen()
		for _, limit := range []int{1, 4, 25, 100} {
			requireParked(t, d.store, want, nil, limit)
			for s, ids := range of {
				requireParked(t, d.store, ids, &s, limit)
			}
		}
		nobodys := stream("nobody's")
		requireParked(t, d.store, nil, &nobodys, 10)
		requireParked(t, d.store, nil, nil, -1)
	}},
	{"what is settled is not listed, and what is put off is listed so", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		first, second := a.park(stream("1"), time.Minute), a.park(stream("1"), time.Minute)
		a.commit()
		moved := *second
		moved.Deadline = time.Hour
		a.batch.Extend = append(a.batch.Extend, &moved)
		o := a.settled(first)
		o.Reason, o.Root, o.RootReason = commands.PredecessorMissing, o.ID, commands.PredecessorMissing
		a.rejection(o)
		a.commit()
		requireParked(t, d.store, []commands.ID{second.ID}, nil, 10)
	}},
	{"large payloads are not read to list what is parked", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		var want []commands.ID
		for range 8 {
			w := a.park(stream("1"), time.Minute)
			w.Data = make([]byte, 256<<10)
			w.ReplyTo, w.Actor = string(make([]byte, 255)), string(make([]byte, 1024))
			want = append(want, w.ID)
		}
		a.commit()
		requireParked(t, d.store, want, nil, 10)
	}},
}

// ask adds a requester to the batch.
func (a *author) ask(s commands.Stream, conflict bool) store.Ask {
	a.seq++
	ask := store.Ask{Stream: s, ID: commands.NewID(), ReplyTo: "replies." + s.ID, CorrelationID: a.tick().String(), Conflict: conflict}
	a.batch.Asks = append(a.batch.Asks, ask)
	return ask
}

func asked(t tb, s store.Store, lanes ...int) []store.Ask {
	asks, err := s.Asked(context.Background(), lanes, 0, 1000)
	require.NoError(t, err)
	return asks
}

// withNumbers gives asks the numbers of those that were read, which rise.
func withNumbers(asks, read []store.Ask) []store.Ask {
	last := uint64(0)
	for i := range min(len(asks), len(read)) {
		if read[i].N > last {
			asks[i].N = read[i].N
		}
		last = read[i].N
	}
	return asks
}

// requireParked lists what is parked page by page, and compares it with what Status says.
func requireParked(t testing.TB, s store.Store, want []commands.ID, of *commands.Stream, limit int) {
	t.Helper()
	var ids []commands.ID
	query := store.ParkedQuery{Stream: of, Limit: limit}
	for {
		page, err := s.ParkedList(context.Background(), query)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page), max(limit, 0))
		if len(page) == 0 {
			break
		}
		for _, entry := range page {
			require.Greater(t, entry.N, query.After)
			query.After = entry.N
			ids = append(ids, entry.ID)
			status := statuses(t, s, entry.ID)[0]
			require.WithinDuration(t, status.Until, entry.Until, 2*time.Second)
			require.Equal(t, time.UTC, entry.Until.Location())
			status.Until = entry.Until
			status.Waiting.Data, status.Waiting.Session = nil, ""
			require.Equal(t, status, entry.CommandStatus)
			require.True(t, of == nil || *of == entry.Waiting.Stream)
		}
	}
	require.True(t, slices.Equal(want, ids), "%v, not %v", ids, want)
}

var letterCrashTests = []test{
	{"letters, decisions and asks are there after a crash", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		a.bury(stream("1"))
		a.ask(stream("1"), false)
		a.ask(stream("2"), true)
		a.commit()
		letters := []store.DeadLetter{refusedMessage(1), refusedMessage(2)}
		bury(t, d.store, letters)
		_, err := d.store.Decide(context.Background(), letters[0].N, store.Decision{Resolution: store.Discarded, By: "Ann"})
		require.NoError(t, err)
		require.NoError(t, d.store.Told(context.Background(), []uint64{letters[0].N}))
		want, waiting := listed(t, d.store, store.DeadQuery{Limit: 10}), asked(t, d.store, 0, 1, 2, 3)
		require.NoError(t, d.store.Answered(context.Background(), []uint64{waiting[0].N}))
		s := d.crashed()
		require.Equal(t, want, listed(t, s, store.DeadQuery{Limit: 10}))
		require.Equal(t, waiting[1:], asked(t, s, 0, 1, 2, 3))
		require.Len(t, want, 3)
		var none aggregate.Fact
		require.Equal(t, none, facts(t, s, waiting[0].ID)[0], "an ask makes no id known")
	}},
}
