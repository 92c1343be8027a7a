package rabbitmq_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

// A gateway and a worker, which are two processes as a rule.
func Example() {
	ctx := context.Background()
	config := rabbitmq.Config{
		URL:    rabbitmqtest.URL(),
		Prefix: "example_" + rand.Text(),
		Topics: []string{bus.LaneTopic(0)},
		Expire: time.Minute, // nobody needs the queue after this example
		Logger: slog.New(slog.DiscardHandler),
	}
	publisher, err := rabbitmq.NewPublisher(ctx, config)
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		if err := publisher.Publish(bus.LaneTopic(0), message.NewMessage(name, []byte("a frame"))); err != nil {
			panic(err)
		}
		fmt.Println(name, "is on the broker's disk")
	}

	subscriber, err := rabbitmq.NewSubscriber(ctx, config)
	if err != nil {
		panic(err)
	}
	frames, err := subscriber.Subscribe(ctx, bus.LaneTopic(0))
	if err != nil {
		panic(err)
	}
	batch := []*message.Message{<-frames, <-frames, <-frames} // all that is there, unacknowledged
	for _, m := range batch {
		m.Ack() // after the commit
		fmt.Println(m.UUID, "is done")
	}
	if err := subscriber.Close(); err != nil {
		panic(err)
	}
	if err := publisher.Close(); err != nil {
		panic(err)
	}
	// Output:
	// a is on the broker's disk
	// b is on the broker's disk
	// c is on the broker's disk
	// a is done
	// b is done
	// c is done
}

// Another service binds a queue to the events, with whatever client of its language.
func ExampleExchanges() {
	ctx := context.Background()
	config := rabbitmq.Config{URL: rabbitmqtest.URL(), Prefix: "example_" + rand.Text(), Logger: slog.New(slog.DiscardHandler)}
	exchanges, err := rabbitmq.NewExchanges(ctx, config)
	if err != nil {
		panic(err)
	}
	connection, err := amqp.Dial(config.URL)
	if err != nil {
		panic(err)
	}
	channel, err := connection.Channel()
	if err != nil {
		panic(err)
	}
	queue, err := channel.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		panic(err)
	}
	if err := channel.QueueBind(queue.Name, "order.*", config.Prefix+".events", false, nil); err != nil {
		panic(err)
	}

	err = exchanges.Publish(ctx, []bus.Notice{
		{Exchange: bus.EventsExchange, RoutingKey: "order.line_added", MessageID: "1", Body: []byte(`{"sku":"A1"}`), Persistent: true},
		{Exchange: bus.EventsExchange, RoutingKey: "document.created", MessageID: "2", Body: []byte(`{}`), Persistent: true},
	})
	fmt.Println("all that wanted one have it:", err == nil)

	event, _, err := channel.Get(queue.Name, true)
	if err != nil {
		panic(err)
	}
	fmt.Println(event.RoutingKey, event.MessageId, string(event.Body))
	for _, name := range []string{bus.EventsExchange, bus.OutcomesExchange} { // nobody needs them after this example
		if err := channel.ExchangeDelete(config.Prefix+"."+name, false, false); err != nil {
			panic(err)
		}
	}
	if err := errors.Join(connection.Close(), exchanges.Close()); err != nil {
		panic(err)
	}
	// Output:
	// all that wanted one have it: true
	// order.line_added 1 {"sku":"A1"}
}
