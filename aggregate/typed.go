package aggregate

import (
	"fmt"
	"reflect"

	"github.com/ticketed/doorman/commands"
)

// Typed is a [Type] that still knows the Go types of its state and events, which is what tests want.
// It is made by [Definition.Build] and safe for use by many goroutines.
type Typed[S, E any] struct {
	name     string
	initial  any
	settings Settings
	policies policySet
	commands map[string]*command[S, E]
	infos    []CommandInfo
	kinds    []EventInfo
	events   map[string]*event[S]
	byGoType map[reflect.Type]*event[S]
}

var _ Type = (*Typed[any, any])(nil)

// Name is the stream type.
func (t *Typed[S, E]) Name() string { return t.name }

// Settings are the type's choices, defaults filled in.
func (t *Typed[S, E]) Settings() Settings { return t.settings }

// Commands are the type's commands, by name.
func (t *Typed[S, E]) Commands() []CommandInfo { return t.infos }

// Events are the kinds of the type's events, by name.
func (t *Typed[S, E]) Events() []EventInfo { return t.kinds }

// Allows tells whether a command may be sent with a policy.
func (t *Typed[S, E]) Allows(policy commands.Policy, command string) bool {
	if c, ok := t.commands[command]; ok {
		return c.allows.has(policy)
	}
	return t.policies.has(policy)
}

// Initial is the state before the first event, an S.
func (t *Typed[S, E]) Initial() any { return t.initial }

// Decide judges a command by the rules given to [Handle].
func (t *Typed[S, E]) Decide(state any, command string, data []byte) ([]commands.Event, error) {
	c, ok := t.commands[command]
	if !ok {
		return nil, ErrUnknownCommand
	}
	decided, err := c.decide(known[S](state), data)
	if err != nil || len(decided) == 0 {
		return nil, err
	}
	events := make([]commands.Event, len(decided))
	for i, e := range decided {
		if events[i], err = t.EncodeEvent(e); err != nil {
			return nil, fmt.Errorf("command %q: %w", command, err)
		}
	}
	return events, nil
}

// EncodeEvent gives an event as it is stored: its newest shape, compact, without HTML escapes.
func (t *Typed[S, E]) EncodeEvent(e E) (commands.Event, error) {
	kind, ok := t.byGoType[reflect.TypeOf(e)]
	if !ok {
		return commands.Event{}, fmt.Errorf("event of type %T: On was not called for that type", e)
	}
	data, err := encodeJSON(e)
	if err != nil {
		return commands.Event{}, fmt.Errorf("encode event %q: %w", kind.name, err)
	}
	return commands.Event{Type: kind.name, Schema: kind.newest(), Data: data}, nil
}

// DecodeEvent reads a stored event, upcasting it first where its shape is old.
func (t *Typed[S, E]) DecodeEvent(stored commands.Event) (E, error) {
	var none E
	kind, err := t.event(stored)
	if err != nil {
		return none, err
	}
	decoded, err := kind.read(stored)
	if err != nil {
		return none, err
	}
	return known[E](decoded), nil
}

// Evolve applies one stored event, upcasting it first where its shape is old.
func (t *Typed[S, E]) Evolve(state any, stored commands.Event) (any, error) {
	kind, err := t.event(stored)
	if err != nil {
		return nil, err
	}
	if stored.Schema == kind.newest() {
		next, err := kind.apply(known[S](state), stored.Data)
		if err != nil {
			return nil, kind.broken(stored, err)
		}
		return next, nil
	}
	decoded, err := kind.read(stored)
	if err != nil {
		return nil, err
	}
	return kind.take(known[S](state), decoded), nil
}

// EncodeState gives the state as compact JSON without HTML escapes.
func (t *Typed[S, E]) EncodeState(state any) ([]byte, error) { return encodeJSON(known[S](state)) }

// DecodeState reads what EncodeState wrote, into an S.
func (t *Typed[S, E]) DecodeState(data []byte) (any, error) {
	var state S
	if err := decodeJSON(data, &state); err != nil {
		return nil, fmt.Errorf("decode state of type %q: %w", t.name, err)
	}
	return state, nil
}

func (t *Typed[S, E]) event(stored commands.Event) (*event[S], error) {
	kind, ok := t.events[stored.Type]
	switch {
	case !ok:
		return nil, fmt.Errorf("type %q has no event %q", t.name, stored.Type)
	case stored.Schema < 1 || stored.Schema > kind.newest():
		return nil, fmt.Errorf("event %q has version %d; this program knows 1 to %d",
			stored.Type, stored.Schema, kind.newest())
	}
	return kind, nil
}

// known is a value whose type the engine cannot name. Any other than the type's own is a bug of the engine.
func known[V any](v any) V { return v.(V) } //nolint:forcetypeassert // the panic says which types were mixed up

// newest is the version in which events of the kind are written.
func (e *event[S]) newest() int { return len(e.older) + 1 }

// read decodes a stored event of any version into the newest shape.
func (e *event[S]) read(stored commands.Event) (any, error) {
	decode := e.decode
	if stored.Schema < e.newest() {
		decode = e.older[stored.Schema-1].decode
	}
	decoded, err := decode(stored.Data)
	if err != nil {
		return nil, e.broken(stored, err)
	}
	for _, step := range e.older[stored.Schema-1:] {
		decoded = step.up(decoded)
	}
	return decoded, nil
}

func (e *event[S]) broken(stored commands.Event, err error) error {
	return fmt.Errorf("decode event %q, version %d: %w", e.name, stored.Schema, err)
}
