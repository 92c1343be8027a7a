package aggregate_test

import (
	"errors"
	"fmt"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// Counter is the state of the smallest type worth showing.
type Counter struct {
	Total int `json:"total"`
}

// CounterEvent is what happens to it: only Counted.
type CounterEvent interface{ counterEvent() }

// Counted is an event.
type Counted struct {
	By int `json:"by"`
}

func (Counted) counterEvent() {}

// Count is a command.
type Count struct {
	By int `json:"by"`
}

// Count judges the command.
func (c Counter) Count(command Count) ([]CounterEvent, error) {
	if c.Total+command.By < 0 {
		return nil, aggregate.Refuse("below_zero", "%d and %d would be less than nothing", c.Total, command.By)
	}
	return []CounterEvent{Counted(command)}, nil
}

func (c Counter) counted(e Counted) Counter {
	c.Total += e.By
	return c
}

func defineCounter() *aggregate.Typed[Counter, CounterEvent] {
	t := aggregate.Define[CounterEvent]("counter", Counter{}, aggregate.Settings{})
	aggregate.Handle(t, "count", Counter.Count,
		aggregate.Doc("Counts up, or down when the number is negative."),
		aggregate.Schema(`{"type":"object","required":["by"],"properties":{"by":{"type":"integer","maximum":10}}}`),
		aggregate.Example(`{"by":1}`))
	aggregate.On(t, "counted", Counter.counted)
	return t.MustBuild()
}

func ExampleDefine() {
	counter := defineCounter()
	state := counter.Initial()
	for _, data := range []string{`{"by":2}`, `{"by":-3}`, `{"by":11}`, `{"by":1,"twice":true}`, `{}`} {
		events, err := counter.Decide(state, "count", []byte(data))
		var refusal *aggregate.Refusal
		var invalid *aggregate.InvalidError
		switch {
		case errors.As(err, &refusal):
			fmt.Println("refused:", refusal.Code+",", refusal.Message)
			continue
		case errors.As(err, &invalid):
			fmt.Println("invalid:", invalid.Path, invalid.Detail)
			continue
		}
		for _, e := range events {
			state, _ = counter.Evolve(state, e)
			fmt.Printf("landed: %s %s\n", e.Type, e.Data)
		}
	}
	text, _ := counter.EncodeState(state)
	fmt.Println(string(text))
	// Output:
	// landed: counted {"by":2}
	// refused: below_zero, 2 and -3 would be less than nothing
	// invalid: /by must be at most 10
	// invalid: /twice is not a field of this command
	// invalid: /by is missing
	// {"total":2}
}

// Both functions of a type are plain: a rule is tested by calling it.
func ExampleHandle() {
	events, err := Counter{Total: 1}.Count(Count{By: -2})
	fmt.Println(events, err)
	events, err = Counter{Total: 1}.Count(Count{By: 2})
	fmt.Println(events, err)
	// Output:
	// [] below_zero: 1 and -2 would be less than nothing
	// [{2}] <nil>
}

// CountedV1 is how the event looked when it was a list of clicks.
type CountedV1 struct {
	Clicks []int `json:"clicks"`
}

func ExampleUpcast() {
	t := aggregate.Define[CounterEvent]("counter", Counter{}, aggregate.Settings{})
	aggregate.Handle(t, "count", Counter.Count)
	aggregate.On(t, "counted", Counter.counted)
	aggregate.Upcast(t, "counted", 1, func(old CountedV1) Counted { return Counted{By: len(old.Clicks)} })
	counter := t.MustBuild()

	state := counter.Initial()
	for _, stored := range []commands.Event{
		{Type: "counted", Schema: 1, Data: []byte(`{"clicks":[7,7,7]}`)},
		{Type: "counted", Schema: 2, Data: []byte(`{"by":10}`)},
	} {
		state, _ = counter.Evolve(state, stored)
	}
	fmt.Println(state.(Counter).Total)
	// Output: 13
}
