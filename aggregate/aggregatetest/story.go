// Package aggregatetest tests an aggregate type by telling stories: given what happened, when this is
// asked for, then that happens. No server is needed, nor anything else.
//
//	func TestOnlyDraftsChange(t *testing.T) {
//		aggregatetest.For(t, order.Type()).
//			Given(order.LineAdded{SKU: "A1", Qty: 1}).
//			When("submit", nil).
//			Then(order.OrderSubmitted{}).
//			When("remove_line", order.RemoveLine{SKU: "A1"}).
//			ThenRefused("not_draft")
//	}
//
// A story goes on where the last step left it, and can go on in several ways: no step changes the story
// it is taken from. Commands go in and events come out as the JSON that would
// be sent and stored, so names, schemas and encodings are tested too. Along the way each step is checked
// for what is easily got wrong in such code: deciding twice must give the same, nothing may change the
// state it was given, state and events must survive being stored and read back. Tests that pass here say
// that the engine may cache, replay and judge again as it likes.
package aggregatetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// T is what is needed of a *testing.T.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Story is a stream at some moment.
type Story[S, E any] struct {
	t       T
	typ     *aggregate.Typed[S, E]
	state   any
	history []commands.Event
}

// For begins a story on a new stream of the type.
func For[S, E any](t T, typ *aggregate.Typed[S, E]) *Story[S, E] {
	return &Story[S, E]{t: t, typ: typ, state: typ.Initial()}
}

// Given is the story after these events have happened.
func (s *Story[S, E]) Given(events ...E) *Story[S, E] {
	s.t.Helper()
	return s.after(encodeAll(s.t, s.typ, events))
}

// GivenStored is the story after events as they were stored, perhaps in an old shape, have happened.
func (s *Story[S, E]) GivenStored(events ...commands.Event) *Story[S, E] {
	s.t.Helper()
	return s.after(events)
}

// State is the state now.
func (s *Story[S, E]) State() S {
	return s.state.(S) //nolint:forcetypeassert // the type made it
}

// ThenState checks the state, by its JSON.
func (s *Story[S, E]) ThenState(want S) *Story[S, E] {
	s.t.Helper()
	wanted, err := s.typ.EncodeState(want)
	if err != nil {
		s.t.Fatalf("the state that is wanted cannot be encoded: %v", err)
	}
	if got := s.encode(s.state); !bytes.Equal(got, wanted) {
		s.t.Fatalf("the state is another:\n  want %s\n  got  %s", wanted, got)
	}
	return s
}

// When asks for a command: data is the command's Go value, or a json.RawMessage for JSON as a client would
// send it, or nil for no data.
func (s *Story[S, E]) When(command string, data any) *Decision[S, E] {
	s.t.Helper()
	var sent []byte
	if data != nil {
		sent = s.encodeData(data)
	}
	events, err := s.decide(command, sent)
	return &Decision[S, E]{story: s, command: command, events: events, err: err}
}

func (s *Story[S, E]) encodeData(data any) []byte {
	s.t.Helper()
	var sent bytes.Buffer
	encoder := json.NewEncoder(&sent)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(data); err != nil {
		s.t.Fatalf("the command's data cannot be encoded: %v", err)
	}
	return bytes.TrimSuffix(sent.Bytes(), []byte{'\n'})
}

// Decision is what came of a command.
type Decision[S, E any] struct {
	story   *Story[S, E]
	command string
	events  []commands.Event
	err     error
}

// Then checks that the command landed with these events, no more, no less, in this order.
func (d *Decision[S, E]) Then(events ...E) *Story[S, E] {
	d.story.t.Helper()
	want := listing(encodeAll(d.story.t, d.story.typ, events))
	if got := listing(d.events); d.err != nil || got != want {
		d.differs("to land with" + want)
	}
	return d.story.after(d.events)
}

// ThenNothing checks that the command landed without events.
func (d *Decision[S, E]) ThenNothing() *Story[S, E] {
	d.story.t.Helper()
	return d.Then()
}

// ThenState checks that the command landed, and the state after it.
func (d *Decision[S, E]) ThenState(want S) *Story[S, E] {
	d.story.t.Helper()
	if d.err != nil {
		d.differs("to land")
	}
	return d.story.after(d.events).ThenState(want)
}

// ThenRefused checks that a rule of the type said no, with this code.
func (d *Decision[S, E]) ThenRefused(code string) *Story[S, E] {
	d.story.t.Helper()
	var refusal *aggregate.Refusal
	if !errors.As(d.err, &refusal) || refusal.Code != code {
		d.differs("to be refused with code " + code)
	}
	return d.story
}

// ThenInvalid checks that the data was found invalid at this place, a JSON pointer, empty for the whole.
func (d *Decision[S, E]) ThenInvalid(path string) *Story[S, E] {
	d.story.t.Helper()
	var invalid *aggregate.InvalidError
	if !errors.As(d.err, &invalid) || invalid.Path != path {
		d.differs(fmt.Sprintf("to be invalid at %q", path))
	}
	return d.story
}

// ThenUnknown checks that the type has no such command.
func (d *Decision[S, E]) ThenUnknown() *Story[S, E] {
	d.story.t.Helper()
	if !errors.Is(d.err, aggregate.ErrUnknownCommand) {
		d.differs("to be unknown")
	}
	return d.story
}

func (d *Decision[S, E]) differs(want string) {
	d.story.t.Helper()
	got := "it landed with" + listing(d.events)
	var invalid *aggregate.InvalidError
	switch {
	case errors.As(d.err, &invalid):
		got = fmt.Sprintf("it was invalid at %q: %s", invalid.Path, invalid.Detail)
	case d.err != nil:
		got = "it was turned away: " + d.err.Error()
	}
	d.story.t.Fatalf("%s was expected %s\n%s", d.command, want, got)
}

func encodeAll[S, E any](t T, typ *aggregate.Typed[S, E], events []E) []commands.Event {
	t.Helper()
	stored := make([]commands.Event, len(events))
	for i, e := range events {
		var err error
		if stored[i], err = typ.EncodeEvent(e); err != nil {
			t.Fatalf("%v", err)
		}
	}
	return stored
}

func listing(events []commands.Event) string {
	if len(events) == 0 {
		return " no events"
	}
	var text strings.Builder
	for _, e := range events {
		fmt.Fprintf(&text, "\n  %s %s", e.Type, e.Data)
	}
	return text.String()
}
