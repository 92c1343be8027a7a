package rabbitmq_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

const (
	topic    = "lane.0"
	patience = 2 * time.Minute // on a busy machine
	blink    = 5 * time.Millisecond
)

// proxied is a publisher behind a proxy, and the configuration to reach the broker past it.
func proxied(t *testing.T, change func(*rabbitmq.Config)) (*rabbitmq.Publisher, *rabbitmqtest.Proxy, rabbitmq.Config) {
	t.Helper()
	config := rabbitmqtest.Config(t)
	config.Topics = []string{topic}
	config.MaxBackoff = 200 * time.Millisecond
	if change != nil {
		change(&config)
	}
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	through := config
	through.URL = proxy.URL()
	return openPublisher(t, through), proxy, config
}

func numbered(n int) *message.Message {
	return message.NewMessage(strconv.Itoa(n), []byte(strconv.Itoa(n)))
}

// publishAsync hands numbered messages over and gives the channel of each answer.
func publishAsync(p *rabbitmq.Publisher, n int) []chan error {
	answers := make([]chan error, n)
	for i := range answers {
		answers[i] = make(chan error, 1)
		p.PublishAsync(topic, numbered(i), func(err error) { answers[i] <- err })
	}
	return answers
}

func requireWorks(t *testing.T, p *rabbitmq.Publisher) {
	t.Helper()
	require.Eventually(t, func() bool { return p.Publish(topic, numbered(99)) == nil }, patience, blink)
}

// requireArrives waits until a message is in its queue, which needs no confirmation to reach its publisher.
func requireArrives(t *testing.T, config rabbitmq.Config, uuid string) {
	t.Helper()
	messages, err := openSubscriber(t, config).Subscribe(t.Context(), topic)
	require.NoError(t, err)
	for m := range messages {
		m.Ack()
		if m.UUID == uuid {
			return
		}
	}
	require.Fail(t, "it did not arrive")
}

// The rule: what was handed to the broker and not confirmed may have arrived (bus.ErrFateUnknown).
func TestALostConfirmationLeavesTheFateUnknown(t *testing.T) {
	t.Parallel()
	publisher, proxy, config := proxied(t, nil)
	require.NoError(t, publisher.Publish(topic, numbered(0)))
	proxy.Mute(true)
	answers := publishAsync(publisher, 2)
	requireArrives(t, config, "1")
	require.Empty(t, answers[0])

	proxy.Mute(false)
	proxy.Refuse(true)

	for _, answer := range answers {
		if err := <-answer; err != nil { // unless the confirmation slipped through
			require.ErrorIs(t, err, bus.ErrFateUnknown)
			require.NotErrorIs(t, err, bus.ErrUnavailable)
		}
	}
	require.Eventually(t, func() bool { return publisher.Ready() != nil }, patience, blink)
	require.ErrorIs(t, publisher.Publish(topic, numbered(2)), bus.ErrUnavailable, "there is no connection")
	proxy.Refuse(false)
	requireWorks(t, publisher)
}

func TestACutTellsWrittenFromUnwritten(t *testing.T) {
	t.Parallel()
	publisher, proxy, config := proxied(t, func(c *rabbitmq.Config) { c.InFlight = 1 })
	require.NoError(t, publisher.Publish(topic, numbered(9)))
	proxy.Mute(true)
	answers := publishAsync(publisher, 3)
	requireArrives(t, config, "0")

	proxy.Cut()

	require.ErrorIs(t, <-answers[0], bus.ErrFateUnknown)
	for _, answer := range answers[1:] {
		err := <-answer
		require.ErrorIs(t, err, bus.ErrUnavailable, "it never left")
		require.NotErrorIs(t, err, bus.ErrFateUnknown)
	}
	proxy.Mute(false)
	requireWorks(t, publisher)
}

func TestASilentBrokerKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	publisher, proxy, _ := proxied(t, func(c *rabbitmq.Config) { c.InFlight, c.ConfirmTimeout = 2, time.Second })
	requireWorks(t, publisher)
	proxy.Mute(true)
	answers := publishAsync(publisher, 4)
	for i, want := range []error{bus.ErrFateUnknown, bus.ErrFateUnknown, bus.ErrUnavailable, bus.ErrUnavailable} {
		require.ErrorIs(t, <-answers[i], want, "message %d", i)
	}
	proxy.Mute(false)
	requireWorks(t, publisher)
}

// A broker that is short of memory or disk stops reading from connections that publish.
func TestABlockedConnectionRefusesAtOnce(t *testing.T) {
	t.Parallel()
	publisher, proxy, _ := proxied(t, func(c *rabbitmq.Config) { c.InFlight = 1 })
	require.NoError(t, publisher.Publish(topic, numbered(9)))
	proxy.Mute(true)
	before := proxy.Heard()
	answers := publishAsync(publisher, 3)
	require.Eventually(t, func() bool { return proxy.Heard() > before }, patience, time.Millisecond, "the first is written")

	proxy.Block("low on memory")

	for _, answer := range answers[1:] {
		require.ErrorIs(t, <-answer, bus.ErrUnavailable, "what waits is not written any more")
	}
	require.ErrorContains(t, publisher.Ready(), "low on memory")
	require.ErrorIs(t, publisher.Publish(topic, numbered(4)), bus.ErrUnavailable)
	proxy.Mute(false)
	require.NoError(t, <-answers[0], "what was written before is confirmed")
	proxy.Block("")
	requireWorks(t, publisher)
}

// A message that no queue takes is confirmed by the broker all the same.
func TestAMessageWithoutAQueueIsNotLostInSilence(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	publisher := openPublisher(t, config)
	require.NoError(t, publisher.Publish(topic, numbered(0)))
	rabbitmqtest.DeleteQueues(t, config.Prefix, topic)

	err := publisher.Publish(topic, numbered(1))

	require.ErrorIs(t, err, bus.ErrUnavailable)
	require.ErrorContains(t, err, "RabbitMQ has no queue "+config.Prefix+"."+topic)
	require.NoError(t, publisher.Publish(topic, numbered(2)), "it has been declared again")
	requireArrives(t, config, "2")
}

// The library, when it finds a connection dead, waits for whoever is stuck writing to it.
func TestAFrozenBrokerIsLeft(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	config.URL = proxy.URL() + "?heartbeat=1"
	config.MaxBackoff = 200 * time.Millisecond
	publisher := openPublisher(t, config)
	require.NoError(t, publisher.Publish(topic, numbered(0)))
	proxy.Freeze(true)
	const large = 8 << 20 // more than fits into the buffers on the way
	answers := make(chan error, 2)
	for range cap(answers) {
		publisher.PublishAsync(topic, message.NewMessage("large", make([]byte, large)), func(err error) { answers <- err })
	}
	for range cap(answers) {
		err := <-answers
		require.Error(t, err)
	}
	proxy.Freeze(false)
	requireWorks(t, publisher)
}

func TestWhatCannotBeSentIsRefusedAndHarmsNobody(t *testing.T) {
	t.Parallel()
	publisher := openPublisher(t, rabbitmqtest.Config(t))
	require.NoError(t, publisher.Publish(topic, numbered(0)))
	answers := publishAsync(publisher, 50)
	keyed := numbered(1)
	keyed.Metadata.Set(strings.Repeat("k", 256), "")
	for _, m := range []*message.Message{
		message.NewMessage(strings.Repeat("x", 256), nil), message.NewMessage("large", make([]byte, 16<<20+1)), keyed,
	} {
		require.ErrorIs(t, publisher.Publish(topic, m), bus.ErrUnavailable)
	}
	require.ErrorIs(t, publisher.Publish("", numbered(1)), bus.ErrUnavailable)
	require.ErrorIs(t, publisher.Publish(strings.Repeat("t", 256), numbered(1)), bus.ErrUnavailable)
	for _, answer := range answers {
		require.NoError(t, <-answer)
	}
}

func TestAPublisherHoldsNoMoreThanItsBound(t *testing.T) {
	t.Parallel()
	publisher, proxy, _ := proxied(t, func(c *rabbitmq.Config) { c.InFlight, c.MaxPending, c.MaxPendingBytes = 1, 3, 1000 })
	require.NoError(t, publisher.Publish(topic, numbered(9)))
	proxy.Mute(true)
	answers := publishAsync(publisher, 4)
	require.ErrorIs(t, <-answers[3], bus.ErrFull)
	proxy.Mute(false)
	for _, answer := range answers[:3] {
		require.NoError(t, <-answer)
	}
	proxy.Mute(true)
	large := make(chan error, 2)
	for range cap(large) {
		publisher.PublishAsync(topic, message.NewMessage("large", make([]byte, 2000)), func(err error) { large <- err })
	}
	require.ErrorIs(t, <-large, bus.ErrFull, "only whoever comes first may be larger than the bound")
	proxy.Mute(false)
	require.NoError(t, <-large)
}

func TestAQueueKeepsItsBoundsAndNothingElse(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	config.MaxMessages, config.Topics = 100, []string{topic}
	require.NoError(t, openPublisher(t, config).Publish(topic, numbered(0)))
	config.MaxMessages, config.MaxBytes = 200, 1<<20
	require.NoError(t, openPublisher(t, config).Publish(topic, numbered(1)), "other bounds are no reason to stand still")

	channel, err := rabbitmqtest.Connect(t).Channel()
	require.NoError(t, err)
	_, err = channel.QueueDeclare(config.Prefix+".lane.1", true, false, false, false, nil)
	require.NoError(t, err)
	config.Topics = []string{"lane.1"}
	_, err = rabbitmq.NewPublisher(t.Context(), config)
	require.ErrorContains(t, err, "queue "+config.Prefix+".lane.1: declare:", "a classic queue confirms what it has not on disk")
	config.Topics = nil
	_, err = openSubscriber(t, config).Subscribe(t.Context(), "lane.1")
	require.ErrorIs(t, err, bus.ErrUnavailable)
	require.ErrorIs(t, openPublisher(t, config).Publish("lane.1", numbered(0)), bus.ErrUnavailable)
}

func TestABrokerThatIsNotThere(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	proxy.Refuse(true)
	config.URL, config.ConnectTimeout = proxy.URL(), 2*time.Second
	_, err := rabbitmq.NewPublisher(t.Context(), config)
	require.ErrorContains(t, err, "connect to RabbitMQ at 127.0.0.1:")
	require.NotContains(t, err.Error(), "guest", "an error must not show the password")

	config.URL += "," + rabbitmqtest.URL()
	config.ConnectTimeout = patience
	require.NoError(t, openPublisher(t, config).Publish(topic, numbered(0)), "the next address is tried")
}

func TestAWrongPasswordIsToldAtOnce(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	config.URL = strings.Replace(config.URL, ":guest@", ":wrong@", 1)
	config.ConnectTimeout = time.Hour
	_, err := rabbitmq.NewSubscriber(t.Context(), config)
	require.ErrorContains(t, err, "403")
	require.NotContains(t, err.Error(), "wrong")
}

func TestValidateReportsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	err := rabbitmq.Config{
		URL: "amqp://a,http://b,amqp://c/shop,amqp://d/", Topics: []string{""}, InFlight: -1, Prefetch: 1 << 16, MaxBackoff: -1,
	}.Validate()
	for _, part := range []string{"URL 2 of 4", "URL 3 of 4 names the virtual host shop and one before it /", "a topic needs a name", "in flight", "prefetch must be 65535", "backoff"} {
		require.ErrorContains(t, err, part)
	}
	_, err = rabbitmq.NewPublisher(t.Context(), rabbitmq.Config{URL: "amqp://a", Prefetch: -1})
	require.ErrorContains(t, err, "prefetch must not be below 0")
	_, err = rabbitmq.NewSubscriber(t.Context(), rabbitmq.Config{})
	require.ErrorContains(t, err, "URL 1 of 1")
}

func TestClosingDuringAnOutageWaitsForNothing(t *testing.T) {
	t.Parallel()
	publisher, proxy, config := proxied(t, nil)
	config.URL = proxy.URL()
	subscriber := openSubscriber(t, config)
	messages, err := subscriber.Subscribe(t.Context(), topic)
	require.NoError(t, err)
	proxy.Refuse(true)
	require.NoError(t, publisher.Close())
	require.NoError(t, publisher.Close())
	require.NoError(t, subscriber.Close())
	require.NoError(t, subscriber.Close())
	_, open := <-messages
	require.False(t, open)
	require.ErrorIs(t, publisher.Ready(), bus.ErrUnavailable)
	require.ErrorIs(t, subscriber.Ready(), bus.ErrUnavailable)
}
