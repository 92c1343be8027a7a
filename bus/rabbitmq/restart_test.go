package rabbitmq_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

// DESIGN section 5, promise 1: what was accepted is not lost, over restarts of RabbitMQ. Everything that
// was confirmed arrives, in its lane's order of first deliveries, over a broker that is stopped and started and
// one that runs out of memory.
func TestNothingConfirmedIsLostWhenTheBrokerRestarts(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.NewBroker(t)
	config := broker.Config()
	config.ConfirmTimeout = 3 * time.Second
	all := startLoads(t, config)
	idle := openExchanges(t, config) // a worker with nothing to tell
	all.reachMore("a beginning")

	broker.Stop()
	broker.Start()
	all.reachMore("life after the restart")
	require.Eventually(t, func() bool { return idle.Ready() == nil }, patience, blink)

	broker.Starve(true)
	require.Eventually(t, func() bool { return all.publisher.Ready() != nil }, patience, blink)
	require.ErrorIs(t, all.publisher.Publish(topic, numbered(0)), bus.ErrUnavailable)
	require.NoError(t, all.subscriber.Ready(), "consuming goes on")
	require.Eventually(t, func() bool { return idle.Ready() != nil }, patience, blink, "who publishes nothing hears of it too")
	broker.Starve(false)
	require.Eventually(t, func() bool { return idle.Ready() == nil }, patience, blink)
	all.reachMore("life after hunger")
	all.requireWhole()
}

// The first kill meets queues that were made a moment ago, which RabbitMQ forgets unless it has had time to note
// their names.
func TestNothingConfirmedIsLostWhenTheBrokerIsKilled(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.NewBroker(t)
	config := broker.Config()
	config.ConfirmTimeout = 3 * time.Second
	all := startLoads(t, config)
	for range 2 {
		all.reachMore("life before the kill")
		broker.Kill()
		broker.Start()
	}
	all.reachMore("life after the last kill")
	if t.Failed() {
		t.Log(broker.Tell("list_queues", "name", "state", "messages_ready", "messages_unacknowledged", "consumers", "leader"))
	}
	all.requireWhole()
}

func TestNothingConfirmedIsLostWhenConnectionsBreak(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	config.URL = proxy.URL()
	all := startLoads(t, config)
	for range 5 {
		all.reachMore("life after a cut")
		proxy.Cut()
	}
	all.reachMore("life after the last cut")
	all.requireWhole()
}

// loads publish and consume on several lanes at once.
type loads struct {
	t          *testing.T
	publisher  *rabbitmq.Publisher
	subscriber *rabbitmq.Subscriber
	lanes      []*load
	stop       context.CancelFunc
	publishing sync.WaitGroup
}

func startLoads(t *testing.T, config rabbitmq.Config) *loads {
	t.Helper()
	config.Topics, config.Prefetch, config.MaxBackoff = lanes(laneCount), 32, 200*time.Millisecond
	all := &loads{t: t, publisher: openPublisher(t, config), subscriber: openSubscriber(t, config)}
	var ctx context.Context
	ctx, all.stop = context.WithCancel(t.Context())
	for _, topic := range config.Topics {
		messages, err := all.subscriber.Subscribe(t.Context(), topic)
		require.NoError(t, err)
		l := &load{topic: topic, confirmed: map[int]bool{}, seen: map[int]bool{}}
		all.lanes = append(all.lanes, l)
		all.publishing.Go(func() { l.publish(ctx, all.publisher) })
		go l.consume(messages)
	}
	return all
}

// reachMore waits until every lane has had so many more messages confirmed and consumed.
func (all *loads) reachMore(what string) {
	all.t.Helper()
	const more = 300
	want := map[*load][2]int{}
	for _, l := range all.lanes {
		l.mu.Lock()
		want[l] = [2]int{len(l.confirmed) + more, len(l.seen) + more}
		l.mu.Unlock()
	}
	all.reach(what, func(l *load) bool { return len(l.confirmed) >= want[l][0] && len(l.seen) >= want[l][1] })
}

func (all *loads) reach(what string, reached func(*load) bool) {
	all.t.Helper()
	require.Eventually(all.t, func() bool {
		for _, l := range all.lanes {
			l.mu.Lock()
			ok := reached(l)
			l.mu.Unlock()
			if !ok {
				return false
			}
		}
		return true
	}, patience, blink, what)
}

// requireWhole ends the loads and looks at what came of them.
func (all *loads) requireWhole() {
	all.t.Helper()
	all.stop()
	all.publishing.Wait()
	all.reach("all that was confirmed", func(l *load) bool {
		for n := range l.confirmed {
			if !l.seen[n] {
				return false
			}
		}
		return true
	})
	require.NoError(all.t, all.subscriber.Close())
	for _, l := range all.lanes {
		l.mu.Lock()
		require.Empty(all.t, l.backwards, "first deliveries of %s keep their order", l.topic)
		require.Empty(all.t, l.unknown, "every error says what became of the message")
		l.mu.Unlock()
	}
}

const laneCount = 4

// load is what one lane's publisher and consumer know.
type load struct {
	topic string

	mu        sync.Mutex
	confirmed map[int]bool
	seen      map[int]bool
	last      int
	backwards []int
	unknown   []error
}

// publish sends one number after another, with some under way, and none twice.
func (l *load) publish(ctx context.Context, publisher *rabbitmq.Publisher) {
	room := make(chan struct{}, 16)
	for n := 1; ctx.Err() == nil; n++ {
		room <- struct{}{}
		m := message.NewMessage(strconv.Itoa(n), []byte(strconv.Itoa(n)))
		publisher.PublishAsync(l.topic, m, func(err error) {
			l.answered(n, err)
			if errors.Is(err, bus.ErrUnavailable) { // as a client would that is told 503
				time.AfterFunc(10*time.Millisecond, func() { <-room })
				return
			}
			<-room
		})
	}
	for range cap(room) {
		room <- struct{}{}
	}
}

func (l *load) answered(n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.confirmed[n] = true
	case !errors.Is(err, bus.ErrUnavailable) && !errors.Is(err, bus.ErrFateUnknown):
		l.unknown = append(l.unknown, err)
	}
}

func (l *load) consume(messages <-chan *message.Message) {
	for m := range messages {
		if m.Context().Err() != nil { // it went back while it was read, perhaps past others, and comes again
			continue
		}
		n, err := strconv.Atoi(string(m.Payload))
		l.mu.Lock()
		if err != nil {
			l.unknown = append(l.unknown, err)
		}
		if !l.seen[n] && n < l.last {
			l.backwards = append(l.backwards, n)
		}
		l.last = max(l.last, n)
		l.seen[n] = true
		l.mu.Unlock()
		m.Ack()
	}
}
