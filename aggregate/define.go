package aggregate

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/ticketed/doorman/commands"
)

// Definition is an aggregate type being described: S is its state, E the interface that its events share.
// [Handle], [On] and [Upcast] add to it in any order; [Definition.Build] makes the type, or reports
// everything that is wrong with it at once.
type Definition[S, E any] struct {
	name     string
	initial  S
	settings Settings
	commands []*command[S, E]
	events   []*event[S]
	upcasts  []*upcast
	problems []error
}

// Define begins the description of an aggregate type: its name, which is its streams' type, the state
// before the first event, and its choices about tickets and parking.
//
//	t := aggregate.Define[Event]("counter", Counter{}, aggregate.Settings{})
//	aggregate.Handle(t, "add", Counter.Add, aggregate.Doc("Adds to the count."))
//	aggregate.On(t, "added", Counter.added)
//	counter, err := t.Build()
//
// E is the interface of the type's events, best one that nothing else implements. The state and the
// events are kept as the JSON that encoding/json makes of them, so a field that is not exported is not
// kept. A type with a MarshalJSON of its own must write compact JSON, the same for the same value.
func Define[E, S any](name string, initial S, settings Settings) *Definition[S, E] {
	return &Definition[S, E]{name: name, initial: initial, settings: settings}
}

// command is one command of a type; its Go type is known to its closures alone.
type command[S, E any] struct {
	info   CommandInfo
	allows policySet
	decide func(state S, data []byte) ([]E, error)
	check  func(data []byte) error // only reads
}

// Handle adds a command: its name, how it is judged, and what there is to say about it.
//
// decide is pure: the same state and command give the same events, and it changes neither. It returns
// the events to append, none when nothing is to change, or an error: what [Refuse] makes when a rule
// says no, an *[InvalidError] when the data makes no sense; any other says that the type itself broke.
// A method of the state does well: Handle(t, "add_line", Order.AddLine).
//
// C is what the data is decoded into, strictly: every member must be a field of C by its exact name and
// of its type, and not null unless the field is a pointer, map, slice or interface. Data that is left
// out is taken for {} where C is a struct, else for null. A C of json.RawMessage gets the data itself,
// made compact.
func Handle[S, E, C any](
	t *Definition[S, E], name string, decide func(state S, command C) ([]E, error), about ...About,
) {
	c := &command[S, E]{info: CommandInfo{Name: name}}
	for _, tell := range about {
		tell(&c.info)
	}
	t.commands = append(t.commands, c)
	data, err := newPayload[C](c.info.Schema)
	if err != nil {
		t.wrongf("command %q: its schema cannot be used: %w", name, err)
	}
	if decide == nil {
		t.wrongf("command %q has no function", name)
	}
	c.check = func(text []byte) error {
		_, err := data.read(text)
		return err
	}
	c.decide = func(state S, text []byte) ([]E, error) {
		command, err := data.read(text)
		if err != nil {
			return nil, err
		}
		return decide(state, command)
	}
}

// About says something about a command.
type About func(*CommandInfo)

// Doc describes the command in one sentence.
func Doc(sentence string) About { return func(c *CommandInfo) { c.Doc = sentence } }

// Schema is the JSON Schema (draft 2020-12, formats checked) that the command's data must satisfy. It
// stands by itself: it can refer to nothing outside.
func Schema(text string) About { return func(c *CommandInfo) { c.Schema = []byte(text) } }

// Example is an example of the command's data. Build checks that it would be taken.
func Example(data string) About { return func(c *CommandInfo) { c.Example = []byte(data) } }

// Allow lets this command be sent with policies beyond those of the type's Settings.
func Allow(policies ...Policy) About {
	return func(c *CommandInfo) { c.Policies = append(c.Policies, policies...) }
}

// Policy is that of package commands, as are its values: a type is written with one import.
type Policy = commands.Policy

// The policies.
const (
	PolicyTicket  = commands.PolicyTicket
	PolicyStrict  = commands.PolicyStrict
	PolicySession = commands.PolicySession
	PolicyAny     = commands.PolicyAny
)

// EqualJSON is that of package commands: equal as JSON, numbers by their literal. It is for types that
// hold JSON as it came.
func EqualJSON(a, b []byte) bool { return commands.EqualJSON(a, b) }

// event is one kind of event of a type; its Go type is known to its closures alone.
type event[S any] struct {
	name   string
	goType reflect.Type
	older  []*upcast // older[i] is the shape of version i+1; the newest version is len(older)+1
	apply  func(state S, data []byte) (S, error)
	take   func(state S, event any) S
	decode func(data []byte) (any, error)
}

// On adds a kind of event: its name, and what it makes of the state.
//
// evolve is pure and cannot fail: an event is a fact. It must not change the state it is given, nor
// anything that state points to: append to slices.Clip of a slice, set in a maps.Clone of a map.
func On[S, E, V any](t *Definition[S, E], name string, evolve func(state S, event V) S) {
	e := &event[S]{name: name, goType: reflect.TypeFor[V](), decode: decoder[V]()}
	t.events = append(t.events, e)
	if evolve == nil {
		t.wrongf("event %q has no function", name)
	}
	e.apply = func(state S, data []byte) (S, error) {
		var v V
		if err := decodeJSON(data, &v); err != nil {
			return state, err
		}
		return evolve(state, v), nil
	}
	e.take = func(state S, v any) S { return evolve(state, known[V](v)) }
}

// upcast makes one old version of an event's shape into the next.
type upcast struct {
	event   string
	from    int
	in, out reflect.Type
	decode  func(data []byte) (any, error)
	up      func(old any) any
}

// Upcast lets events be read that were stored when their shape was another. up makes the shape of
// version from into that of version from+1; the newest is the type given to [On]. Versions count from 1,
// and each of them is needed: events are never edited.
func Upcast[S, E, Old, New any](t *Definition[S, E], name string, from int, up func(old Old) New) {
	u := &upcast{
		event: name, from: from, in: reflect.TypeFor[Old](), out: reflect.TypeFor[New](), decode: decoder[Old](),
	}
	t.upcasts = append(t.upcasts, u)
	if up == nil {
		t.wrongf("event %q has no function to upcast version %d", name, from)
	}
	u.up = func(old any) any { return up(known[Old](old)) }
}

func decoder[V any]() func(data []byte) (any, error) {
	return func(data []byte) (any, error) {
		var v V
		err := decodeJSON(data, &v)
		return v, err
	}
}

func (t *Definition[S, E]) wrongf(format string, args ...any) {
	t.problems = append(t.problems, fmt.Errorf(format, args...))
}

// Build makes the type. Its error lists everything that is wrong with the description.
func (t *Definition[S, E]) Build() (*Typed[S, E], error) {
	b := &builder[S, E]{Definition: *t, typed: &Typed[S, E]{
		name:     t.name,
		initial:  t.initial,
		commands: make(map[string]*command[S, E], len(t.commands)),
		events:   make(map[string]*event[S], len(t.events)),
		byGoType: make(map[reflect.Type]*event[S], len(t.events)),
	}}
	b.build()
	if len(b.problems) > 0 {
		return nil, fmt.Errorf("aggregate type %q cannot be built:\n%w", t.name, errors.Join(b.problems...))
	}
	return b.typed, nil
}

// MustBuild is Build for descriptions that are part of a program: it panics where Build has an error.
func (t *Definition[S, E]) MustBuild() *Typed[S, E] {
	typed, err := t.Build()
	if err != nil {
		panic(err)
	}
	return typed
}
