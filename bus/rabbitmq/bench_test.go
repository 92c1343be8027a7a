package rabbitmq_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	stock "github.com/ThreeDotsLabs/watermill-amqp/v3/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus/bustest"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

// One queue, messages of 300 bytes, each published, confirmed, delivered and acknowledged while both go on
// at the same time. Beside it, the same through Watermill's own publisher and subscriber for AMQP, on a
// quorum queue too, with confirms, and with what makes it fastest: a pool of channels and as many
// goroutines that publish.
//
//	go test ./bus/rabbitmq -run '^$' -bench . -benchtime 20000x

const benchPayload = 300

func BenchmarkPublishAndConsume(b *testing.B) {
	config := rabbitmqtest.Config(b)
	config.Topics = []string{topic}
	config.MaxPending = 2048
	end := openBus(b, config)
	messages, err := end.Subscriber.Subscribe(b.Context(), topic)
	require.NoError(b, err)
	consumed := consumeBench(b, messages)
	room := make(chan struct{}, 1024) // as a sender bounds what it has under way
	b.ResetTimer()
	for range b.N {
		room <- struct{}{}
		end.Publisher.PublishAsync(topic, benchMessage(), func(err error) {
			if err != nil {
				b.Error(err)
			}
			<-room
		})
	}
	for range cap(room) {
		room <- struct{}{}
	}
	<-consumed
	reportRate(b)
}

func BenchmarkStockOnePublisher(b *testing.B) { benchStock(b, 1) }
func BenchmarkStock64Publishers(b *testing.B) { benchStock(b, 64) }

func benchStock(b *testing.B, publishers int) {
	b.Helper()
	end, queue := openStock(b, publishers)
	messages, err := end.Subscriber.Subscribe(b.Context(), queue)
	require.NoError(b, err)
	consumed := consumeBench(b, messages)
	work := make(chan struct{}, publishers)
	var publishing sync.WaitGroup
	b.ResetTimer()
	for range publishers {
		publishing.Go(func() {
			for range work {
				if err := end.stock.Publish(queue, benchMessage()); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for range b.N {
		work <- struct{}{}
	}
	close(work)
	publishing.Wait()
	<-consumed
	reportRate(b)
}

type stockBus struct {
	bustest.Bus
	stock message.Publisher
}

func openStock(b *testing.B, channels int) (stockBus, string) {
	b.Helper()
	ours := rabbitmqtest.Config(b)
	config := stock.NewDurableQueueConfig(ours.URL)
	config.Queue.Arguments = amqp.Table{"x-queue-type": "quorum"}
	config.Publish.ConfirmDelivery = true
	config.Publish.ChannelPoolSize = channels
	config.Consume.Qos.PrefetchCount = 500
	config.Marshaler = stock.DefaultMarshaler{PreprocessDelivery: func(d amqp.Delivery) amqp.Delivery {
		delete(d.Headers, "x-delivery-count")
		return d
	}}
	subscriber, err := stock.NewSubscriber(config, watermill.NopLogger{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, subscriber.Close()) })
	publisher, err := stock.NewPublisher(config, watermill.NopLogger{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, publisher.Close()) })
	return stockBus{Bus: bustest.Bus{Subscriber: subscriber}, stock: publisher}, ours.Prefix + "." + topic
}

func benchMessage() *message.Message {
	return message.NewMessage("0198f2a0-0000-7000-8000-000000000000", []byte(strings.Repeat("x", benchPayload)))
}

// consumeBench acknowledges b.N messages and closes what it returns.
func consumeBench(b *testing.B, messages <-chan *message.Message) <-chan struct{} {
	b.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range b.N {
			m, open := <-messages
			if !open {
				b.Error("the subscription ended")
				return
			}
			m.Ack()
		}
	}()
	return done
}

func reportRate(b *testing.B) {
	b.Helper()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// Notices in batches of 500 as a relay publishes them, each with the headers of an event, to an exchange
// that nobody has bound a queue to and to one with a durable quorum queue.
func BenchmarkNoticesToNobody(b *testing.B) { benchNotices(b, false) }
func BenchmarkNoticesToAQueue(b *testing.B) { benchNotices(b, true) }

func benchNotices(b *testing.B, bound bool) {
	b.Helper()
	config := rabbitmqtest.Config(b)
	e := openExchanges(b, config)
	if bound {
		foreign(b, config, "#", amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum})
	}
	batch := notices(0, 500, "order.line_added")
	for i := range batch {
		batch[i].Body = make([]byte, benchPayload)
		for _, key := range []string{"type", "source", "subject", "time", "position", "correlationid", "causationid"} {
			batch[i].Headers["cloudEvents_"+key] = "01977b2e-5b0c-7d31-9d3c-6f1a2b3c4d5e"
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += len(batch) {
		require.NoError(b, e.Publish(b.Context(), batch))
	}
	reportRate(b)
}
