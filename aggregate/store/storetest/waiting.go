package storetest

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// DESIGN section 3: a session is told on connect of what is still parked.
var waitingTests = []test{
	{"sessions are told what waits of theirs, in order of parking, as Status would", waitingOfSessions},
	{"payloads are not read to tell what waits, however large", largeOnesWait},
	{"of what waits, the first are told up to the limit", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		var want []*aggregate.Waiting
		for n := range 9 {
			want = append(want, a.parkFor("session "+string(rune('a'+n%3)), streamOn(n%Lanes, n%2)))
			if n == 4 {
				a.commit()
			}
		}
		a.commit()
		for limit := range 11 {
			requireWaiting(t, d.store, want[:min(limit, 9)], limit, "session c", "session a", "session b")
		}
		requireWaiting(t, d.store, nil, -1, "session a")
	}},
	{"sessions of which nothing waits, the empty one and none at all are told of nothing", func(t testing.TB, d *data) {
		requireWaiting(t, d.store, nil, 10, "session a", "")
		a := newAuthor(t, d.store)
		a.parkFor("", stream("1"))
		w := a.parkFor("session a", stream("1"))
		a.commit()
		requireWaiting(t, d.store, nil, 10, "", "session", "session ", "session b", "SESSION A")
		requireWaiting(t, d.store, nil, 10)
		requireWaiting(t, d.store, []*aggregate.Waiting{w}, 10, "session a", "", "session a")
	}},
	{"a command waits for its session no longer than it is parked", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		first, second := a.parkFor("session a", stream("1")), a.parkFor("session a", stream("2"))
		a.commit()
		moved := *second
		moved.Deadline = time.Hour
		a.batch.Extend = append(a.batch.Extend, &moved)
		o := a.settled(first)
		o.Reason, o.Root, o.RootReason = commands.PredecessorMissing, o.ID, commands.PredecessorMissing
		a.rejection(o)
		a.commit()
		requireWaiting(t, d.store, []*aggregate.Waiting{&moved}, 10, "session a")
		d.reopen()
		requireWaiting(t, d.store, []*aggregate.Waiting{&moved}, 10, "session a")
	}},
	{"reading what waits under a context that is over fails with its error", func(t testing.TB, d *data) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := d.store.WaitingOf(ctx, []string{"session a"}, 10)
		require.ErrorIs(t, err, context.Canceled)
	}},
}

func waitingOfSessions(t testing.TB, d *data) {
	a := newAuthor(t, d.store)
	var ofA, ofBoth []*aggregate.Waiting
	for n := range 20 {
		session := "session " + string(rune('a'+n%3))
		w := a.parkFor(session, streamOn(n%Lanes, n%5))
		switch n % 3 {
		case 0:
			ofA = append(ofA, w)
			ofBoth = append(ofBoth, w)
		case 1:
			ofBoth = append(ofBoth, w)
		}
		if n%7 == 0 {
			for i := range a.batch.Claims {
				a.batch.Claims[i].Worked = time.Duration(n) * time.Second
			}
			a.commit()
		}
	}
	a.commit()
	requireWaiting(t, d.store, ofA, 100, "session a")
	requireWaiting(t, d.store, ofBoth, 100, "session b", "session a")
	d.reopen()
	requireWaiting(t, d.store, ofBoth, 100, "session a", "session b")
}

// parkFor parks a command of a session for a minute of its lane's time.
func (a *author) parkFor(session string, s commands.Stream) *aggregate.Waiting {
	w := a.park(s, time.Minute)
	w.Session = session
	return w
}

// largeOnesWait asks for what waits of a session whose payloads are as large as they may be.
func largeOnesWait(t testing.TB, d *data) {
	const many, large = 16, 256 << 10
	a := newAuthor(t, d.store)
	var want []*aggregate.Waiting
	for n := range many {
		w := a.parkFor("session a", streamOn(n%Lanes, n%2))
		w.Data = bytes.Repeat([]byte{byte(n)}, large)
		want = append(want, w)
	}
	want[0].Ticket, want[1].Ticket = commands.Genesis, commands.None
	a.commit()
	requireWaiting(t, d.store, want, many, "session a")
	found, err := d.store.WaitingOf(context.Background(), []string{"session a"}, many)
	require.NoError(t, err)
	for _, status := range found {
		require.Nil(t, status.Waiting.Data)
	}
}

// requireWaiting asks what waits, and compares each answer with what Status says of it.
func requireWaiting(t testing.TB, s store.Reader, want []*aggregate.Waiting, limit int, sessions ...string) {
	t.Helper()
	got, err := s.WaitingOf(context.Background(), sessions, limit)
	require.NoError(t, err)
	require.Len(t, got, len(want))
	if len(want) == 0 {
		return
	}
	var ids []commands.ID
	for _, w := range want {
		ids = append(ids, w.ID)
	}
	for i, status := range statuses(t, s, ids...) {
		require.Equal(t, want[i].Deadline, got[i].Waiting.Deadline)
		require.Equal(t, want[i].ID, got[i].ID)
		require.WithinDuration(t, status.Until, got[i].Until, 2*time.Second)
		require.Equal(t, time.UTC, got[i].Until.Location())
		status.Until = got[i].Until
		status.Waiting = told(status.Waiting)
		require.Equal(t, status, got[i])
	}
}

// told is what WaitingOf fills in of a parked command.
func told(w *aggregate.Waiting) *aggregate.Waiting {
	short := &aggregate.Waiting{Seq: w.Seq, ParkedAt: w.ParkedAt, Deadline: w.Deadline}
	short.ID, short.Stream, short.Ticket, short.Session = w.ID, w.Stream, w.Ticket, w.Session
	return short
}
