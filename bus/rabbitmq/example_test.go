package rabbitmq_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

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
