package schemas

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/chains"
)

// Types are those of a program with an example request for each of their commands.
type Types struct {
	All      []aggregate.Type
	examples map[string]Object // by the name of the command's schema
}

// Name is that of a command in components: a dot is in no type's name.
func Name(t aggregate.Type, command string) string { return t.Name() + "." + command }

// Describe makes the examples of the types that are served: chains are theirs, by the name of the type.
func Describe(registry *aggregate.Registry, tried map[string][]chains.Chain) *Types {
	s := &Types{All: registry.Types(), examples: map[string]Object{}}
	for _, t := range s.All {
		made := 0
		for _, chain := range tried[t.Name()] {
			ticket := commands.Genesis.String()
			for _, step := range chain {
				made++
				id := ExampleID(made)
				name := Name(t, step.Info.Name)
				if _, shown := s.examples[name]; !shown {
					s.examples[name] = request(t, &step, id, ticket)
				}
				ticket = id
			}
		}
	}
	return s
}

// Example is an example of what is sent for a command; nil for one that has none.
func (s *Types) Example(t aggregate.Type, command string) Object { return s.examples[Name(t, command)] }

// ExampleID is a UUID of version 7 that anybody sees to be made up.
func ExampleID(n int) string { return fmt.Sprintf("01900000-0000-7000-8000-%012d", n) }

// request is an example of what is posted; nil for a command that has no example.
func request(t aggregate.Type, step *chains.Step, id, ticket string) Object {
	if step.Data == nil && step.Info.Schema != nil {
		return nil
	}
	r := Object{"id": id, "stream": t.Name() + "/42", "type": step.Info.Name, "ticket": ticket, "actor": "Ann"}
	if step.Data != nil {
		r["data"] = json.RawMessage(step.Data)
	}
	return r
}

// About tells in a sentence or two what there is to know of a type.
func (s *Types) About(t aggregate.Type) string {
	settings := t.Settings()
	return fmt.Sprintf("Streams `%s/…`. Policies: %s. A command waits %s for its predecessor; "+
		"under policy session a session keeps its privilege for %s. Commands: %s.", t.Name(), policyNames(settings.Policies),
		settings.ParkFor, settings.SessionWindow, commandNames(t))
}

func commandNames(t aggregate.Type) string {
	var names []string
	for _, c := range t.Commands() {
		names = append(names, "`"+c.Name+"`")
	}
	return strings.Join(names, ", ")
}

func policyNames(policies []commands.Policy) string { return strings.Join(policyList(policies), ", ") }

func policyList(policies []commands.Policy) []string {
	var names []string
	for _, p := range policies {
		names = append(names, p.String())
	}
	return names
}

// Names are the names of the types.
func (s *Types) Names() []string {
	var names []string
	for _, t := range s.All {
		names = append(names, t.Name())
	}
	return names
}

// AddCommands adds Command, which is one command of any type, and what it consists of.
func (s *Types) AddCommands(all Object) {
	for _, t := range s.All {
		mapping := Object{}
		var names []string
		for _, c := range t.Commands() {
			name := Name(t, c.Name)
			names = append(names, name)
			mapping[c.Name] = "#/components/schemas/" + name
			all[name] = s.commandSchema(t, c)
		}
		schema := Object{"description": "A command for a stream of type " + t.Name() + ".", "oneOf": oneOfList(names)}
		schema["discriminator"] = Object{"propertyName": "type", "mapping": mapping}
		all["Command."+t.Name()] = schema
	}
	var names []string
	for _, t := range s.All {
		names = append(names, "Command."+t.Name())
	}
	all["Command"] = Object{
		"description": "A request to change one stream. What is posted is held to the members and their form; whether the type " +
			"has the command, and whether the data fits it, is judged once it was accepted, and told as an outcome: unknown_command " +
			"or invalid.",
		"oneOf": oneOfList(names),
	}
}

func oneOfList(names []string) []Object {
	var all []Object
	for _, name := range names {
		all = append(all, Ref(name))
	}
	return all
}

func (s *Types) commandSchema(t aggregate.Type, c aggregate.CommandInfo) Object {
	members := Object{
		"id": Object{
			"$ref": "#/components/schemas/SentID", "description": "The idempotency key and the next ticket; made when it is missing.",
		},
		"stream": Shaped("^"+t.Name()+"/"+StreamIDText+"$", "The stream to change."),
		"type":   Constant(c.Name),
		"ticket": Shaped(SentTicketPattern, `The id of the action that came last on the stream, or "genesis". `+
			`Needed unless a header names it or the policy is any.`),
		"policy": Object{
			"enum": policyList(c.Policies), "default": commands.PolicyTicket.String(), "description": "How the ticket is judged.",
		},
		"session": Object{
			"type": "string", "maxLength": commands.MaxSession, "pattern": LabelPattern,
			"description": "Who is told of the outcome: a secret of the client's, random.",
		},
		"actor": Object{"type": "string", "maxLength": commands.MaxActor, "pattern": LabelPattern, "description": "Who sends it."},
		"data":  dataSchema(t, c),
	}
	schema := Closed(c.Doc, members, "id", "ticket", "policy", "session", "actor", "data")
	schema["title"] = c.Name
	if example := s.examples[Name(t, c.Name)]; example != nil {
		schema["examples"] = []Object{example}
	}
	return schema
}

// dataSchema is the type's own schema for a command's data. One that refers to its own parts, or says which
// draft it is, becomes a resource by itself, so that it goes on meaning what it meant.
func dataSchema(t aggregate.Type, c aggregate.CommandInfo) any {
	if c.Schema == nil {
		return AnyJSON("Its shape is the type's own matter.")
	}
	if !bytes.Contains(c.Schema, []byte(`"$`)) {
		return json.RawMessage(c.Schema)
	}
	var parts map[string]json.RawMessage
	if json.Unmarshal(c.Schema, &parts) != nil {
		return json.RawMessage(c.Schema) // true or false
	}
	if _, named := parts["$id"]; !named {
		parts["$id"] = commands.AppendJSONString(nil, "urn:doorman:"+t.Name()+":"+c.Name)
	}
	return parts
}
