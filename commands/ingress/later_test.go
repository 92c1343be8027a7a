package ingress_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/ingress"
)

// Nothing is refused because commands cannot be taken at the moment, and nothing is asked for too often.
func TestWhatCannotBeSentIsTriedAgainUnderTheSameID(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.take = func(*commands.Envelope) error { return errFull }
		w.start()
		d := w.give(message(`{"stream":"order/42","type":"submit","ticket":"genesis"}`))[0]
		time.Sleep(time.Minute)
		tries := len(w.sentIDs())
		require.False(t, d.isSettled())
		require.Greater(t, tries, 25, "every two seconds in the end")
		require.Less(t, tries, 45)
		require.Equal(t, tries, w.notNow)
		w.change(func() { w.take = nil })
		w.settles(d)
		ids := w.sentIDs()
		for _, id := range ids {
			require.Equal(t, ids[0], id, "its id was made here, once")
		}
		require.Empty(t, w.buried)
	})
}

func TestWhileNothingIsReadyNothingIsSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.away = errAway
		w.start()
		given := w.give(message(command(first)), message("{"), message(command(second)))
		time.Sleep(10 * time.Minute)
		require.Empty(t, w.sentIDs())
		require.True(t, given[1].isSettled(), "what is refused is refused all the same")
		w.change(func() { w.away = nil })
		began := time.Now()
		w.settles(given[0])
		w.settles(given[2])
		require.LessOrEqual(t, time.Since(began), 2*time.Second+10*time.Millisecond)
		require.Equal(t, []commands.ID{id(t, first), id(t, second)}, w.sentIDs())
	})
}

// Of an array only what was not taken is sent again, and it is settled as a whole.
func TestOfAnArrayOnlyTheRestIsSentAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		refusing := true
		w.take = func(env *commands.Envelope) error {
			if refusing && env.ID == id(t, second) {
				return errAway
			}
			return nil
		}
		w.start()
		d := w.give(message("[" + command(first) + "," + command(second) + "," + command(third) + `,{"stream":"order/42"}]`))[0]
		time.Sleep(time.Second)
		require.False(t, d.isSettled())
		require.Empty(t, w.codes(), "nothing is kept before the rest is durable")
		w.change(func() { refusing = false })
		w.settles(d)
		counts := map[commands.ID]int{}
		for _, id := range w.sentIDs() {
			counts[id]++
		}
		require.Equal(t, 1, counts[id(t, first)])
		require.Equal(t, 1, counts[id(t, third)])
		require.Greater(t, counts[id(t, second)], 1)
		require.Equal(t, []commands.Reason{commands.Malformed}, w.codes())
	})
}

// A message that the broker gives to somebody else is nothing to be done about here any more.
func TestWhatIsLostIsLetGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.away = errAway
		w.start()
		given := w.give(message(command(first)), message(command(second)))
		time.Sleep(time.Second)
		given[0].lost.Store(true)
		w.change(func() { w.away = nil })
		w.settles(given[1])
		require.Equal(t, []commands.ID{id(t, second)}, w.sentIDs())

		w.change(func() { w.keeping = func([]ingress.Refused) error { return errAway } })
		refused := w.give(message("{"), message("["))
		synctest.Wait()
		refused[0].lost.Store(true)
		w.change(func() { w.keeping = nil })
		w.settles(refused[1])
		require.NotEmpty(t, w.codes())
	})
}

// What was refused is settled once it is kept, however long the store is away; its sender hears of it after that.
func TestWhatIsRefusedIsKeptBeforeItIsSettled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		tries := 0
		w.keeping = func([]ingress.Refused) error { tries++; return errAway }
		w.start()
		given := w.give(message("{"), message(command(first)))
		time.Sleep(time.Minute)
		require.False(t, given[0].isSettled())
		require.True(t, given[1].isSettled(), "others do not wait for it")
		require.Empty(t, w.replies)
		w.change(func() {
			require.Less(t, tries, 45)
			w.keeping = nil
		})
		w.settles(given[0])
		require.Len(t, w.buried, 1)
		require.Len(t, w.replies, 1)
	})
}

// However much is refused, no more of it is kept at once than a transaction bears.
func TestWhatIsKeptAtOnceIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		total, away := 0, true
		w.keeping = func(refused []ingress.Refused) error {
			if away {
				return errAway
			}
			bytes := 0
			for i := range refused {
				bytes += refused[i].Size
			}
			require.LessOrEqual(t, len(refused), 1024)
			require.LessOrEqual(t, bytes, 8<<20)
			total += len(refused)
			return nil
		}
		w.start()
		array := message("[" + strings.Repeat("7,", 255) + "7]")
		large := message(strings.Repeat("x", 5<<20))
		given := w.give(array, array, array, array, array, array, large, large, large, message("{"))
		time.Sleep(time.Second)
		w.change(func() { away = false })
		for _, d := range given {
			w.settles(d)
		}
		require.Equal(t, 6*256+4, total)
	})
}

func TestSendersThatCannotBeToldStopNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.telling = func(context.Context) error { return errors.New("no way to say it") }
	w.start()
	for range 3 {
		w.settles(w.give(message("{"))[0])
	}
	require.Len(t, w.buried, 3)
}

// A stop waits for what the bus has in hand and for what is being kept, and lets go of what could not be sent.
func TestAStopSettlesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.lagging = true
		w.start()
		given := w.give(message(command(first)), message("{"))
		w.change(func() { w.lagging, w.take = false, func(*commands.Envelope) error { return errFull } })
		held := w.give(message(command(second)))[0]
		var stopped error
		over := false
		go func() {
			stopped = w.in.Stop(t.Context())
			over = true
		}()
		time.Sleep(time.Second)
		require.False(t, over, "the bus has not answered")
		for _, answer := range w.later {
			answer()
		}
		synctest.Wait()
		require.True(t, over)
		require.NoError(t, stopped)
		require.True(t, given[0].isSettled())
		require.True(t, given[1].isSettled())
		require.False(t, held.isSettled())
	})
}

func TestAStopEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.lagging = true
		w.keeping = func([]ingress.Refused) error { return errAway }
		w.start()
		given := w.give(message(command(first)), message("{"))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		require.ErrorIs(t, w.in.Stop(ctx), context.DeadlineExceeded)
		require.Equal(t, 5*time.Second, time.Since(began))
		require.False(t, given[1].isSettled())
		for _, answer := range w.later {
			answer()
		}
	})
}

// An operator's message goes the same way, and the operator hears what became of it.
func TestAnOperatorIsToldWhatBecomesOfAMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	m := message("[" + command(first) + `,{"id":"` + second + `","stream":"order/42","type":"submit"}]`)
	verdicts, err := w.in.Submit(t.Context(), &m)
	require.NoError(t, err)
	require.Len(t, verdicts, 2)
	require.Nil(t, verdicts[0].Refused)
	require.Equal(t, id(t, first), verdicts[0].ID)
	require.Equal(t, commands.TicketRequired, verdicts[1].Refused.Code)
	require.Empty(t, w.buried)
	require.Empty(t, w.replies)

	m = message("{")
	verdicts, err = w.in.Submit(t.Context(), &m)
	require.NoError(t, err)
	require.Equal(t, commands.Malformed, verdicts[0].Refused.Code)

	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 30 { // what was taken was, also when the time is over by then
		m = message("[" + command(first) + "," + command(second) + "]")
		_, err = w.in.Submit(over, &m)
		require.NoError(t, err)
	}

	w.change(func() { w.take = func(*commands.Envelope) error { return errFull } })
	m = message(command(third))
	_, err = w.in.Submit(t.Context(), &m)
	require.ErrorIs(t, err, errFull)
	w.change(func() { w.away = errAway })
	_, err = w.in.Submit(t.Context(), &m)
	require.ErrorIs(t, err, errAway)
	w.change(func() { w.away, w.lagging = nil, true })
	ctx, end := context.WithTimeout(t.Context(), time.Millisecond)
	defer end()
	_, err = w.in.Submit(ctx, &m)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	for _, answer := range w.later {
		answer()
	}
}
