package storetest

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// MostRefused and MostRefusedBytes are how many refused messages a store of the suite keeps.
const (
	MostRefused      = 12
	MostRefusedBytes = 4 << 20
)

var letterTests = []test{
	{"a batch's letters are kept whole, and nobody has been told of them", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		var want []store.DeadLetter
		for n := range 5 {
			want = append(want, a.bury(stream("1")))
			if n%2 == 0 {
				a.commit()
			}
		}
		d.reopen()
		requireLetters(t, d.store, numbered(t, d.store, want))
	}},
	{"letters of any origin are buried whole, their numbers told in order and rising over those of batches", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		failed := a.bury(stream("1"))
		a.commit()
		w := a.waiting(stream("2"), time.Second)
		buried := []store.DeadLetter{refusedMessage(1), {At: a.tick(), Envelope: &w.Envelope, Reason: commands.Failed}, refusedMessage(2)}
		require.Zero(t, bury(t, d.store, buried))
		last := a.bury(stream("1"))
		a.commit()
		buried[1].Origin = store.OriginWorker
		want := numbered(t, d.store, append(append([]store.DeadLetter{failed}, buried...), last))
		for i := range buried {
			require.Equal(t, want[i+1].N, buried[i].N)
		}
		d.reopen()
		requireLetters(t, d.store, want)
		require.Zero(t, bury(t, d.store, nil))
	}},
	{"a letter without the original that its origin has is not buried, nor those with it", func(t testing.TB, d *data) {
		for _, wrong := range []store.DeadLetter{{}, {Origin: store.OriginAMQP}, {Origin: "elsewhere", Message: &store.Message{}},
			{Origin: store.OriginAMQP, Envelope: &commands.Envelope{}}, {Message: &store.Message{}, Envelope: &commands.Envelope{}}} {
			_, err := d.store.Bury(context.Background(), []store.DeadLetter{refusedMessage(1), wrong})
			require.Error(t, err)
			require.NotErrorIs(t, err, store.ErrUnavailable)
		}
		require.Empty(t, listed(t, d.store, store.DeadQuery{Limit: 10}))
	}},
	{"of what is too large as much is kept as the bounds say", largeLetters},
	{"texts and bytes are kept as they are, zeros included", func(t testing.TB, d *data) {
		letter := refusedMessage(1)
		letter.Message.Body, letter.Message.UserID, letter.Cause = []byte("\x00\xff{"), "Zoë 'quoted' \u2028\x00", "\x00\xff"
		letter.Message.Properties = []byte{}
		letters := []store.DeadLetter{letter}
		bury(t, d.store, letters)
		got, err := d.store.DeadLetter(context.Background(), letters[0].N)
		require.NoError(t, err)
		require.Equal(t, letters[0], got)
	}},
	{"beyond the bounds of number the refused messages kept first go, and nothing of the worker's", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		failed := a.bury(stream("1"))
		a.commit()
		var want []store.DeadLetter
		gone := 0
		for n := range 4 * MostRefused / 3 {
			letters := []store.DeadLetter{refusedMessage(3 * n), refusedMessage(3*n + 1), refusedMessage(3*n + 2)}
			before := len(want) + 3 - MostRefused
			require.Equal(t, max(before, 0), bury(t, d.store, letters))
			gone += max(before, 0)
			want = append(want, letters...)
			want = want[max(before, 0):]
			if n == 5 {
				d.reopen()
			}
		}
		require.Positive(t, gone)
		requireLetters(t, d.store, append(numbered(t, d.store, []store.DeadLetter{failed}), want...))
	}},
	{"many letters at once leave the last of them", func(t testing.TB, d *data) {
		var letters []store.DeadLetter
		for n := range 2*MostRefused + 1 {
			letters = append(letters, refusedMessage(n))
		}
		require.Equal(t, MostRefused+1, bury(t, d.store, letters))
		requireLetters(t, d.store, letters[MostRefused+1:])
	}},
	{"beyond the bounds of size the refused messages kept first go", func(t testing.TB, d *data) {
		const size = MostRefusedBytes / 5
		var want []store.DeadLetter
		for n := range 9 {
			letters := []store.DeadLetter{refusedMessage(n)}
			letters[0].Message.Body = bytes.Repeat([]byte{byte(n)}, size)
			gone := 0
			if n >= 4 {
				gone = 1
			}
			require.Equal(t, gone, bury(t, d.store, letters), "letter %d", n)
			want = append(want, letters[0])[gone:]
		}
		requireLetters(t, d.store, want)
	}},
	{"a refused message that comes again is kept once, as long as it is", lettersThatComeAgain},
	{"letters are listed by number, by origin and by what was decided, without what may be large", listedLetters},
	{"the first decision stands, and is told to whoever decides after it", decidedLetters},
	{"what is no decision is not noted", func(t testing.TB, d *data) {
		letters := []store.DeadLetter{refusedMessage(1)}
		bury(t, d.store, letters)
		for _, resolution := range []store.Resolution{"", store.Open, "burnt"} {
			_, err := d.store.Decide(context.Background(), letters[0].N, store.Decision{Resolution: resolution})
			require.Error(t, err)
			require.NotErrorIs(t, err, store.ErrDecided)
		}
		requireLetters(t, d.store, letters)
	}},
	{"of a letter that is not there, that is said", func(t testing.TB, d *data) {
		for _, n := range []uint64{0, 1, math.MaxInt64, math.MaxUint64} {
			_, err := d.store.DeadLetter(context.Background(), n)
			require.ErrorIs(t, err, store.ErrNoDeadLetter)
			_, err = d.store.Decide(context.Background(), n, store.Decision{Resolution: store.Discarded})
			require.ErrorIs(t, err, store.ErrNoDeadLetter)
		}
	}},
	{"untold letters are read until they are told, across restarts", untoldLetters},
	{"of untold letters no more are read than come to a bound, and one at least", func(t testing.TB, d *data) {
		const size = 2 << 20 // a failed command is not bounded here: its gateway bounds it
		a := newAuthor(t, d.store)
		for n := range 6 {
			letter := a.bury(stream("1"))
			letter.Envelope.Data = bytes.Repeat([]byte{byte(n)}, size)
			if n == 5 {
				letter.Envelope.Data = bytes.Repeat([]byte{byte(n)}, store.MaxUntoldBytes+1)
			}
		}
		a.commit()
		var sizes []int
		for {
			letters, err := d.store.Untold(context.Background(), 100)
			require.NoError(t, err)
			if len(letters) == 0 {
				break
			}
			sizes = append(sizes, len(letters))
			require.NoError(t, d.store.Told(context.Background(), numbersOf(letters)))
		}
		require.Equal(t, []int{4, 2}, sizes)
	}},
	{"letters are read under a context that is over with its error", func(t testing.TB, d *data) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := d.store.DeadLetters(ctx, store.DeadQuery{Limit: 1})
		require.ErrorIs(t, err, context.Canceled)
		_, err = d.store.Untold(ctx, 1)
		require.ErrorIs(t, err, context.Canceled)
		_, err = d.store.Bury(ctx, []store.DeadLetter{refusedMessage(1)})
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, listed(t, d.store, store.DeadQuery{Limit: 1}))
	}},
}

// bury adds a failed command to the batch.
func (a *author) bury(s commands.Stream) store.DeadLetter {
	w := a.waiting(s, time.Second)
	w.ReplyTo, w.CorrelationID = "replies", "7"
	letter := store.DeadLetter{At: a.tick(), Envelope: &w.Envelope, Reason: commands.Failed, Cause: "panic: boom\n\ngoroutine 1"}
	a.batch.Dead = append(a.batch.Dead, letter)
	letter.Origin = store.OriginWorker
	return letter
}

// refusedMessage is a letter of another service.
func refusedMessage(n int) store.DeadLetter {
	body := fmt.Appendf(nil, `{"n": %d}`, n)
	return store.DeadLetter{At: time.Date(2026, 11, 22, 8, 15, n, 123456000, time.UTC), Origin: store.OriginAMQP,
		Reason: commands.Malformed, Cause: fmt.Sprintf(`"n" is %d`, n), Message: &store.Message{Body: body, Size: len(body),
			ContentType: "application/json", ContentEncoding: "identity", MessageID: fmt.Sprint("m", n), CorrelationID: "c",
			ReplyTo: "replies", UserID: "shop", Exchange: "doorman.commands", RoutingKey: "any.key",
			Properties: []byte(`{"headers": {"x": 1}}`)}}
}

func bury(t tb, s store.Store, letters []store.DeadLetter) (gone int) {
	gone, err := s.Bury(context.Background(), letters)
	require.NoError(t, err)
	return gone
}

func listed(t tb, s store.Store, query store.DeadQuery) []store.DeadLetter {
	letters, err := s.DeadLetters(context.Background(), query)
	require.NoError(t, err)
	return letters
}

func numbersOf(letters []store.DeadLetter) []uint64 {
	var ns []uint64
	for i := range letters {
		ns = append(ns, letters[i].N)
	}
	return ns
}

// numbered are the letters with the numbers that the store has given.
func numbered(t tb, s store.Store, letters []store.DeadLetter) []store.DeadLetter {
	t.Helper()
	kept := listed(t, s, store.DeadQuery{Limit: 1000})
	require.GreaterOrEqual(t, len(kept), len(letters))
	last := uint64(0)
	for i := range letters {
		require.Greater(t, kept[i].N, last)
		last = kept[i].N
		letters[i].N = last
	}
	return letters
}

// requireLetters checks that these letters are kept, whole, and no others.
func requireLetters(t tb, s store.Store, want []store.DeadLetter) {
	t.Helper()
	require.Equal(t, numbersOf(want), numbersOf(listed(t, s, store.DeadQuery{Limit: 1000})))
	for i := range want {
		got, err := s.DeadLetter(context.Background(), want[i].N)
		require.NoError(t, err)
		require.Equal(t, want[i], got)
	}
}

func largeLetters(t testing.TB, d *data) {
	long := strings.Repeat("x", store.MaxMessageText+1)
	cause := strings.Repeat("c", store.MaxCause+1)
	letters := []store.DeadLetter{refusedMessage(1), refusedMessage(2)}
	*letters[0].Message = store.Message{Body: bytes.Repeat([]byte("b"), store.MaxMessageBody+7), ContentType: long, ContentEncoding: long,
		MessageID: long, CorrelationID: long, ReplyTo: long, UserID: long, Exchange: long, RoutingKey: long,
		Properties: bytes.Repeat([]byte("1"), store.MaxMessageProperties+1)}
	letters[0].Cause = cause
	*letters[1].Message = store.Message{Body: []byte("cut before"), Size: 5 << 20,
		Properties: bytes.Repeat([]byte("1"), store.MaxMessageProperties)}
	before := *letters[0].Message
	bury(t, d.store, letters)
	require.Equal(t, before, *letters[0].Message, "what is given stays as it was")

	long = long[:store.MaxMessageText]
	want := letters[0]
	want.Cause = cause[:store.MaxCause]
	want.Message = &store.Message{Body: bytes.Repeat([]byte("b"), store.MaxMessageBody), Size: store.MaxMessageBody + 7,
		ContentType: long, ContentEncoding: long, MessageID: long, CorrelationID: long, ReplyTo: long, UserID: long, Exchange: long,
		RoutingKey: long}
	requireLetters(t, d.store, []store.DeadLetter{want, letters[1]})
	list := listed(t, d.store, store.DeadQuery{Limit: 10})
	require.Equal(t, cause[:store.MaxListedCause], list[0].Cause)
	want.Message.Body = nil
	require.Equal(t, want.Message, list[0].Message)
}

func listedLetters(t testing.TB, d *data) {
	a := newAuthor(t, d.store)
	var all []store.DeadLetter
	for n := range 10 {
		letter := a.bury(stream("1"))
		a.commit()
		letters := []store.DeadLetter{refusedMessage(n)}
		bury(t, d.store, letters)
		all = append(all, letter, letters[0])
	}
	all = numbered(t, d.store, all)
	for i := range all {
		resolution := []store.Resolution{"", store.Retried, store.Discarded}[i%3]
		if resolution == "" {
			continue
		}
		decided, err := d.store.Decide(context.Background(), all[i].N, store.Decision{Resolution: resolution, At: a.tick(), By: "Ann"})
		require.NoError(t, err)
		all[i] = decided
	}
	for _, origin := range []store.Origin{"", store.OriginWorker, store.OriginAMQP} {
		for _, resolution := range []store.Resolution{"", store.Open, store.Retried, store.Discarded} {
			var want []store.DeadLetter
			for _, letter := range all {
				if (origin == "" || letter.Origin == origin) && (resolution == "" || letter.Decision.Resolution == resolution ||
					resolution == store.Open && letter.Decision == store.Decision{}) {
					want = append(want, short(letter))
				}
			}
			query := store.DeadQuery{Origin: origin, Resolution: resolution, Limit: 3}
			for at := 0; ; at += 3 {
				page := listed(t, d.store, query)
				require.ElementsMatch(t, want[min(at, len(want)):min(at+3, len(want))], page, "%q %q after %d", origin, resolution, at)
				if len(page) == 0 {
					break
				}
				require.IsIncreasing(t, append(numbersOf(page), math.MaxUint64))
				query.After = page[len(page)-1].N
			}
		}
	}
	require.Empty(t, listed(t, d.store, store.DeadQuery{After: math.MaxUint64, Limit: 10}))
	require.Empty(t, listed(t, d.store, store.DeadQuery{Limit: -1}))
}

// short is a letter as it is listed.
func short(l store.DeadLetter) store.DeadLetter {
	if l.Message != nil {
		m := *l.Message
		m.Body, m.Properties = nil, nil
		l.Message = &m
		return l
	}
	e := *l.Envelope
	e.Data = nil
	l.Envelope = &e
	return l
}

func decidedLetters(t testing.TB, d *data) {
	letters := []store.DeadLetter{refusedMessage(1), refusedMessage(2), refusedMessage(3)}
	bury(t, d.store, letters)
	at := time.Date(2026, 11, 23, 8, 15, 0, 1000, time.UTC)
	decisions := []store.Decision{
		{Resolution: store.Retried, At: at, By: "Zoë\x00", Why: "it was \"our\" fault", RetriedAs: commands.NewID()},
		{Resolution: store.Discarded, At: at.Add(time.Hour), By: "Bob", Why: ""},
	}
	for i, decision := range decisions {
		decided, err := d.store.Decide(context.Background(), letters[i].N, decision)
		require.NoError(t, err)
		letters[i].Decision = decision
		require.Equal(t, letters[i], decided)
		for _, again := range []store.Decision{decision, decisions[1-i]} {
			decided, err = d.store.Decide(context.Background(), letters[i].N, again)
			require.ErrorIs(t, err, store.ErrDecided)
			require.Equal(t, letters[i], decided)
		}
	}
	d.reopen()
	requireLetters(t, d.store, letters)

	results := make(chan error, 8)
	for n := range cap(results) {
		go func() {
			_, err := d.store.Decide(context.Background(), letters[2].N, store.Decision{Resolution: store.Discarded, By: fmt.Sprint(n)})
			results <- err
		}()
	}
	first := 0
	for range cap(results) {
		if err := <-results; err == nil {
			first++
		} else {
			require.ErrorIs(t, err, store.ErrDecided)
		}
	}
	require.Equal(t, 1, first, "of several at once one is the first")
}

func untoldLetters(t testing.TB, d *data) {
	a := newAuthor(t, d.store)
	letter := a.bury(stream("1"))
	a.commit()
	letters := []store.DeadLetter{refusedMessage(1), refusedMessage(2)}
	bury(t, d.store, letters)
	all := numbered(t, d.store, append([]store.DeadLetter{letter}, letters...))
	untold := func(want ...store.DeadLetter) {
		t.Helper()
		got, err := d.store.Untold(context.Background(), 10)
		require.NoError(t, err)
		require.ElementsMatch(t, want, got)
	}
	untold(all...)
	first, err := d.store.Untold(context.Background(), 1)
	require.NoError(t, err)
	require.Equal(t, all[:1], first)
	none, err := d.store.Untold(context.Background(), -1)
	require.NoError(t, err)
	require.Empty(t, none)

	require.NoError(t, d.store.Told(context.Background(), []uint64{all[1].N, 4711, math.MaxUint64}))
	require.NoError(t, d.store.Told(context.Background(), []uint64{all[1].N}))
	require.NoError(t, d.store.Told(context.Background(), nil))
	all[1].Told = true
	untold(all[0], all[2])
	_, err = d.store.Decide(context.Background(), all[2].N, store.Decision{Resolution: store.Discarded})
	require.NoError(t, err)
	all[2], err = d.store.DeadLetter(context.Background(), all[2].N)
	require.NoError(t, err)
	d.reopen()
	untold(all[0], all[2])
	requireLetters(t, d.store, all)
}
