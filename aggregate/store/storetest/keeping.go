package storetest

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

var keepingTests = []test{
	{"the identity stays over a restart and differs between data sets", func(t testing.TB, d *data) {
		before := d.store.Identity()
		require.Equal(t, Lanes, before.Lanes)
		require.Regexp(t, `^[A-Za-z0-9]+$`, before.Epoch)
		d.reopen()
		require.Equal(t, before, d.store.Identity())
	}},
	{"a restart keeps everything", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		var landed []*commands.Outcome
		for n := range 100 {
			landed = append(landed, a.land(stream("1"), events(1)...))
			if n%3 == 0 {
				a.reject(stream("1"), commands.Refused)
				a.landLazily(stream("2"), events(2)...)
				a.commit()
			}
		}
		w := a.park(stream("2"), time.Second)
		a.commit()
		log := wholeLog(t, d.store)
		for range 3 {
			d.reopen()
			require.Equal(t, log, wholeLog(t, d.store))
			require.Equal(t, changesOf(landed...), changelog(t, d.store, stream("1"), 0, 30))
			requireHead(t, d.store, stream("1"), a.record(stream("1")).Head)
			r := load(t, d.store, stream("2"))[0]
			requireRecord(t, a.record(stream("2")).Head, r)
			require.Len(t, r.Waiting, 1)
			require.Equal(t, w, r.Waiting[0])
		}
		b := newAuthor(t, d.store)
		b.land(stream("1"), events(1)...)
		require.EqualValues(t, len(log)+1, b.commit().First)
	}},
	{"large payloads come back byte for byte", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		large := bytes.Repeat([]byte("0123456789abcdef"), 16*1024)
		o := a.land(stream("1"), commands.Event{Type: "grown", Schema: 1, Data: large}, event("small"))
		a.changes[stream("1")].Snapshot = true
		a.changes[stream("1")].State = large
		w := a.park(stream("1"), time.Second)
		w.Data = large
		a.commit()
		d.reopen()
		require.Equal(t, changesOf(o), changelog(t, d.store, stream("1"), 0, 10))
		r := load(t, d.store, stream("1"))[0]
		require.Equal(t, large, r.State)
		require.Equal(t, large, r.Waiting[0].Data)
		snap, err := d.store.StateBefore(context.Background(), stream("1"), 2)
		require.NoError(t, err)
		require.Equal(t, large, snap.State)
	}},
	{"bytes are kept as they are, zeros and escapes included", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		odd := []byte("{\"nul\":\"\\u0000\",  \"raw\":\"\x00\xff\",\"n\":1.0e+2,\"n\":01}")
		o := a.land(stream("1"), commands.Event{Type: "odd", Schema: 1, Data: odd}, commands.Event{Type: "none", Schema: 2})
		o.Actor, o.Session = "Zoë\u2028", "s\u00e9ance 'quoted' \"twice\""
		a.changes[stream("1")].State = odd
		a.changes[stream("1")].Head.Session = o.Session
		w := a.park(stream("1"), time.Second)
		w.Data = odd
		a.commit()
		require.Equal(t, []*commands.Outcome{o}, wholeLog(t, d.store))
		r := load(t, d.store, stream("1"))[0]
		require.Equal(t, odd, r.State)
		require.Equal(t, odd, r.Waiting[0].Data)
		require.Equal(t, o.Session, r.Head.Session)
	}},
	{"texts with a zero byte are kept, or refused with nothing stored", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		o := a.land(stream("1"), event("1"))
		o.Actor, o.Session = "a\x00b", "s\x00t"
		a.changes[stream("1")].Head.Session = o.Session
		a.park(stream("2"), time.Second).Session = o.Session
		if _, err := a.try(); err != nil {
			requireUntouched(t, d, stream("1"), stream("2"))
			return
		}
		require.Equal(t, []*commands.Outcome{o}, wholeLog(t, d.store))
		require.Equal(t, o.Session, load(t, d.store, stream("1"))[0].Head.Session)
		require.Equal(t, o.Session, load(t, d.store, stream("2"))[0].Waiting[0].Session)
	}},
	{"empty texts and empty data are kept as such", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		o := a.outcome(stream("1"))
		o.Actor, o.Session, o.Type = "", "", ""
		o.Events = []commands.Event{{Type: "", Schema: 1, Data: []byte{}}, {Type: "x", Schema: 1}}
		a.landing(o)
		w := a.park(stream("1"), time.Second)
		w.Actor, w.Session, w.Data = "", "", nil
		a.commit()
		require.Equal(t, []*commands.Outcome{o}, wholeLog(t, d.store))
		require.Equal(t, changesOf(o), changelog(t, d.store, stream("1"), 0, 10))
		require.Equal(t, w, load(t, d.store, stream("1"))[0].Waiting[0])
	}},
	{"names of full length are kept", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		s := commands.Stream{Type: strings.Repeat("t", commands.MaxNamePart), ID: strings.Repeat("I", commands.MaxNamePart)}
		o := a.land(s, events(1)...)
		a.commit()
		require.Equal(t, s, wholeLog(t, d.store)[0].Stream)
		requireFact(t, o, facts(t, d.store, o.ID)[0])
		requireHead(t, d.store, s, a.record(s).Head)
	}},
	{"times are exact to the microsecond, in UTC", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		for _, at := range []time.Time{
			time.Date(1969, 12, 31, 23, 59, 59, 999999000, time.UTC), time.Date(2026, 11, 22, 8, 15, 30, 1000, time.UTC),
			time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		} {
			s := stream(at.Format("2006"))
			o := a.outcome(s)
			o.At, o.Events = at, events(1)
			a.landing(o)
			w := a.park(s, 123456*time.Microsecond)
			w.ParkedAt, w.ReceivedAt = at.Add(time.Microsecond), at
			a.commit()
			require.Equal(t, at, changelog(t, d.store, s, 0, 1)[0].At)
			r := load(t, d.store, s)[0]
			require.Equal(t, at, r.Head.At)
			require.Equal(t, w, r.Waiting[0])
			require.Equal(t, at, statuses(t, d.store, o.ID)[0].Outcome.At)
		}
	}},
	{"closing twice is no error, and a closed store is unavailable", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		a.land(stream("1"), events(1)...)
		require.NoError(t, d.store.Close())
		require.NoError(t, d.store.Close())
		require.ErrorIs(t, d.store.Ping(context.Background()), store.ErrUnavailable)
		_, err := d.store.Commit(context.Background(), a.batch)
		require.ErrorIs(t, err, store.ErrUnavailable)
		_, err = d.store.Log(context.Background(), 0, 1)
		require.ErrorIs(t, err, store.ErrUnavailable)
		d.store = d.another()
		require.Zero(t, end(t, d.store), "nothing of a batch that was refused")
	}},
	{"a store that answers says so", func(t testing.TB, d *data) {
		require.NoError(t, d.store.Ping(context.Background()))
	}},
}
