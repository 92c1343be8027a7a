package aggregate

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/ticketed/doorman/commands"
)

// builder turns a description into a type, collecting what is wrong with it.
type builder[S, E any] struct {
	Definition[S, E]

	typed *Typed[S, E]
}

func (b *builder[S, E]) build() {
	if !commands.ValidType(b.name) {
		b.wrongf("%q is not a name for a type: [a-z][a-z0-9_-]*, %d characters at most", b.name, commands.MaxNamePart)
	}
	b.settle()
	if len(b.commands) == 0 {
		b.wrongf("it has no command")
	}
	for _, c := range b.commands {
		b.addCommand(c)
	}
	slices.SortFunc(b.typed.infos, func(x, y CommandInfo) int { return strings.Compare(x.Name, y.Name) })
	b.events = slices.Clone(b.events)
	for i, e := range b.events {
		own := *e // Build may be called again
		b.events[i] = &own
		b.addEvent(&own)
	}
	b.addUpcasts()
	b.tryInitial()
	if len(b.problems) == 0 {
		b.tellEvents()
	}
}

// settle fills in the defaults of the settings and checks their bounds.
func (b *builder[S, E]) settle() {
	s := b.settings
	if s.ParkFor == 0 {
		s.ParkFor = DefaultParkFor
	}
	if s.SessionWindow == 0 {
		s.SessionWindow = DefaultSessionWindow
	}
	if s.ParkFor < 0 || s.ParkFor > MaxParkFor {
		b.wrongf("ParkFor is %v; it may be up to %v", s.ParkFor, MaxParkFor)
	}
	if s.SessionWindow < 0 {
		b.wrongf("SessionWindow is %v; it cannot be negative", s.SessionWindow)
	}
	b.checkPolicies("Settings", s.Policies)
	b.typed.policies = setOf(s.Policies)
	s.Policies = b.typed.policies.list()
	b.typed.settings = s
}

func (b *builder[S, E]) checkPolicies(where string, policies []commands.Policy) {
	for _, p := range policies {
		if !slices.Contains(commands.Policies(), p) {
			b.wrongf("%s: there is no policy %d", where, p)
		}
	}
}

func (b *builder[S, E]) addCommand(c *command[S, E]) {
	name := c.info.Name
	if !commands.ValidType(name) {
		b.wrongf("%q is not a name for a command: [a-z][a-z0-9_-]*, %d characters at most", name, commands.MaxNamePart)
	}
	if _, taken := b.typed.commands[name]; taken {
		b.wrongf("command %q is handled twice", name)
		return
	}
	b.typed.commands[name] = c
	b.checkPolicies("command \""+name+"\"", c.info.Policies)
	c.allows = b.typed.policies | setOf(c.info.Policies)
	info := c.info
	info.Policies = c.allows.list()
	b.typed.infos = append(b.typed.infos, info)
	if info.Example == nil {
		return
	}
	if !json.Valid(info.Example) {
		b.wrongf("command %q: its example is not JSON", name)
	} else if err := c.check(info.Example); err != nil {
		b.wrongf("command %q: its own example would be turned away: %w", name, err)
	}
}

func (b *builder[S, E]) addEvent(e *event[S]) {
	if !commands.ValidType(e.name) {
		b.wrongf("%q is not a name for an event: [a-z][a-z0-9_-]*, %d characters at most", e.name, commands.MaxNamePart)
	}
	if _, taken := b.typed.events[e.name]; taken {
		b.wrongf("event %q is given twice", e.name)
		return
	}
	b.typed.events[e.name] = e
	shared := reflect.TypeFor[E]()
	switch {
	case shared.Kind() != reflect.Interface:
		b.wrongf("event %q: the type that events share must be an interface, not %v", e.name, shared)
	case e.goType.Kind() == reflect.Interface:
		b.wrongf("event %q: %v is an interface; each kind of event is a type of its own", e.name, e.goType)
	case !e.goType.Implements(shared):
		b.wrongf("event %q: %v is no %v", e.name, e.goType, shared)
	}
	if other, taken := b.typed.byGoType[e.goType]; taken {
		b.wrongf("events %q and %q are both of type %v", other.name, e.name, e.goType)
		return
	}
	b.typed.byGoType[e.goType] = e
}

// addUpcasts puts each event's chain of old versions together.
func (b *builder[S, E]) addUpcasts() {
	slices.SortStableFunc(b.upcasts, func(x, y *upcast) int { return x.from - y.from })
	for _, u := range b.upcasts {
		e, known := b.typed.events[u.event]
		switch {
		case !known:
			b.wrongf("event %q is upcast, but On was not called for it", u.event)
		case u.from < 1:
			b.wrongf("event %q: there is no version %d; they count from 1", u.event, u.from)
		case u.from < e.newest():
			b.wrongf("event %q: version %d is upcast twice", u.event, u.from)
		default:
			for missing := e.newest(); missing < u.from; missing++ {
				b.wrongf("event %q: version %d has no upcast", u.event, missing)
				e.older = append(e.older, nil)
			}
			e.older = append(e.older, u)
		}
	}
	for _, e := range b.events {
		b.checkChain(e)
	}
}

// tellEvents describes the events of a type with which nothing is wrong.
func (b *builder[S, E]) tellEvents() {
	for _, e := range b.events {
		b.typed.kinds = append(b.typed.kinds, EventInfo{Name: e.name, Schemas: e.schemas()})
	}
	slices.SortFunc(b.typed.kinds, func(x, y EventInfo) int { return strings.Compare(x.Name, y.Name) })
}

// checkChain: what one step makes must be what the next one takes, and the last one what On takes.
func (b *builder[S, E]) checkChain(e *event[S]) {
	for i, step := range e.older {
		next := &upcast{in: e.goType}
		if i+1 < len(e.older) {
			next = e.older[i+1]
		}
		if step == nil || next == nil {
			continue // reported as missing
		}
		if step.out != next.in {
			b.wrongf("event %q: upcasting version %d gives %v, but version %d is %v",
				e.name, step.from, step.out, step.from+1, next.in)
		}
	}
}

// tryInitial: a state that cannot be encoded would be noticed with the first landing only.
func (b *builder[S, E]) tryInitial() {
	text, err := encodeJSON(b.initial)
	if err != nil {
		b.wrongf("its initial state cannot be encoded: %w", err)
		return
	}
	if _, err := b.typed.DecodeState(text); err != nil {
		b.wrongf("its initial state cannot be read back: %w", err)
	}
}

// policySet holds policies as bits; PolicyTicket is always among them.
type policySet uint8

func setOf(policies []commands.Policy) policySet {
	set := policySet(1) << PolicyTicket
	for _, p := range policies {
		set |= 1 << p
	}
	return set
}

func (s policySet) has(p commands.Policy) bool { return s&(1<<p) != 0 }

func (s policySet) list() []commands.Policy {
	var list []commands.Policy
	for _, p := range commands.Policies() {
		if s.has(p) {
			list = append(list, p)
		}
	}
	return list
}
