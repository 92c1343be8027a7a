package sqlite

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/sqlite/engine"
	"github.com/ticketed/doorman/commands"
)

// Every error of SQLite comes to one of ours: see package store, Errors.
func TestErrorsOfSQLiteComeToOurs(t *testing.T) {
	t.Parallel()
	ours := []error{store.ErrIDKnown, store.ErrUnavailable, store.ErrFateUnknown, store.ErrFenced}
	for _, c := range []struct {
		name string
		got  error
		want error // nil: none of ours
	}{
		{"busy", failed("x", &engine.Error{Code: engine.Busy}), store.ErrUnavailable},
		{"full", failed("x", &engine.Error{Code: engine.Full}), store.ErrUnavailable},
		{"reading fails", failed("x", &engine.Error{Code: engine.IOError | 1<<8}), store.ErrUnavailable},
		{"damaged", failed("x", &engine.Error{Code: engine.Corrupt}), store.ErrUnavailable},
		{"a fault of the connection", failed("x", &engine.Error{Code: 1}), store.ErrUnavailable},
		{"a value is too large", failed("x", &engine.Error{Code: engine.TooBig}), nil},
		{"a check is violated", failed("x", &engine.Error{Code: engine.Constraint | 1<<8}), nil},
		{"an id is there", failedToKeep("x", &engine.Error{Code: engine.ConstraintUnique}), store.ErrIDKnown},
		{"a check is violated by a row", failedToKeep("x", &engine.Error{Code: engine.Constraint | 1<<8}), nil},
		{"full at the end", failedToEnd(&engine.Error{Code: engine.Full}), store.ErrUnavailable},
		{"writing fails at the end", failedToEnd(&engine.Error{Code: engine.IOErrorWrite}), store.ErrUnavailable},
		{"flushing fails at the end", failedToEnd(&engine.Error{Code: engine.IOError | 4<<8}), store.ErrFateUnknown},
		{"something else", failed("x", errors.New("else")), nil},
	} {
		for _, e := range ours {
			require.Equal(t, errors.Is(c.want, e), errors.Is(c.got, e), "%s: %v, %v", c.name, c.got, e)
		}
	}
	require.NoError(t, failed("x", nil))
	require.NoError(t, failedToKeep("x", nil))
}

func TestPagesOfLandingsAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var want []landing
		var h head
		for range rapid.IntRange(0, 200).Draw(t, "landings") {
			var last landing
			if len(want) > 0 {
				last = want[len(want)-1]
			}
			l := landing{first: last.first + rapid.Uint64Range(1, 1<<20).Draw(t, "versions"),
				position: last.position + rapid.Uint64Range(1, 1<<40).Draw(t, "positions")}
			want = append(want, l)
			h.land(l)
		}
		var got []landing
		for _, written := range append(h.sealed, h.tail) {
			p, err := decodePage(written.bytes())
			require.NoError(t, err)
			require.Equal(t, written.count, p.count)
			require.Equal(t, written.first, p.first)
			require.Equal(t, written.last, p.last)
			require.LessOrEqual(t, p.count, pageSize)
			for l := range p.all() {
				got = append(got, l)
			}
		}
		require.Equal(t, want, got)
	})
}

func FuzzDecodePage(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 1, 2, 2})
	f.Add([]byte{0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodePage(b)
		if err != nil {
			return
		}
		n := 0
		for range p.all() {
			n++
		}
		require.Equal(t, p.count, n)
	})
}

func TestStreamNamesAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	for _, s := range []commands.Stream{{}, {Type: "order", ID: "42"}, {Type: "a-b_c", ID: "A.b:c-d_e"},
		{Tenant: "t", Type: "order", ID: "42"}, {Tenant: "t/u", Type: "order", ID: "42"}} {
		require.Equal(t, s, parseStreamName(streamName(s)))
	}
}

func TestClocksAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	want := clocks{{worked: time.Hour + 1, at: 1764000000000001}, {}, {worked: 1 << 60}}
	got, err := decodeClocks(want.encode(), 3)
	require.NoError(t, err)
	require.Equal(t, want, got)
	for cut := range want.encode() {
		_, err := decodeClocks(want.encode()[:cut], 3)
		require.Error(t, err)
	}
}

// A clock that was saved a moment ago has gone on since; one that was saved long ago stood still.
func TestUntilCountsFromTheSavedClockWhileItIsFresh(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	saved := func(ago time.Duration) clock { return clock{worked: 10 * time.Second, at: now.Add(-ago).UnixMicro()} }
	require.Equal(t, now.Add(28*time.Second), saved(2*time.Second).until(40*time.Second, now))
	require.Equal(t, now.Add(30*time.Second), saved(time.Hour).until(40*time.Second, now))
}

// A transaction that could not be rolled back when it failed must not stand in the way of the next one.
func TestATransactionLeftOpenIsRolledBackByTheNext(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Config{Dir: t.TempDir(), Lanes: 2, Migrate: true})
	require.NoError(t, err)
	require.NoError(t, s.writer.begin.Run())
	require.NoError(t, s.writer.set(metaSettled, 17))
	_, err = s.Acquire(t.Context(), []int{1}, "test")
	require.NoError(t, err)
	settled, err := s.writer.conn.Int("SELECT value FROM meta WHERE key = 'settled'")
	require.NoError(t, err)
	require.Zero(t, settled)
	require.NoError(t, s.Close())
}

// A row that is written by a sweep between a reader's moment and its look at the row is not taken for the
// newest: the reader has looked at the view before.
func TestASweepDuringALoadHidesNoLanding(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Config{Dir: t.TempDir(), Lanes: 1, Migrate: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	claims, err := s.Acquire(t.Context(), []int{0}, "test")
	require.NoError(t, err)
	name := func(id string) commands.Stream { return commands.Stream{Type: "order", ID: id} }
	land := func(id string, version uint64) {
		records, err := s.Load(t.Context(), []commands.Stream{name(id)})
		require.NoError(t, err)
		o := &commands.Outcome{ID: commands.NewID(), Stream: name(id), Type: "x", Ticket: commands.Genesis,
			At: time.Now().UTC(), Version: version, Events: []commands.Event{{Type: "e", Schema: 1, Data: []byte("1")}}}
		_, err = s.Commit(t.Context(), &store.Batch{Claims: claims, Outcomes: []*commands.Outcome{o},
			Heads: []*store.HeadChange{{Stream: name(id), Head: aggregate.Head{Version: version, Action: o.ID, At: o.At},
				State: []byte("1"), StateVersion: version, Handle: records[0].Handle}}})
		require.NoError(t, err)
	}
	settle := func() {
		s.writing.Lock()
		defer s.writing.Unlock()
		require.NoError(t, s.settleAll())
	}
	land("a", 1)
	land("b", 1)
	settle()
	land("b", 2) // its row says 1

	sighted := s.sight(name("b"))
	require.NoError(t, s.readers.read(t.Context(), "load", func(r *reader) error {
		_, err := r.row(name("a")) // the reader's moment
		require.NoError(t, err)
		settle()
		_, loaded, err := s.record(r, sighted)
		require.Equal(t, uint64(2), loaded.Head.Version)
		return err
	}))
}

// A reader who found what is never published, as when the end of its commit failed, is let go with its
// context, and with the store.
func TestAwaitingAPublicationEndsWithTheContextAndTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newView()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		go func() { ended <- v.await(ctx, 1) }()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-ended, store.ErrUnavailable)

		go func() { ended <- v.await(t.Context(), 1) }()
		synctest.Wait()
		v.close()
		require.ErrorIs(t, <-ended, errClosed)

		v.end = 1
		require.NoError(t, v.await(ctx, 1), "it is published")
	})
}
