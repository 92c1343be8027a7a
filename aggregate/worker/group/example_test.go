package group_test

import (
	"context"
	"fmt"

	"github.com/ticketed/doorman/aggregate/worker/group"
)

// still is a worker that only says what it holds.
type still struct{}

func (still) Start(context.Context) error    { return nil }
func (still) Shutdown(context.Context) error { return nil }
func (still) Ready() error                   { return nil }

// A process that is alone has all lanes. In a program the list is that of the database
// (postgres.Store.Members), and the worker that of package worker.
func Example() {
	r, err := group.New(group.Config{
		Members: &group.Memory{}, Name: "host-1 pid 4711", Lanes: 4,
		Make: func([]int, func()) (group.Worker, error) { return still{}, nil },
	})
	if err != nil {
		panic(err)
	}
	if err := r.Start(context.Background()); err != nil {
		panic(err)
	}
	fmt.Println(r.Lanes(), r.Ready())
	fmt.Println(r.Stop(), r.Lanes())
	// Output:
	// [0 1 2 3] <nil>
	// <nil> []
}

func ExampleShare() {
	members := []group.Member{{ID: "a"}, {ID: "b"}}
	fmt.Println(group.Share(8, members, "a"), group.Share(8, members, "b"))

	members = append(members, group.Member{ID: "c"}) // lanes move to it alone
	for _, m := range members {
		fmt.Println(m.ID, group.Share(8, members, m.ID))
	}
	// Output:
	// [0 1 2 3] [4 5 6 7]
	// a [0 1 2]
	// b [4 5 6]
	// c [3 7]
}
