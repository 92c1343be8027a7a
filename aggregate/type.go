package aggregate

import (
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/ticketed/doorman/commands"
)

// Type is what the engine needs of an aggregate type. Authors do not implement it: they describe their
// type with [Define] and get one.
//
// States are passed as any: each is a value that the same Type made. Decide and Evolve are pure; a
// panic in either, or an error other than those named here, is the type's fault and fails the one
// command.
type Type interface {
	// Name is the stream type, e.g. "order".
	Name() string
	// Settings are the type's choices, defaults filled in.
	Settings() Settings
	// Commands are the commands it knows, by name.
	Commands() []CommandInfo
	// Events are the kinds of events it knows, by name.
	Events() []EventInfo
	// Allows tells whether a command may be sent with a policy; commands the type does not know are
	// judged by the type's own setting.
	Allows(policy commands.Policy, command string) bool

	// Initial is the state before the first event.
	Initial() any
	// Decide judges a command by the type's own rules. It returns the events to append, or an error:
	// ErrUnknownCommand, *InvalidError, *Refusal, or any other for a type that broke.
	Decide(state any, command string, data []byte) ([]commands.Event, error)
	// Evolve applies one event as it was stored, upcasting it first where its shape is old.
	Evolve(state any, event commands.Event) (any, error)
	// EncodeState gives the state as JSON, the same bytes for the same events on every backend.
	EncodeState(state any) ([]byte, error)
	// DecodeState reads what EncodeState wrote.
	DecodeState(data []byte) (any, error)
}

// Settings are the choices a type makes about tickets and parking.
type Settings struct {
	Policies      []commands.Policy // what may be asked for; PolicyTicket always may
	ParkFor       time.Duration     // how long a command waits for its predecessor; 30 s by default, 5 min at most
	SessionWindow time.Duration     // how long a session keeps its privilege under PolicySession; 10 s by default
}

// The defaults and bounds of Settings (DESIGN section 2).
const (
	DefaultParkFor       = 30 * time.Second
	MaxParkFor           = 5 * time.Minute
	DefaultSessionWindow = 10 * time.Second
)

// CommandInfo describes one command of a type for documentation and validation.
type CommandInfo struct {
	Name     string
	Doc      string            // one sentence
	Schema   []byte            // JSON Schema of its data; nil for none
	Example  []byte            // JSON of an example's data; nil for none
	Policies []commands.Policy // that may be asked for with it
}

// EventInfo describes one kind of event of a type for documentation.
type EventInfo struct {
	Name string
	// Schemas are JSON Schemas, for drafts 7 and 2020-12 alike, of its shapes by their versions from 1 on. The last
	// one is what is written now; those before it are what is read of older ones, at least.
	Schemas [][]byte
}

// ErrUnknownCommand is returned by Decide for a command the type does not have.
var ErrUnknownCommand = errors.New("unknown command")

// InvalidError is returned by Decide for data that does not fit the command.
type InvalidError struct {
	Path   string // JSON pointer into data; empty for the whole
	Detail string
}

func (e *InvalidError) Error() string {
	if e.Path == "" {
		return e.Detail
	}
	return "at " + e.Path + ": " + e.Detail
}

// Refusal is a business rule that says no: a value, not a failure.
type Refusal struct {
	Code    string // the aggregate's own, e.g. already_submitted
	Message string // one sentence for a person
}

func (r *Refusal) Error() string { return r.Code + ": " + r.Message }

// Refuse is what a Decide function returns when a rule says no.
func Refuse(code, format string, args ...any) error {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Registry holds the types a program serves.
type Registry struct {
	byName map[string]Type
	names  []string
}

// NewRegistry collects types; two of one name are an error, as is none at all.
func NewRegistry(types ...Type) (*Registry, error) {
	if len(types) == 0 {
		return nil, errors.New("no aggregate types were given")
	}
	r := &Registry{byName: make(map[string]Type, len(types))}
	var problems []error
	for _, t := range types {
		name := t.Name()
		if _, taken := r.byName[name]; taken {
			problems = append(problems, fmt.Errorf("aggregate type %q is given twice", name))
			continue
		}
		r.byName[name] = t
		r.names = append(r.names, name)
	}
	sort.Strings(r.names)
	return r, errors.Join(problems...)
}

// Type finds a type by its name.
func (r *Registry) Type(name string) (Type, bool) {
	t, ok := r.byName[name]
	return t, ok
}

// Types are all of them, by name.
func (r *Registry) Types() []Type {
	all := make([]Type, len(r.names))
	for i, name := range r.names {
		all[i] = r.byName[name]
	}
	return all
}
