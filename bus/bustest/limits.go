package bustest

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus"
)

func refusesWhenFull(t *testing.T, s Suite) {
	const bound = 32
	total := 2*bound + s.BoundSlack
	b := s.open(t, Limits{Messages: bound, Prefetch: 8})
	answers := newAnswers(t)
	answers.publish(b.Publisher, bus.LaneTopic(0), upTo(0, total)...)

	full := func(err error) bool {
		return errors.Is(err, bus.ErrFull) || s.FullIsUnavailable && errors.Is(err, bus.ErrUnavailable)
	}
	got := answers.wait("refusal beyond the bound", func(of map[int]error) bool {
		return len(of) == total || s.ConfirmsOnAck && count(of, full) >= total-bound-s.BoundSlack
	})
	var accepted []int
	for n := range total {
		if !full(got[n]) {
			require.NoError(t, got[n], "message %d", n)
			accepted = append(accepted, n)
		}
	}
	require.GreaterOrEqual(t, len(accepted), bound)
	require.LessOrEqual(t, len(accepted), bound+s.BoundSlack)

	messages := b.subscribe(t, t.Context(), bus.LaneTopic(0))
	require.Equal(t, accepted, consume(t, messages, len(accepted)), "what was accepted arrives, in order")
	answers.waitAll(total)
	answers.publish(b.Publisher, bus.LaneTopic(0), total)
	require.Equal(t, []int{total}, consume(t, messages, 1), "there is room again")
	require.NoError(t, answers.waitAll(total + 1)[total])
}

func refusesWhenClosed(t *testing.T, s Suite) {
	b := s.open(t, Limits{Messages: 16, Prefetch: 4})
	messages := b.subscribe(t, t.Context(), bus.LaneTopic(0))
	b.close(t)
	require.Empty(t, ended(t, messages))

	answers := newAnswers(t)
	answers.publish(b.Publisher, bus.LaneTopic(0), 0)
	answers.publish(b.Publisher, bus.LaneTopic(1), 1)
	for n, err := range answers.waitAll(2) {
		require.ErrorIs(t, err, bus.ErrClosed, "message %d", n)
	}
	require.ErrorIs(t, b.Publisher.Publish(bus.LaneTopic(0), numbered(2)), bus.ErrClosed)
	_, err := b.Subscriber.Subscribe(t.Context(), bus.LaneTopic(0))
	require.Error(t, err)
	b.close(t)
}

func tellsFateOnClose(t *testing.T, s Suite) {
	const total, held, acked = 12, 4, 2
	b := s.open(t, Limits{Messages: 16, Prefetch: held})
	answers := newAnswers(t)
	answers.publish(b.Publisher, bus.LaneTopic(0), upTo(0, total)...)
	if !s.ConfirmsOnAck {
		answers.allConfirmed(total)
		b.close(t)
		return
	}
	messages := b.subscribe(t, t.Context(), bus.LaneTopic(0))
	inHand := take(t, messages, held)
	for _, m := range inHand[:acked] {
		m.Ack()
	}
	b.close(t)

	got := answers.waitAll(total)
	received := numbers(t, append(inHand, ended(t, messages)...))
	for n := range total {
		switch {
		case n < acked:
			require.NoError(t, got[n], "message %d was acknowledged", n)
		case slices.Contains(received, n):
			require.ErrorIs(t, got[n], bus.ErrFateUnknown, "message %d was in hand", n)
		default:
			require.ErrorIs(t, got[n], bus.ErrClosed, "message %d was never delivered", n)
		}
	}
}

func answersOnceWhileClosing(t *testing.T, s Suite) {
	const publishers, each = 8, 50
	b := s.open(t, Limits{Messages: publishers * each, Prefetch: 4})
	messages := b.subscribe(t, t.Context(), bus.LaneTopic(0))
	answers := newAnswers(t)
	var publishing sync.WaitGroup
	for p := range publishers {
		publishing.Go(func() { answers.publish(b.Publisher, bus.LaneTopic(0), upTo(p*each, (p+1)*each)...) })
	}
	acked := map[int]bool{}
	for range each {
		m := next(t, messages)
		acked[number(t, m)] = m.Ack()
	}
	b.close(t)
	publishing.Wait()

	for n, err := range answers.waitAll(publishers * each) {
		if acked[n] {
			require.NoError(t, err, "message %d was acknowledged", n)
			continue
		}
		known := err == nil && !s.ConfirmsOnAck || errors.Is(err, bus.ErrClosed) || errors.Is(err, bus.ErrFateUnknown)
		require.True(t, known, "message %d: %v", n, err)
	}
}
