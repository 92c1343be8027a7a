package bus_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/frame"
	"github.com/ticketed/doorman/bus/inproc"
	"github.com/ticketed/doorman/commands"
)

// Whatever is sent and however frames are answered: every command is told once, what its frame was told;
// frames keep their order and their bounds.
func TestSenderKeepsItsWord(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newSending(t)
		t.Repeat(map[string]func(*rapid.T){
			"send":    func(t *rapid.T) { m.send(t, 1) },
			"sendAll": func(t *rapid.T) { m.send(t, rapid.IntRange(0, 8).Draw(t, "size")) },
			"answer":  m.answer,
			"back":    m.withdraw,
			"":        m.check,
		})
		m.finish(t)
	})
}

type sending struct {
	config    bus.SenderConfig
	publisher *publisher
	sender    *bus.Sender
	sent      int
	told      map[int][]error // by number of the command
	answers   map[int]error   // of frames
	envs      []*commands.Envelope
	back      map[int]bool // of those that were to be taken back, by number
}

func newSending(t *rapid.T) *sending {
	m := &sending{
		config: bus.SenderConfig{
			Lanes:         rapid.IntRange(1, 3).Draw(t, "lanes"),
			MaxFrame:      rapid.IntRange(1, 5).Draw(t, "frame"),
			MaxFrameBytes: rapid.IntRange(1, 1000).Draw(t, "bytes"),
			InFlight:      rapid.IntRange(1, 3).Draw(t, "inFlight"),
			Window:        rapid.IntRange(0, 4).Draw(t, "window"),
			FrameTime:     rapid.SampledFrom([]time.Duration{0, time.Nanosecond, time.Hour}).Draw(t, "frameTime"),
			MaxPending:    rapid.IntRange(1, 20).Draw(t, "pending"),
		},
		publisher: &publisher{},
		told:      map[int][]error{},
		answers:   map[int]error{},
		back:      map[int]bool{},
	}
	var err error
	m.sender, err = bus.NewSender(m.publisher, m.config)
	require.NoError(t, err)
	m.sender.NeverStuck()
	return m
}

func (m *sending) send(t *rapid.T, n int) {
	first := m.sent
	envs := make([]*commands.Envelope, n)
	for i := range envs {
		envs[i] = command(strconv.Itoa(m.sent))
		envs[i].Stream.ID = rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "stream")
		envs[i].Data = make([]byte, rapid.IntRange(0, 300).Draw(t, "data"))
		envs[i].Order = commands.Order(rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "order"))
		m.envs = append(m.envs, envs[i])
		m.sent++
	}
	if n == 1 {
		m.sender.Send(envs[0], func(err error) { m.told[first] = append(m.told[first], err) })
		return
	}
	m.sender.SendAll(envs, func(i int, err error) { m.told[first+i] = append(m.told[first+i], err) })
}

// withdraw takes some commands back, whatever has become of them; what is told then must be told at once.
func (m *sending) withdraw(t *rapid.T) {
	if m.sent == 0 {
		return // there is nothing to take back
	}
	var which []*commands.Envelope
	var waited []int
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, m.sent-1), 1, -1, rapid.ID).Draw(t, "back") {
		which = append(which, m.envs[n])
		if m.back[n] = true; len(m.told[n]) == 0 && !m.framed(n) {
			waited = append(waited, n)
		}
	}
	m.sender.Withdraw(which...)
	for _, n := range waited {
		require.Equal(t, []error{bus.ErrUnavailable}, m.told[n], "command %d had not left", n)
	}
}

func (m *sending) framed(number int) bool {
	for _, h := range m.publisher.held {
		for i := range h.commands {
			if h.commands[i].Type == strconv.Itoa(number) {
				return true
			}
		}
	}
	return false
}

func (m *sending) answer(t *rapid.T) {
	open := m.publisher.open()
	if len(open) == 0 {
		t.Skip("nothing is under way")
	}
	n := rapid.SampledFrom(open).Draw(t, "frame")
	m.answers[n] = rapid.SampledFrom([]error{nil, nil, bus.ErrUnavailable, bus.ErrFateUnknown}).Draw(t, "answer")
	m.publisher.answer(n, m.answers[n])
}

func (m *sending) check(t *rapid.T) {
	underWay, newest, framed := map[string]int{}, map[string]int{}, map[int]bool{}
	for n, h := range m.publisher.held {
		answer, answered := m.answers[n]
		if !answered {
			underWay[h.topic]++
		}
		require.LessOrEqual(t, len(h.commands), m.config.MaxFrame)
		size := 1
		for i := range h.commands {
			env := &h.commands[i]
			size += frame.Size(env)
			number, err := strconv.Atoi(env.Type)
			require.NoError(t, err)
			require.True(t, env.Order == commands.NoOrder || len(h.commands) == 1, "an order has a frame of its own")
			require.False(t, framed[number], "command %d travels twice", number)
			framed[number] = true
			require.Equal(t, bus.LaneTopic(env.Stream.Lane(m.config.Lanes)), h.topic)
			require.GreaterOrEqual(t, number, newest[h.topic], "commands of a lane leave in order")
			newest[h.topic] = number
			if answered {
				require.Equal(t, []error{answer}, m.told[number], "command %d", number)
			} else {
				require.Empty(t, m.told[number], "command %d", number)
			}
		}
		if len(h.commands) > 1 {
			require.LessOrEqual(t, size, m.config.MaxFrameBytes)
		}
	}
	all := 0
	for topic, n := range underWay {
		require.LessOrEqual(t, n, m.config.InFlight, topic)
		all += n
	}
	least := m.config.Window
	if m.config.FrameTime > 0 {
		least = min(least, 2) // or more, as quick as the answers were
	}
	room := m.config.Window == 0 || all < least
	if m.config.Window > 0 {
		require.LessOrEqual(t, all, m.config.Window)
	}
	waiting := 0
	for number := range m.sent {
		switch told := m.told[number]; {
		case framed[number]:
		case len(told) == 0:
			waiting++
			lane := bus.LaneTopic(m.envs[number].Stream.Lane(m.config.Lanes))
			require.False(t, room && underWay[lane] < m.config.InFlight, "command %d waits for nothing", number)
		case m.back[number] && told[0] == bus.ErrUnavailable: //nolint:errorlint // it is told as it is
			require.Len(t, told, 1, "command %d was taken back", number)
		default:
			require.Equal(t, []error{bus.ErrFull}, told, "command %d never left", number)
		}
	}
	require.LessOrEqual(t, waiting, m.config.MaxPending*m.config.Lanes)
}

// finish answers until nothing is left and closes.
func (m *sending) finish(t *rapid.T) {
	for open := m.publisher.open(); len(open) > 0; open = m.publisher.open() {
		m.answers[open[0]] = nil
		m.publisher.answer(open[0], nil)
	}
	require.NoError(t, m.sender.Close(context.Background()))
	require.Len(t, m.told, m.sent, "every command is told")
	m.check(t)
}

// The same with a real bus and senders at once: nothing is lost or told twice, streams keep their order.
func TestManySendersOverTheBus(t *testing.T) {
	t.Parallel()
	const senders, each, lanes = 16, 300, 4
	queue := inproc.New(inproc.Config{Prefetch: 8})
	sender, err := bus.NewSender(queue, bus.SenderConfig{Lanes: lanes, MaxFrame: 16, MaxPending: senders * each,
		Window: 3, FrameTime: time.Microsecond})
	require.NoError(t, err)
	sender.NeverStuck() // a lane that is not called in waits for ever

	var consuming sync.WaitGroup
	got := make([]map[string][]string, lanes) // by lane and stream
	for lane := range lanes {
		messages, err := queue.Subscribe(t.Context(), bus.LaneTopic(lane))
		require.NoError(t, err)
		got[lane] = map[string][]string{}
		consuming.Go(func() {
			for m := range messages {
				envs, err := frame.Decode(m.Payload)
				if err != nil {
					t.Error(err)
				}
				for i := range envs {
					id := envs[i].Stream.ID
					got[lane][id] = append(got[lane][id], envs[i].Type)
				}
				m.Ack()
			}
		})
	}
	var sending, telling sync.WaitGroup
	telling.Add(senders * each)
	for n := range senders {
		sending.Go(func() {
			for i := range each {
				env := command(strconv.Itoa(i))
				env.Stream.ID = fmt.Sprint(n)
				sender.Send(env, func(err error) {
					if err != nil {
						t.Error(err)
					}
					telling.Done() // panics when it is told too often
				})
			}
		})
	}
	sending.Wait()
	telling.Wait()
	require.NoError(t, sender.Close(t.Context()))
	require.NoError(t, queue.Close())
	consuming.Wait()

	want := make([]string, each)
	for i := range want {
		want[i] = strconv.Itoa(i)
	}
	for n := range senders {
		stream := commands.Stream{Type: "order", ID: fmt.Sprint(n)}
		require.Equal(t, want, got[stream.Lane(lanes)][stream.ID])
	}
}
