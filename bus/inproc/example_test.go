package inproc_test

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/inproc"
)

// A worker takes all that is there, commits it and acknowledges it; only then is it confirmed.
func Example() {
	b := inproc.New(inproc.Config{})
	confirmed := make(chan string, 3)
	for _, frame := range []string{"first", "second", "third"} {
		b.PublishAsync(bus.LaneTopic(0), message.NewMessage("", []byte(frame)), func(err error) {
			confirmed <- fmt.Sprintf("%s confirmed: %v", frame, err == nil)
		})
	}

	frames, err := b.Subscribe(context.Background(), bus.LaneTopic(0))
	if err != nil {
		panic(err)
	}
	batch := []*message.Message{<-frames, <-frames}
	for _, m := range batch {
		fmt.Println("committed:", string(m.Payload))
	}
	for _, m := range batch {
		m.Ack()
	}
	fmt.Println(<-confirmed)
	fmt.Println(<-confirmed)

	// The third frame lies in the channel, but nobody has read it.
	if err := b.Close(); err != nil {
		panic(err)
	}
	fmt.Println(<-confirmed)
	// Output:
	// committed: first
	// committed: second
	// first confirmed: true
	// second confirmed: true
	// third confirmed: false
}
