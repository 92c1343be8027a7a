package rabbitmq_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

func take(t *testing.T, messages <-chan *message.Message, n int) (taken []*message.Message) {
	t.Helper()
	for range n {
		select {
		case m, open := <-messages:
			require.True(t, open, "the subscription ended")
			taken = append(taken, m)
		case <-time.After(patience):
			require.FailNow(t, "no message came")
		}
	}
	return taken
}

func ids(messages []*message.Message) (list []string) {
	for _, m := range messages {
		list = append(list, m.UUID)
	}
	return list
}

func TestWhatWasNotAcknowledgedComesAgainInOrder(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	config.Prefetch, config.MaxBackoff = 4, 200*time.Millisecond
	publisher := openPublisher(t, config)
	for i := range 7 {
		require.NoError(t, publisher.Publish(topic, numbered(i)))
	}
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	config.URL = proxy.URL()
	subscriber := openSubscriber(t, config)
	messages, err := subscriber.Subscribe(t.Context(), topic)
	require.NoError(t, err)
	first := take(t, messages, 2)
	first[0].Ack()
	<-first[0].Context().Done() // the broker is being told
	require.Equal(t, []string{"0", "1"}, ids(first))
	third := take(t, messages, 1)[0]
	before, err := subscriber.Consuming(topic)
	require.NoError(t, err)

	proxy.Cut()
	<-first[1].Context().Done()
	first[1].Ack() // too late
	require.Eventually(t, func() bool {
		since, err := subscriber.Consuming(topic)
		return err == nil && since.After(before)
	}, patience, blink, "what nobody has read is taken back")

	again := take(t, messages, 1)
	if again[0].UUID == "0" { // it was told when the line was cut
		again[0].Ack()
		again = take(t, messages, 1)
	}
	require.Equal(t, []string{"1"}, ids(again), "an acknowledgement after the cut is not noticed")
	require.Equal(t, "1", again[0].Metadata.Get(bus.DeliveriesKey))
	again[0].Ack()
	rest := ackAll(take(t, messages, 2))
	require.Equal(t, []string{"2", "3", "4", "5", "6"}, append(rest, ackAll(take(t, messages, 3))...))
	require.ErrorIs(t, third.Context().Err(), context.Canceled)
}

// Each word to the broker covers what was acknowledged within a while, or half of what may be in hand.
func TestAcknowledgementsAreGathered(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		every          time.Duration
		messages, acks int
		words          int64 // to the broker
		again          int   // the first that comes again when the line is cut
	}{
		{"for a while", time.Hour, 5, 3, 0, 0},
		{"down to half of what may be in hand", time.Hour, 10, 5, 3, 3},
		{"and told after it", time.Millisecond, 5, 3, 1, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			config := rabbitmqtest.Config(t)
			config.Prefetch, config.AckEvery, config.MaxBackoff = 16, c.every, 200*time.Millisecond
			publisher := openPublisher(t, config)
			for i := range c.messages {
				require.NoError(t, publisher.Publish(topic, numbered(i)))
			}
			proxy := rabbitmqtest.NewProxy(t, config.URL)
			config.URL = proxy.URL()
			subscriber := openSubscriber(t, config)
			messages, err := subscriber.Subscribe(t.Context(), topic)
			require.NoError(t, err)
			first := take(t, messages, c.messages)
			heard := proxy.Heard()
			for _, m := range first[:c.acks] {
				m.Ack()
				<-m.Context().Done()
			}
			const word = 21 // the bytes of basic.ack; a heartbeat has 8
			require.Eventually(t, func() bool { return proxy.Heard() >= heard+c.words*word }, patience, time.Millisecond)
			require.NoError(t, subscriber.SubscribeInitialize(topic)) // what the broker answers after what it was told

			proxy.Cut()

			var want []string
			for i := c.again; i < c.messages; i++ {
				want = append(want, strconv.Itoa(i))
			}
			require.Equal(t, want, ackAll(take(t, messages, len(want))))
		})
	}
}

func ackAll(messages []*message.Message) []string {
	for _, m := range messages {
		m.Ack()
	}
	return ids(messages)
}

// DESIGN section 7: a new owner takes no frame past unreturned ones.
func TestTheNextSubscriberBeginsWithWhatTheLastOneHeld(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	config.Prefetch = 3
	publisher := openPublisher(t, config)
	for i := range 6 {
		require.NoError(t, publisher.Publish(topic, numbered(i)))
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	first, err := openSubscriber(t, config).Subscribe(ctx, topic)
	require.NoError(t, err)
	held := take(t, first, 3)
	second, err := openSubscriber(t, config).Subscribe(t.Context(), topic)
	require.NoError(t, err)
	held[1].Ack() // out of turn
	require.NoError(t, publisher.Publish(topic, numbered(6)))
	require.Empty(t, second, "nothing past what the first one holds")

	leave()

	got := take(t, second, 2)
	require.Equal(t, []string{"0", "2"}, ackAll(got), "the one that was acknowledged out of turn does not come again")
	require.Equal(t, []string{"3", "4", "5", "6"}, append(ackAll(take(t, second, 2)), ackAll(take(t, second, 2))...))
}

// A busy disk can keep the broker from ending one channel for seconds. A worker that takes lanes over subscribes to all of
// its own anew at that moment.
func TestAQueueThatIsSlowToBeLeftKeepsOnlyItselfWaiting(t *testing.T) {
	t.Parallel()
	const slow, quick = "lane.0", "lane.1"
	config := rabbitmqtest.Config(t)
	publisher := openPublisher(t, config)
	for _, topic := range []string{slow, quick} {
		require.NoError(t, publisher.Publish(topic, numbered(1)))
	}
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	config.URL, config.ConnectTimeout = proxy.URL(), patience
	subscriber := openSubscriber(t, config)
	ctx, leave := context.WithCancel(t.Context())
	left, err := subscriber.Subscribe(ctx, slow)
	require.NoError(t, err)
	take(t, left, 1)
	kept, err := subscriber.Subscribe(t.Context(), quick)
	require.NoError(t, err)
	held := take(t, kept, 1)[0]
	answered := make(chan struct{})
	var once sync.Once
	proxy.Forget(func(class, method uint16) bool {
		const channel, closeOk = 20, 41
		ends := class == channel && method == closeOk
		if ends {
			once.Do(func() { close(answered) })
		}
		return ends
	})

	const leaveGrace = 8 * time.Second // after that the connection is cut
	const while = 3 * time.Second      // less than that, more than the end of all consumers may take
	began := time.Now()
	late := func() bool { return time.Since(began) >= leaveGrace } // on a busy machine

	leave()

	early := time.After(while)
	for open := true; open; {
		_, open = <-left
	}
	<-answered
	proxy.Forget(nil)
	var messages <-chan *message.Message
	again := make(chan struct{})
	go func() {
		defer close(again)
		messages, _ = subscriber.Subscribe(t.Context(), slow)
	}()
	require.NoError(t, publisher.Publish(quick, numbered(2)))
	next := take(t, kept, 1)
	if next[0].UUID == "1" && late() {
		next = take(t, kept, 1)
	}
	require.Equal(t, []string{"2"}, ids(next), "the other queue goes on")
	<-early
	select {
	case <-again:
		require.True(t, late(), "it is asked for again before it was left")
	case <-held.Context().Done():
		require.True(t, late(), "the other queue's subscription was interrupted")
	default:
	}
	<-again
	require.NotNil(t, messages, "a broker that never answers is left at last")
	require.Equal(t, []string{"1"}, ackAll(take(t, messages, 1)))
}

func TestHeadersOfAnyKindAreRead(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	subscriber := openSubscriber(t, config)
	require.NoError(t, subscriber.SubscribeInitialize(topic))
	channel, err := rabbitmqtest.Connect(t).Channel()
	require.NoError(t, err)
	at := time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC)
	require.NoError(t, channel.Publish("", config.Prefix+"."+topic, true, false, amqp.Publishing{
		Headers: amqp.Table{
			"text": "a", "int": int32(-7), "long": int64(1 << 40), "yes": true, "at": at, "bytes": []byte("b"), "float": 1.5,
			bus.DeliveriesKey: "7", "table": amqp.Table{"x": "y"}, "list": []any{"z"}, "nothing": nil,
		},
		MessageId: "foreign", Body: []byte("body"),
	}))
	messages, err := subscriber.Subscribe(t.Context(), topic)
	require.NoError(t, err)
	m := take(t, messages, 1)[0]
	require.Equal(t, "foreign", m.UUID)
	require.Equal(t, "body", string(m.Payload))
	require.Equal(t, message.Metadata{
		"text": "a", "int": "-7", "long": "1099511627776", "yes": "true", "at": "2026-11-22T01:02:03Z", "bytes": "b", "float": "1.5",
	}, m.Metadata)

	m.Nack()
	again := take(t, messages, 1)[0]
	require.Equal(t, "1", again.Metadata.Get(bus.DeliveriesKey), "the broker counts deliveries in an integer header")
	require.NoError(t, openPublisher(t, config).Publish(topic, again.Copy()))
	again.Ack()
	copied := take(t, messages, 1)[0]
	require.Equal(t, "a", copied.Metadata.Get("text"))
	require.Empty(t, copied.Metadata.Get(bus.DeliveriesKey), "the count belongs to the delivery")
	copied.Ack()
}

func TestASubscriptionSurvivesItsQueue(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	messages, err := openSubscriber(t, config).Subscribe(t.Context(), topic)
	require.NoError(t, err)
	rabbitmqtest.DeleteQueues(t, config.Prefix, topic)
	requireConsumed(t, config, topic)
	publisher := openPublisher(t, config)
	require.NoError(t, publisher.Publish(topic, numbered(1)))
	require.Equal(t, []string{"1"}, ackAll(take(t, messages, 1)))
}

// requireConsumed waits until somebody consumes a queue, which has a leader then that takes what is published.
func requireConsumed(t *testing.T, config rabbitmq.Config, topic string) {
	t.Helper()
	config.Topics = []string{topic}
	require.Eventually(t, func() bool {
		states, err := rabbitmq.Inspect(t.Context(), config)
		return err == nil && states[0].Consumers == 1
	}, patience, blink)
}

func TestSubscribingWithAContextThatHasEnded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	messages, err := openSubscriber(t, rabbitmqtest.Config(t)).Subscribe(ctx, topic)
	if err == nil {
		_, open := <-messages
		require.False(t, open)
	}
}

// A lane that is not consumed is not being worked, whether or not there is a connection: its queue may hold what
// somebody waits for. Nor is it known to be as soon as there is a consumer again.
func TestASubscriberSaysSinceWhenATopicIsConsumed(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	config.URL, config.MaxBackoff = proxy.URL(), 200*time.Millisecond
	subscriber := openSubscriber(t, config)
	consuming := func() error {
		_, err := subscriber.Consuming(topic)
		return err
	}
	require.ErrorIs(t, consuming(), bus.ErrUnavailable, "nobody has subscribed")
	ctx, cancel := context.WithCancel(t.Context())
	messages, err := subscriber.Subscribe(ctx, topic)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return consuming() == nil }, patience, blink)
	first, err := subscriber.Consuming(topic)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), first, patience)
	proxy.Refuse(true)
	require.Eventually(t, func() bool { return consuming() != nil }, patience, blink)
	require.ErrorIs(t, consuming(), bus.ErrUnavailable)
	proxy.Refuse(false)
	require.Eventually(t, func() bool { return consuming() == nil }, patience, blink)
	again, err := subscriber.Consuming(topic)
	require.NoError(t, err)
	require.True(t, again.After(first))
	cancel()
	for range messages { //nolint:revive // until it has ended
	}
	require.ErrorIs(t, consuming(), bus.ErrUnavailable, "its subscription has ended")
}

// The broker does not answer for a queue without a leader.
func TestASubscriptionThatTheBrokerDoesNotAnswerEndsWithItsContext(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	config.URL, config.ConnectTimeout = proxy.URL(), time.Hour
	subscriber := openSubscriber(t, config)
	proxy.Mute(true)
	ctx, cancel := context.WithCancel(t.Context())
	before := proxy.Heard()
	ended := make(chan error, 1)
	go func() {
		_, err := subscriber.Subscribe(ctx, topic)
		ended <- err
	}()
	require.Eventually(t, func() bool { return proxy.Heard() > before }, patience, blink, "it asks")
	cancel()
	select {
	case err := <-ended:
		require.ErrorIs(t, err, context.Canceled)
	case <-time.After(patience):
		require.FailNow(t, "it still waits")
	}
	proxy.Mute(false)
	publisher := openPublisher(t, config)
	// A queue that two make at a time has no leader for a moment, which refuses what is published.
	require.Eventually(t, func() bool { return publisher.Publish(topic, numbered(1)) == nil }, patience, blink)
	messages, err := subscriber.Subscribe(t.Context(), topic)
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, ackAll(take(t, messages, 1)), "nobody is left who takes its messages")
}

// A worker asks again for as long as it takes, on a connection that may have 2,047 channels and serves other queues.
func TestAQueueThatDoesNotAnswerIsAskedForOnce(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	config.URL, config.ConnectTimeout = proxy.URL()+"?heartbeat=60", time.Second // no heartbeat is among what is counted
	var subscriber *rabbitmq.Subscriber
	require.Eventually(t, func() bool {
		var err error
		subscriber, err = rabbitmq.NewSubscriber(t.Context(), config)
		return err == nil
	}, patience, blink)
	t.Cleanup(func() { require.NoError(t, subscriber.Close()) })
	proxy.Mute(true)
	before := proxy.Heard()
	_, err := subscriber.Subscribe(t.Context(), topic)
	require.ErrorIs(t, err, bus.ErrUnavailable)
	require.Eventually(t, func() bool { return proxy.Heard() > before }, patience, blink, "it asks")
	before = proxy.Heard()
	const again = 5
	for range again {
		_, err := subscriber.Subscribe(t.Context(), topic)
		require.ErrorIs(t, err, bus.ErrUnavailable)
	}
	const request = 13 // bytes, the shortest there is
	require.Less(t, proxy.Heard()-before, int64(request), "it does not ask again")
	proxy.Mute(false)
	require.Eventually(t, func() bool {
		_, err := subscriber.Subscribe(t.Context(), topic)
		return err == nil
	}, patience, blink)
}

// A consumer is the only active one of its queue. One that comes to be just when its subscription ends, as when a
// worker loses its connections to both database and broker, must not stay behind with the lane's messages.
func TestNoConsumerStaysBehindWhenASubscriptionEndsWhileItConnects(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	direct := config
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	config.URL, config.MaxBackoff = proxy.URL(), 50*time.Millisecond
	subscriber, publisher := openSubscriber(t, config), openPublisher(t, direct)
	for n := range 40 {
		ctx, cancel := context.WithCancel(t.Context())
		messages, err := subscriber.Subscribe(ctx, topic)
		require.NoError(t, err)
		proxy.Cut()
		time.AfterFunc(time.Duration(n)*3*time.Millisecond, cancel) // somewhere while it connects and consumes anew
		for open := true; open; {
			_, open = <-messages
		}
		require.Eventually(t, func() bool { return subscriber.Ready() == nil }, patience, blink)
		require.NoError(t, publisher.Publish(topic, numbered(n)))
		ctx, cancel = context.WithCancel(t.Context())
		messages, err = subscriber.Subscribe(ctx, topic)
		require.NoError(t, err)
		require.Equal(t, []string{strconv.Itoa(n)}, ackAll(take(t, messages, 1)), "cancelled %d ms after the cut", 3*n)
		cancel()
		for open := true; open; {
			_, open = <-messages
		}
	}
}
