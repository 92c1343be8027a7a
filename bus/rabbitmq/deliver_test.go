package rabbitmq_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

const soon = 10 * time.Second

// replies are notices to queues, one after the other.
func replies(queues ...string) []bus.Notice {
	var list []bus.Notice
	for n, queue := range queues {
		list = append(list, bus.Notice{RoutingKey: queue, MessageID: strconv.Itoa(n), CorrelationID: "c", Body: []byte("{}"), Persistent: true})
	}
	return list
}

func TestWhatBecameOfEachNoticeIsTold(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	e := openExchanges(t, config)
	channel, open := foreign(t, config, "open", amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum})
	_, full := foreign(t, config, "full", amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"})
	long := strings.Repeat("q", 256)
	got, err := e.Deliver(t.Context(), replies(open, "nobody.x", full, full, long, open, "nobody.y"), soon)
	require.NoError(t, err)
	require.Equal(t, []bus.Receipt{bus.Taken, bus.Unrouted, bus.Taken, bus.Refused, bus.Unsendable, bus.Taken, bus.Unrouted}, got)
	require.Equal(t, []string{"0", "5"}, drain(t, channel, open, 2))
	got, err = e.Deliver(t.Context(), nil, soon)
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestManyNoticesToQueuesThatAreNotThereHoldNothingUp(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	e := openExchanges(t, config)
	channel, open := foreign(t, config, "open", nil)
	var queues []string
	for n := range 5000 {
		queues = append(queues, fmt.Sprint("nobody.", n))
	}
	queues = append(queues, open)
	done := make(chan error, 3)
	for range cap(done) {
		go func() {
			got, err := e.Deliver(t.Context(), replies(queues...), soon)
			for n, receipt := range got {
				if want := map[bool]bus.Receipt{true: bus.Taken, false: bus.Unrouted}[n == 5000]; receipt != want {
					err = fmt.Errorf("notice %d was %s", n, receipt)
				}
			}
			done <- err
		}()
	}
	for range cap(done) {
		require.NoError(t, <-done)
	}
	require.Len(t, drain(t, channel, open, 3), 3)
	require.NoError(t, e.Publish(t.Context(), notices(0, 10, "x")))
}

// Direct reply-to is how most clients ask: the queue is none of its own.
func TestADirectReplyArrives(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	e := openExchanges(t, config)
	connection := rabbitmqtest.Connect(t)
	channel, err := connection.Channel()
	require.NoError(t, err)
	answers, err := channel.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
	require.NoError(t, err)
	served, err := connection.Channel()
	require.NoError(t, err)
	queue, err := served.QueueDeclare("", false, true, true, false, nil)
	require.NoError(t, err)
	require.NoError(t, channel.PublishWithContext(t.Context(), "", queue.Name, false, false, amqp.Publishing{ReplyTo: "amq.rabbitmq.reply-to"}))
	var asked amqp.Delivery
	require.Eventually(t, func() bool {
		var some bool
		asked, some, err = served.Get(queue.Name, true)
		return err == nil && some
	}, patience, blink)
	require.True(t, strings.HasPrefix(asked.ReplyTo, "amq.rabbitmq.reply-to."))

	got, err := e.Deliver(t.Context(), replies(asked.ReplyTo), soon)
	require.NoError(t, err)
	require.Equal(t, []bus.Receipt{bus.Taken}, got)
	require.Equal(t, "0", (<-answers).MessageId)
	require.NoError(t, channel.Close())
	_, open := foreign(t, config, "open", nil)
	got, err = e.Deliver(t.Context(), replies(asked.ReplyTo, open), soon)
	require.NoError(t, err, "who asked is gone, and nobody else waits for that")
	require.Equal(t, bus.Taken, got[1])
}

func TestWhatIsNotAnsweredIsLeftAfterAWhile(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	config.URL = proxy.URL()
	e := openExchanges(t, config)
	_, open := foreign(t, config, "open", nil)
	for range 3 { // with those that follow more often than there are channels
		proxy.Mute(true)
		got, err := e.Deliver(t.Context(), replies(open, "nobody"), 20*time.Millisecond)
		require.NoError(t, err)
		require.Equal(t, []bus.Receipt{bus.Unanswered, bus.Unanswered}, got)
		proxy.Mute(false)
		got, err = e.Deliver(t.Context(), replies(open, "nobody"), soon)
		require.NoError(t, err)
		require.Equal(t, []bus.Receipt{bus.Taken, bus.Unrouted}, got)
	}
}

func TestDeliveriesOutliveTheirConnection(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	config.URL = proxy.URL()
	e := openExchanges(t, config)
	_, open := foreign(t, config, "open", nil)
	for range 3 {
		proxy.Cut()
		got, err := e.Deliver(t.Context(), replies(open, "nobody"), soon)
		require.NoError(t, err)
		require.Equal(t, []bus.Receipt{bus.Taken, bus.Unrouted}, got)
	}
	proxy.Mute(true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := e.Deliver(ctx, replies(open), soon)
	require.ErrorIs(t, err, bus.ErrFateUnknown)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	waiting := make(chan error, 1)
	go func() {
		_, err := e.Deliver(t.Context(), replies(open), soon)
		waiting <- err
	}()
	require.NoError(t, e.Close())
	require.ErrorIs(t, <-waiting, bus.ErrClosed)
}
