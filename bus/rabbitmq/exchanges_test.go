package rabbitmq_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

func openExchanges(t testing.TB, config rabbitmq.Config) *rabbitmq.Exchanges {
	t.Helper()
	e, err := rabbitmq.NewExchanges(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

// foreign is another service's queue, bound to the events of a routing key.
func foreign(t testing.TB, config rabbitmq.Config, key string, args amqp.Table) (*amqp.Channel, string) {
	t.Helper()
	channel, err := rabbitmqtest.Connect(t).Channel()
	require.NoError(t, err)
	queue := "foreign." + strings.Trim(key, "#*.")
	t.Cleanup(func() { rabbitmqtest.DeleteQueues(t, config.Prefix, queue) })
	name := config.Prefix + "." + queue
	_, err = channel.QueueDeclare(name, true, false, false, false, args)
	require.NoError(t, err)
	require.NoError(t, channel.QueueBind(name, key, config.Prefix+".events", false, nil))
	return channel, name
}

func notices(from, to int, key string) []bus.Notice {
	list := make([]bus.Notice, 0, to-from)
	for n := from; n < to; n++ {
		list = append(list, bus.Notice{
			Exchange: bus.EventsExchange, RoutingKey: key, MessageID: strconv.Itoa(n), ContentType: "application/json",
			Headers: map[string]any{"cloudEvents_id": strconv.Itoa(n), "cloudEvents_sequence": int64(n)},
			Body:    []byte("{}"), Persistent: true,
		})
	}
	return list
}

// drain gets n messages, and their ids.
func drain(t *testing.T, channel *amqp.Channel, queue string, n int) []string {
	t.Helper()
	deliveries, err := channel.Consume(queue, "", true, false, false, false, nil)
	require.NoError(t, err)
	return receive(t, deliveries, n)
}

// receive gets n messages of those that a queue's consumer is brought, and their ids.
func receive(t *testing.T, deliveries <-chan amqp.Delivery, n int) (got []string) {
	t.Helper()
	for range n {
		select {
		case d := <-deliveries:
			got = append(got, d.MessageId)
		case <-time.After(patience):
			require.FailNow(t, "it did not come", "after %d of %d", len(got), n)
		}
	}
	return got
}

func sequence(from, to int) (list []string) {
	for n := from; n < to; n++ {
		list = append(list, strconv.Itoa(n))
	}
	return list
}

func TestNoticesReachWhoeverBindsAQueue(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	e := openExchanges(t, config)
	require.NoError(t, e.Ready())
	require.NoError(t, e.Publish(t.Context(), nil))
	require.NoError(t, e.Publish(t.Context(), notices(0, 10, "order.line_added")), "nobody listens")
	channel, queue := foreign(t, config, "order.*", amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum})

	require.NoError(t, e.Publish(t.Context(), notices(10, 20, "order.line_added")))
	require.NoError(t, e.Publish(t.Context(), notices(20, 30, "document.patched")))
	require.NoError(t, e.Publish(t.Context(), notices(30, 5000, "order.line_added")))

	d, some, err := channel.Get(queue, true)
	require.NoError(t, err)
	require.True(t, some)
	require.Equal(t, amqp.Table{"cloudEvents_id": "10", "cloudEvents_sequence": int64(10), "x-delivery-count": int64(0)},
		withCount(d.Headers))
	require.Equal(t, "application/json {} 2", fmt.Sprint(d.ContentType, " ", string(d.Body), " ", d.DeliveryMode))
	require.Equal(t, append(sequence(11, 20), sequence(30, 5000)...), drain(t, channel, queue, 9+4970))
}

// withCount has the broker's count of deliveries among the headers, which not every version puts there.
func withCount(headers amqp.Table) amqp.Table {
	headers["x-delivery-count"] = int64(0)
	return headers
}

func TestAnAnswerGoesToTheQueueThatItsRoutingKeyNames(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	e := openExchanges(t, config)
	channel, queue := foreign(t, config, "x", nil)
	require.NoError(t, e.Publish(t.Context(), []bus.Notice{
		{RoutingKey: queue, CorrelationID: "42"}, {RoutingKey: config.Prefix + ".nobody"},
	}))
	d, some, err := channel.Get(queue, true)
	require.NoError(t, err)
	require.True(t, some)
	require.Equal(t, "42", d.CorrelationId)
}

// DESIGN section 5, promise 9: at least once, first deliveries in order.
func TestNoticesArriveInOrderOverLostConnections(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	config.MaxBackoff = 100 * time.Millisecond
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	through := config
	through.URL = proxy.URL()
	e := openExchanges(t, through)
	channel, queue := foreign(t, config, "#", amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum})
	deliveries, err := channel.Consume(queue, "", true, false, false, false, nil)
	require.NoError(t, err)

	const batches, size = 20, 1000
	var published atomic.Int64
	go func() {
		for n := range batches {
			if e.Publish(t.Context(), notices(n*size, (n+1)*size, "order.line_added")) != nil {
				return
			}
			published.Add(1)
		}
	}()
	next := 0
	for next < batches*size {
		select {
		case d := <-deliveries:
			n, err := strconv.Atoi(d.MessageId)
			require.NoError(t, err)
			require.LessOrEqual(t, n, next, "nothing is skipped")
			if n == next {
				next++
				if next%(3*size) == size/2 {
					proxy.Cut()
				}
			}
		case <-time.After(patience):
			require.FailNow(t, "it did not come")
		}
	}
	require.Eventually(t, func() bool { return published.Load() == batches }, patience, blink)
}

// DESIGN section 4: a foreign queue that refuses does not stop the lane.
func TestAQueueThatRefusesIsPassedOver(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	config.RefusalPatience = 500 * time.Millisecond
	told := &countedMetrics{}
	config.Metrics = told
	e := openExchanges(t, config)
	full, fullQueue := foreign(t, config, "order.full", amqp.Table{"x-max-length": 2, "x-overflow": "reject-publish"})
	channel, queue := foreign(t, config, "#", nil)
	deliveries, err := channel.Consume(queue, "", true, false, false, false, nil)
	require.NoError(t, err)

	began := time.Now()
	require.NoError(t, e.Publish(t.Context(), append(notices(0, 5, "order.full"), notices(5, 10, "order.other")...)))
	took := time.Since(began)
	require.GreaterOrEqual(t, took, config.RefusalPatience)
	require.EqualValues(t, 3, told.passedOver.Load())
	require.Equal(t, sequence(0, 10), receive(t, deliveries, 10), "who takes everything gets it at once")

	require.NoError(t, e.Publish(t.Context(), notices(10, 12, "order.full")))
	require.EqualValues(t, 5, told.passedOver.Load())
	require.NoError(t, e.Publish(t.Context(), notices(12, 13, "order.other")))
	next := receive(t, deliveries, 1)
	for next[0] != "10" { // what was tried again before
		next = receive(t, deliveries, 1)
	}
	require.Equal(t, sequence(11, 13), receive(t, deliveries, 2), "nobody waits for it again: each is tried once")

	_, err = full.QueuePurge(fullQueue, false)
	require.NoError(t, err)
	require.NoError(t, e.Publish(t.Context(), notices(13, 15, "order.full")))
	require.EqualValues(t, 5, told.passedOver.Load(), "it takes again")
	require.Equal(t, sequence(13, 15), drain(t, full, fullQueue, 2))
}

func TestWhatARefusedNoticeWaitsForIsRoom(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	e := openExchanges(t, config)
	full, fullQueue := foreign(t, config, "order.full", amqp.Table{"x-max-length": 2, "x-overflow": "reject-publish"})
	done := make(chan error, 1)
	go func() { done <- e.Publish(t.Context(), notices(0, 3, "order.full")) }()
	require.ElementsMatch(t, sequence(0, 3), drain(t, full, fullQueue, 3))
	require.NoError(t, <-done)
}

func TestWhatCannotBeSentStopsNoOtherNotice(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	told := &countedMetrics{}
	config.Metrics = told
	e := openExchanges(t, config)
	channel, queue := foreign(t, config, "#", nil)
	list := notices(0, 6, "order.line_added")
	list[0].RoutingKey = strings.Repeat("k", 256)
	list[1].Body = make([]byte, 16<<20+1)
	list[2].Headers = map[string]any{"strange": struct{}{}}
	list[3].Exchange = "nobody's"
	list[4].Headers = map[string]any{strings.Repeat("k", 256): ""}
	require.NoError(t, e.Publish(t.Context(), list))
	require.Equal(t, []string{"5"}, drain(t, channel, queue, 1))
	require.EqualValues(t, 5, told.passedOver.Load())
}

func TestPublishingToExchangesEndsWithItsContextOrWithThem(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	config.URL = proxy.URL()
	e := openExchanges(t, config)

	proxy.Block("low on memory")
	require.Eventually(t, func() bool { return e.Ready() != nil }, patience, blink)
	waiting := make(chan error, 1)
	go func() { waiting <- e.Publish(t.Context(), notices(0, 1, "x")) }()
	proxy.Block("")
	require.NoError(t, <-waiting)

	proxy.Mute(true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := e.Publish(ctx, notices(0, 3000, "x"))
	require.ErrorIs(t, err, bus.ErrFateUnknown)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "3000 of 3000")

	go func() { waiting <- e.Publish(t.Context(), notices(0, 1, "x")) }()
	require.NoError(t, e.Close())
	require.NoError(t, e.Close())
	require.ErrorIs(t, <-waiting, bus.ErrClosed)
	require.ErrorIs(t, e.Publish(t.Context(), notices(0, 1, "x")), bus.ErrClosed)
}

func TestAnExchangeThatIsDeletedIsDeclaredAgain(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	config.MaxBackoff = 100 * time.Millisecond
	e := openExchanges(t, config)
	channel, err := rabbitmqtest.Connect(t).Channel()
	require.NoError(t, err)
	require.NoError(t, channel.ExchangeDelete(config.Prefix+".events", false, false))
	require.NoError(t, e.Publish(t.Context(), notices(0, 3, "x")))
}
