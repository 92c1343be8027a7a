package notify_test

import (
	"context"
	"fmt"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/notify"
)

// A gateway registers before it sends, so that it cannot miss the outcome; the worker tells the register
// of each commit.
func ExampleWaiters() {
	waiters := notify.NewWaiters(notify.WaitersConfig{Reader: &log{}})
	_ = waiters.Start(context.Background())
	defer waiters.Stop()

	env := commands.Envelope{Command: commands.Command{ID: commands.NewID()}, Hash: commands.Hash{1}}
	waiter, _ := waiters.Register(env.ID, env.Hash)
	defer waiter.Close()

	go waiters.Observe(store.Range{First: 1, Last: 1}, &aggregate.Result{
		Outcomes: []*commands.Outcome{{ID: env.ID, Hash: env.Hash, Position: 1, Version: 1}},
	})

	outcome, conflict, err := waiter.Wait(context.Background())
	fmt.Println(outcome.Version, conflict, err)
	// Output: 1 false <nil>
}
