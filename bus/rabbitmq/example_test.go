package rabbitmq_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"

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
	if err := rabbitmq.Drop(ctx, config); err != nil { // nobody needs the queue after this example
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
	err = errors.Join(connection.Close(), exchanges.Close(), rabbitmq.Drop(ctx, config)) // nobody needs them after this example
	if err != nil {
		panic(err)
	}
	// Output:
	// all that wanted one have it: true
	// order.line_added 1 {"sku":"A1"}
}

// desk takes whatever comes; a gateway's is that of package commands/ingress, which holds it against the rules.
type desk struct{ taken chan string }

func (d desk) Ready() error  { return nil } // or why nothing can be taken: others get it then
func (d desk) UnderWay() int { return 0 }

func (d desk) Take(messages []*rabbitmq.Incoming) {
	for _, m := range messages {
		body := string(m.Message().Body)
		m.Settle() // it is answered for: the broker may forget it
		d.taken <- m.Message().MessageID + ": " + body
	}
}

// A gateway takes the commands that another service publishes, with whatever client of its language.
func ExampleIngress() {
	ctx := context.Background()
	config := rabbitmq.Config{URL: rabbitmqtest.URL(), Prefix: "example_" + rand.Text(), Logger: slog.New(slog.DiscardHandler)}
	desk := desk{taken: make(chan string)}
	ingress, err := rabbitmq.NewIngress(ctx, rabbitmq.IngressConfig{Config: config}, desk)
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
	if err := channel.Confirm(false); err != nil {
		panic(err)
	}
	confirmed, err := channel.PublishWithDeferredConfirm(config.Prefix+".commands", "any key", true, false, amqp.Publishing{
		MessageId: "0197a1c2", DeliveryMode: amqp.Persistent, Body: []byte(`{"stream":"order/42","type":"submit","ticket":"genesis"}`),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println("it is on the broker's disk:", confirmed.Wait())
	fmt.Println(<-desk.taken)

	err = errors.Join(ingress.Close(), connection.Close(), rabbitmq.Drop(ctx, config)) // nobody needs them after this example
	if err != nil {
		panic(err)
	}
	// Output:
	// it is on the broker's disk: true
	// 0197a1c2: {"stream":"order/42","type":"submit","ticket":"genesis"}
}
