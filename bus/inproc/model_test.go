package inproc_test

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/inproc"
)

// TestTopicBehavesAsTheModel does anything that can be done to a topic in any order and compares what is
// seen with a model that is nothing but lists.
func TestTopicBehavesAsTheModel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// A bubble has no deadline of the outer clock, which rapid would ask a *testing.T for.
		bubble := struct{ rapid.TB }{t}
		rapid.Check(bubble, func(t *rapid.T) {
			m := newMachine(rapid.IntRange(1, 4).Draw(t, "prefetch"), rapid.IntRange(1, 12).Draw(t, "bound"))
			defer m.close(t)
			t.Repeat(map[string]func(*rapid.T){
				"publish":   m.publish,
				"subscribe": m.subscribe,
				"leave":     m.leave,
				"read":      m.read,
				"ack":       func(t *rapid.T) { m.settle(t, "acked") },
				"nack":      func(t *rapid.T) { m.settle(t, "nacked") },
				"":          m.compare,
			})
		})
	})
}

const topicName = "lane.0"

// delivery is a message in hand, as the model has it.
type delivery struct {
	n       int
	read    *message.Message // nil while it lies in the channel
	verdict string
}

type machine struct {
	bus      *inproc.Bus
	prefetch int
	bound    int

	published int
	queue     []int      // numbers, in order
	inHand    []delivery // in the order of delivery
	handled   map[int]bool
	want      map[int]error
	got       map[int][]error

	messages   <-chan *message.Message
	endContext context.CancelFunc
}

func newMachine(prefetch, bound int) *machine {
	return &machine{
		bus:      inproc.New(inproc.Config{Prefetch: prefetch, MaxMessages: bound}),
		prefetch: prefetch, bound: bound,
		handled: map[int]bool{}, want: map[int]error{}, got: map[int][]error{},
	}
}

func (m *machine) publish(*rapid.T) {
	n := m.published
	m.published++
	if len(m.queue)+len(m.inHand) < m.bound {
		m.queue = append(m.queue, n)
	} else {
		m.want[n] = bus.ErrFull
	}
	text := strconv.Itoa(n)
	m.bus.PublishAsync(topicName, message.NewMessage(text, []byte(text)), func(err error) {
		m.got[n] = append(m.got[n], err)
	})
	m.move()
}

func (m *machine) subscribe(t *rapid.T) {
	if m.messages != nil {
		t.Skip("one at a time")
	}
	ctx, cancel := context.WithCancel(context.Background())
	messages, err := m.bus.Subscribe(ctx, topicName)
	require.NoError(t, err)
	m.messages, m.endContext = messages, cancel
	m.move()
}

func (m *machine) leave(t *rapid.T) {
	if m.messages == nil {
		t.Skip("nobody there")
	}
	m.endContext()
	m.giveBack()
	synctest.Wait()
	_, open := <-m.messages
	require.False(t, open, "the channel is closed and empty")
	m.messages = nil
}

// giveBack is what a topic does when a subscription ends.
func (m *machine) giveBack() {
	for _, d := range m.inHand {
		if d.verdict == "acked" {
			m.want[d.n] = nil
			continue
		}
		m.handled[d.n] = m.handled[d.n] || d.read != nil
		m.queue = append(m.queue, d.n)
	}
	m.inHand = nil
	slices.Sort(m.queue)
}

func (m *machine) read(t *rapid.T) {
	next := slices.IndexFunc(m.inHand, func(d delivery) bool { return d.read == nil })
	if next < 0 {
		t.Skip("nothing to read")
	}
	got := <-m.messages
	require.Equal(t, strconv.Itoa(m.inHand[next].n), got.UUID)
	require.NoError(t, got.Context().Err())
	m.inHand[next].read = got
}

func (m *machine) settle(t *rapid.T, verdict string) {
	var open []int
	for i, d := range m.inHand {
		if d.read != nil && d.verdict == "" {
			open = append(open, i)
		}
	}
	if len(open) == 0 {
		t.Skip("nothing to settle")
	}
	d := &m.inHand[rapid.SampledFrom(open).Draw(t, "which")]
	d.verdict = verdict
	if verdict == "acked" {
		require.True(t, d.read.Ack())
	} else {
		require.True(t, d.read.Nack())
	}
	m.move()
}

// move is what a topic does after each event.
func (m *machine) move() {
	for len(m.inHand) > 0 && m.inHand[0].verdict != "" {
		d := m.inHand[0]
		m.inHand = m.inHand[1:]
		if d.verdict == "acked" {
			m.want[d.n] = nil
		} else {
			m.handled[d.n] = true
			m.queue = append(m.queue, d.n)
		}
	}
	slices.Sort(m.queue)
	for m.messages != nil && len(m.queue) > 0 && len(m.inHand) < m.prefetch {
		m.inHand = append(m.inHand, delivery{n: m.queue[0]})
		m.queue = m.queue[1:]
	}
}

func (m *machine) compare(t *rapid.T) {
	synctest.Wait()
	unread := 0
	for _, d := range m.inHand {
		if d.read == nil {
			unread++
		}
	}
	require.Len(t, m.messages, unread, "what lies in the channel")
	require.Len(t, m.got, len(m.want), "how many are answered")
	for n, want := range m.want {
		require.Len(t, m.got[n], 1, "answers to message %d", n)
		require.ErrorIs(t, m.got[n][0], want, "message %d", n)
	}
}

func (m *machine) close(t *rapid.T) {
	require.NoError(t, m.bus.Close())
	m.giveBack()
	for _, n := range m.queue {
		m.want[n] = bus.ErrClosed
		if m.handled[n] {
			m.want[n] = bus.ErrFateUnknown
		}
	}
	require.Len(t, m.got, m.published, "every message is answered")
	for n, want := range m.want {
		require.Len(t, m.got[n], 1)
		require.ErrorIs(t, m.got[n][0], want, "message %d: %v", n, m.got[n][0])
	}
}
