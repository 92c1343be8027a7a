package bustest

import (
	"context"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus"
)

func (s Suite) open(t *testing.T, limits Limits) Bus {
	t.Helper()
	b := s.Open(t, limits)
	t.Cleanup(func() { b.close(t) })
	return b
}

func (b Bus) close(t *testing.T) {
	t.Helper()
	require.NoError(t, b.Publisher.Close())
	require.NoError(t, b.Subscriber.Close())
}

func (b Bus) subscribe(t *testing.T, ctx context.Context, topic string) <-chan *message.Message {
	t.Helper()
	messages, err := b.Subscriber.Subscribe(ctx, topic)
	require.NoError(t, err)
	return messages
}

// numbered makes the message that number reads.
func numbered(n int) *message.Message {
	text := strconv.Itoa(n)
	return message.NewMessage(text, []byte(text))
}

// number reads what numbered wrote. It may be called from any goroutine.
func number(t *testing.T, m *message.Message) int {
	t.Helper()
	n, err := strconv.Atoi(string(m.Payload))
	if err != nil {
		t.Errorf("a message that nobody sent: %q", m.Payload)
	}
	return n
}

// next waits for a message.
func next(t *testing.T, messages <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, open := <-messages:
		require.True(t, open, "the subscription ended")
		return m
	case <-time.After(patience):
		require.FailNow(t, "no message came", "within %s", patience)
		return nil
	}
}

// take waits for as many messages, without acknowledging them.
func take(t *testing.T, messages <-chan *message.Message, n int) []*message.Message {
	t.Helper()
	taken := make([]*message.Message, n)
	for i := range taken {
		taken[i] = next(t, messages)
	}
	return taken
}

// consume takes messages and acknowledges each at once.
func consume(t *testing.T, messages <-chan *message.Message, n int) []int {
	t.Helper()
	consumed := make([]int, n)
	for i := range consumed {
		m := next(t, messages)
		consumed[i] = number(t, m)
		require.True(t, m.Ack())
	}
	return consumed
}

func numbers(t *testing.T, messages []*message.Message) []int {
	t.Helper()
	list := make([]int, len(messages))
	for i, m := range messages {
		list[i] = number(t, m)
	}
	return list
}

// upTo lists the numbers from first up to, not including, end.
func upTo(first, end int) []int {
	list := make([]int, 0, end-first)
	for n := first; n < end; n++ {
		list = append(list, n)
	}
	return list
}

// ended waits until a subscription's channel is closed and returns what still came out of it.
func ended(t *testing.T, messages <-chan *message.Message) []*message.Message {
	t.Helper()
	var rest []*message.Message
	deadline := time.After(patience)
	for {
		select {
		case m, open := <-messages:
			if !open {
				return rest
			}
			rest = append(rest, m)
		case <-deadline:
			require.FailNow(t, "the channel was not closed", "within %s", patience)
		}
	}
}

// answers collects what a bus says of numbered messages and sees to it that it says so once.
type answers struct {
	t       *testing.T
	mu      sync.Mutex
	of      map[int]error
	changed chan struct{}
}

func newAnswers(t *testing.T) *answers {
	return &answers{t: t, of: map[int]error{}, changed: make(chan struct{}, 1)}
}

// publish hands numbered messages over, one after another.
func (a *answers) publish(publisher bus.Publisher, topic string, list ...int) {
	for _, n := range list {
		publisher.PublishAsync(topic, numbered(n), func(err error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			if earlier, twice := a.of[n]; twice {
				a.t.Errorf("message %d was answered twice, with %v and %v", n, earlier, err)
			}
			a.of[n] = err
			select {
			case a.changed <- struct{}{}:
			default:
			}
		})
	}
}

// wait waits until the answers are as asked and returns them all.
func (a *answers) wait(what string, reached func(map[int]error) bool) map[int]error {
	a.t.Helper()
	deadline := time.After(patience)
	for {
		a.mu.Lock()
		if reached(a.of) {
			got := make(map[int]error, len(a.of))
			maps.Copy(got, a.of)
			a.mu.Unlock()
			return got
		}
		known := len(a.of)
		a.mu.Unlock()
		select {
		case <-a.changed:
		case <-deadline:
			require.FailNow(a.t, what+" did not happen", "within %s; %d answers came", patience, known)
		}
	}
}

// waitAll waits until so many messages are answered.
func (a *answers) waitAll(n int) map[int]error {
	a.t.Helper()
	return a.wait("an answer to every message", func(of map[int]error) bool { return len(of) == n })
}

// allConfirmed waits until so many messages are answered, with nil.
func (a *answers) allConfirmed(n int) {
	a.t.Helper()
	for n, err := range a.waitAll(n) {
		require.NoError(a.t, err, "message %d", n)
	}
}

func count(of map[int]error, matches func(error) bool) (n int) {
	for _, err := range of {
		if matches(err) {
			n++
		}
	}
	return n
}
