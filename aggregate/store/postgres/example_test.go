package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/commands"
)

// A worker holds lanes, loads the streams that it judges commands of, and commits what it came to.
func Example() {
	ctx := context.Background()
	config := postgres.Config{URL: postgrestest.URL(), Schema: "example_" + strings.ReplaceAll(commands.NewID().String(), "-", ""), Migrate: true}
	s, err := postgres.Open(ctx, config)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = postgres.Drop(ctx, config) }()
	defer func() { _ = s.Close() }()

	stream := commands.Stream{Type: "order", ID: "42"}
	claims, _ := s.Acquire(ctx, []int{stream.Lane(s.Identity().Lanes)}, "the example")
	records, _ := s.Load(ctx, []commands.Stream{stream})
	landed := &commands.Outcome{
		ID: commands.NewID(), Stream: stream, Type: "add_line", Ticket: commands.Genesis, Version: 1,
		At:     time.Now().UTC().Truncate(time.Microsecond),
		Events: []commands.Event{{Type: "line_added", Schema: 1, Data: []byte(`{"sku":"A1"}`)}},
	}
	covered, err := s.Commit(ctx, &store.Batch{
		Claims: claims, Outcomes: []*commands.Outcome{landed},
		Heads: []*store.HeadChange{{
			Stream: stream, Handle: records[0].Handle,
			Head: aggregate.Head{Version: 1, Action: landed.ID, At: landed.At},
		}},
	})
	fmt.Println(covered, err)

	record, _, _ := s.Head(ctx, stream)
	fmt.Println(record.Head.Version, string(record.Tail[0].Data))
	// Output:
	// {1 1} <nil>
	// 1 {"sku":"A1"}
}

func ExampleMigrationStatus() {
	config := postgres.Config{URL: postgrestest.URL(), Schema: "not_there"}
	steps, err := postgres.MigrationStatus(context.Background(), config)
	fmt.Println(steps[0].Name, steps[0].Applied, err)
	// Output: 00001_tables.sql false <nil>
}
