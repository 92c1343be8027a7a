package bustest

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus"
)

func arrivesWhole(t *testing.T, s Suite) {
	b := s.open(t, Limits{Messages: 16, Prefetch: 4})
	messages := b.subscribe(t, t.Context(), bus.LaneTopic(0))
	sent := message.NewMessage("5f1e", []byte{0, 1, 2, 0xff})
	sent.Metadata.Set("kind", "frame")

	confirmed := make(chan error, 1)
	b.Publisher.PublishAsync(bus.LaneTopic(0), sent, func(err error) { confirmed <- err })
	got := next(t, messages)
	got.Ack()

	require.Equal(t, sent.UUID, got.UUID)
	require.Equal(t, sent.Payload, got.Payload)
	require.Equal(t, "frame", got.Metadata.Get("kind"))
	require.NoError(t, <-confirmed)
}

func keepsOrderPerTopic(t *testing.T, s Suite) {
	const each = 500
	b := s.open(t, Limits{Messages: each, Prefetch: 32})
	var lanes sync.WaitGroup
	got := make([][]int, Lanes)
	for lane := range Lanes {
		topic := bus.LaneTopic(lane)
		messages := b.subscribe(t, t.Context(), topic)
		lanes.Go(func() { newAnswers(t).publish(b.Publisher, topic, upTo(0, each)...) })
		lanes.Go(func() {
			for m := range messages {
				got[lane] = append(got[lane], number(t, m))
				m.Ack()
				if len(got[lane]) == each {
					return
				}
			}
		})
	}
	lanes.Wait()
	for lane := range Lanes {
		require.Equal(t, upTo(0, each), got[lane], "lane %d", lane)
	}
}

func losesNothing(t *testing.T, s Suite) {
	const publishers, each = 4, 2500
	const total = publishers * each
	b := s.open(t, Limits{Messages: total, Prefetch: 64})
	messages := b.subscribe(t, t.Context(), bus.LaneTopic(0))
	answers := newAnswers(t)
	for p := range publishers {
		go answers.publish(b.Publisher, bus.LaneTopic(0), upTo(p*each, (p+1)*each)...)
	}

	got := consume(t, messages, total)

	for p := range publishers {
		own := slices.DeleteFunc(slices.Clone(got), func(n int) bool { return n/each != p })
		require.Equal(t, upTo(p*each, (p+1)*each), own, "messages of publisher %d", p)
	}
	answers.allConfirmed(total)
}

func waitsForSubscriber(t *testing.T, s Suite) {
	b := s.open(t, Limits{Messages: 100, Prefetch: 8})
	answers := newAnswers(t)
	answers.publish(b.Publisher, bus.LaneTopic(0), upTo(0, 100)...)

	got := consume(t, b.subscribe(t, t.Context(), bus.LaneTopic(0)), 100)

	require.Equal(t, upTo(0, 100), got)
	answers.allConfirmed(100)
}

func sharesTopic(t *testing.T, s Suite) {
	const total = 400
	b := s.open(t, Limits{Messages: total, Prefetch: 4})
	var mu sync.Mutex
	var got []int
	all := make(chan struct{})
	for range 2 {
		messages := b.subscribe(t, t.Context(), bus.LaneTopic(0))
		go func() {
			last := -1
			for m := range messages {
				n := number(t, m)
				if n <= last {
					t.Errorf("message %d came to a subscriber after %d", n, last)
				}
				last = n
				mu.Lock()
				if got = append(got, n); len(got) == total {
					close(all)
				}
				mu.Unlock()
				m.Ack()
			}
		}()
	}
	answers := newAnswers(t)
	answers.publish(b.Publisher, bus.LaneTopic(0), upTo(0, total)...)
	answers.allConfirmed(total)
	<-all
	slices.Sort(got)
	require.Equal(t, upTo(0, total), got, "each message went to one of them")
}

func deliversUpToPrefetch(t *testing.T, s Suite) {
	const prefetch = 16
	b := s.open(t, Limits{Messages: 64, Prefetch: prefetch})
	answers := newAnswers(t)
	answers.publish(b.Publisher, bus.LaneTopic(0), upTo(0, 2*prefetch)...)
	messages := b.subscribe(t, t.Context(), bus.LaneTopic(0))

	held := take(t, messages, prefetch)
	require.Equal(t, upTo(0, prefetch), numbers(t, held))
	select {
	case m := <-messages:
		require.FailNow(t, "a message beyond the prefetch", "%d", number(t, m))
	default:
	}

	held[0].Ack()
	require.Equal(t, prefetch, number(t, next(t, messages)), "an acknowledgement makes room for one more")
}

func takesAcksInAnyOrder(t *testing.T, s Suite) {
	const held = 16
	b := s.open(t, Limits{Messages: 64, Prefetch: held})
	answers := newAnswers(t)
	messages := b.subscribe(t, t.Context(), bus.LaneTopic(0))
	answers.publish(b.Publisher, bus.LaneTopic(0), upTo(0, held)...)

	for _, m := range slices.Backward(take(t, messages, held)) {
		require.True(t, m.Ack())
	}
	answers.allConfirmed(held)

	answers.publish(b.Publisher, bus.LaneTopic(0), held)
	require.Equal(t, []int{held}, consume(t, messages, 1), "nothing that was acknowledged comes again")
}

func redeliversNacked(t *testing.T, s Suite) {
	b := s.open(t, Limits{Messages: 16, Prefetch: 1})
	answers := newAnswers(t)
	messages := b.subscribe(t, t.Context(), bus.LaneTopic(0))
	answers.publish(b.Publisher, bus.LaneTopic(0), 7)

	for range 20 {
		m := next(t, messages)
		require.Equal(t, 7, number(t, m))
		require.True(t, m.Nack())
	}
	require.Equal(t, []int{7}, consume(t, messages, 1))
	answers.allConfirmed(1)
}

func keepsOrderOfNacked(t *testing.T, s Suite) {
	const held, total = 4, 12
	b := s.open(t, Limits{Messages: 64, Prefetch: held})
	answers := newAnswers(t)
	answers.publish(b.Publisher, bus.LaneTopic(0), upTo(0, total)...)
	messages := b.subscribe(t, t.Context(), bus.LaneTopic(0))

	for _, m := range take(t, messages, held) {
		require.True(t, m.Nack())
	}
	got := consume(t, messages, total)

	if s.NackLosesOrder {
		slices.Sort(got)
	}
	require.Equal(t, upTo(0, total), got)
	answers.allConfirmed(total)
}

func returnsUnacked(t *testing.T, s Suite) {
	const total, held, acked = 40, 16, 5
	b := s.open(t, Limits{Messages: 64, Prefetch: held})
	answers := newAnswers(t)
	answers.publish(b.Publisher, bus.LaneTopic(0), upTo(0, total)...)

	ctx, leave := context.WithCancel(t.Context())
	first := b.subscribe(t, ctx, bus.LaneTopic(0))
	got := take(t, first, held/2)
	for _, m := range got[:acked] {
		m.Ack()
	}
	if s.ConfirmsOnAck {
		answers.allConfirmed(acked)
	}
	leave()
	require.Subset(t, upTo(0, total), numbers(t, ended(t, first)))

	second := b.subscribe(t, t.Context(), bus.LaneTopic(0))
	again := next(t, second)
	from := number(t, again)
	require.True(t, from == acked || from < acked && !s.ConfirmsOnAck,
		"message %d came first; %d were acknowledged", from, acked)
	again.Ack()
	require.Equal(t, upTo(from+1, total), consume(t, second, total-from-1))
	answers.allConfirmed(total)
}

func confirmsWhenSafe(t *testing.T, s Suite) {
	b := s.open(t, Limits{Messages: 16, Prefetch: 4})
	answers := newAnswers(t)
	answers.publish(b.Publisher, bus.LaneTopic(0), 0, 1)
	if !s.ConfirmsOnAck {
		answers.allConfirmed(2)
		require.Equal(t, upTo(0, 2), consume(t, b.subscribe(t, t.Context(), bus.LaneTopic(0)), 2))
		return
	}
	held := take(t, b.subscribe(t, t.Context(), bus.LaneTopic(0)), 2)
	answers.wait("silence before an acknowledgement", func(of map[int]error) bool { return len(of) == 0 })
	held[0].Ack()
	require.Equal(t, map[int]error{0: nil}, answers.waitAll(1), "only what was acknowledged is confirmed")
	held[1].Ack()
	answers.allConfirmed(2)
}

func publishesSeveral(t *testing.T, s Suite) {
	b := s.open(t, Limits{Messages: 64, Prefetch: 8})
	several := make([]*message.Message, 50)
	for i := range several {
		several[i] = numbered(i)
	}
	messages := b.subscribe(t, t.Context(), bus.LaneTopic(0))
	published := make(chan error, 1)
	go func() { published <- b.Publisher.Publish(bus.LaneTopic(0), several...) }()

	require.Equal(t, upTo(0, 50), consume(t, messages, 50))
	require.NoError(t, <-published, "Publish returns once its messages are confirmed")
}
