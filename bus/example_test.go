package bus_test

import (
	"context"
	"fmt"
	"time"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/frame"
	"github.com/ticketed/doorman/bus/inproc"
	"github.com/ticketed/doorman/commands"
)

// While one frame is under way the next one fills.
func ExampleSender() {
	ctx := context.Background()
	queue := inproc.New(inproc.Config{})
	sender, err := bus.NewSender(queue, bus.SenderConfig{Lanes: 1, InFlight: 1})
	if err != nil {
		panic(err)
	}
	durable := make(chan string, 3)
	for _, name := range []string{"create", "add_line", "submit"} {
		env := commands.Seal(commands.Command{
			ID: commands.NewID(), Stream: commands.Stream{Type: "order", ID: "42"}, Type: name,
		}, time.Now())
		sender.Send(&env, func(err error) { durable <- fmt.Sprint(name, " is durable: ", err == nil) })
	}

	frames, err := queue.Subscribe(ctx, bus.LaneTopic(0))
	if err != nil {
		panic(err)
	}
	for range 2 {
		m := <-frames
		envs, err := frame.Decode(m.Payload)
		if err != nil {
			panic(err)
		}
		fmt.Println("a frame of", len(envs))
		m.Ack()
	}
	if err := sender.Close(ctx); err != nil {
		panic(err)
	}
	for range 3 {
		fmt.Println(<-durable)
	}
	if err := queue.Close(); err != nil {
		panic(err)
	}
	// Output:
	// a frame of 1
	// a frame of 2
	// create is durable: true
	// add_line is durable: true
	// submit is durable: true
}
