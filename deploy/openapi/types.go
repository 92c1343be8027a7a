package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/chains"
)

// servedTypes are the types of a program with an example request for each of their commands.
type servedTypes struct {
	types    []aggregate.Type
	examples map[string]object // by the name of the command's schema
}

// schemaName is that of a command in components: a dot is in no type's name.
func schemaName(t aggregate.Type, command string) string { return t.Name() + "." + command }

func describeTypes(registry *aggregate.Registry, tried map[string][]chains.Chain) *servedTypes {
	s := &servedTypes{types: registry.Types(), examples: map[string]object{}}
	for _, t := range s.types {
		made := 0
		for _, chain := range tried[t.Name()] {
			ticket := commands.Genesis.String()
			for _, step := range chain {
				made++
				id := exampleID(made)
				name := schemaName(t, step.Info.Name)
				if _, shown := s.examples[name]; !shown {
					s.examples[name] = request(t, &step, id, ticket)
				}
				ticket = id
			}
		}
	}
	return s
}

// exampleID is a UUID of version 7 that anybody sees to be made up.
func exampleID(n int) string { return fmt.Sprintf("01900000-0000-7000-8000-%012d", n) }

// request is an example of what is posted; nil for a command that has no example.
func request(t aggregate.Type, step *chains.Step, id, ticket string) object {
	if step.Data == nil && step.Info.Schema != nil {
		return nil
	}
	r := object{"id": id, "stream": t.Name() + "/42", "type": step.Info.Name, "ticket": ticket, "actor": "Ann"}
	if step.Data != nil {
		r["data"] = json.RawMessage(step.Data)
	}
	return r
}

// tags tell what there is to know of each type.
func (s *servedTypes) tags() []tag {
	var all []tag
	for _, t := range s.types {
		settings := t.Settings()
		all = append(all, tag{tagName(t), fmt.Sprintf("Streams `%s/…`. Policies: %s. A command waits %s for its predecessor; "+
			"under policy session a session keeps its privilege for %s. Commands: %s.", t.Name(), policyNames(settings.Policies),
			settings.ParkFor, settings.SessionWindow, s.commandNames(t))})
	}
	return all
}

// tagName is no other tag's, whatever the type is called.
func tagName(t aggregate.Type) string { return "type " + t.Name() }

func (s *servedTypes) tagNames() []string {
	var names []string
	for _, t := range s.types {
		names = append(names, tagName(t))
	}
	return names
}

func (s *servedTypes) commandNames(t aggregate.Type) string {
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

func (s *servedTypes) names() []string {
	var names []string
	for _, t := range s.types {
		names = append(names, t.Name())
	}
	return names
}

// addSchemas adds Command, which is one command of any type, and what it consists of.
func (s *servedTypes) addSchemas(all object) {
	for _, t := range s.types {
		mapping := object{}
		var names []string
		for _, c := range t.Commands() {
			name := schemaName(t, c.Name)
			names = append(names, name)
			mapping[c.Name] = "#/components/schemas/" + name
			all[name] = s.commandSchema(t, c)
		}
		schema := object{"description": "A command for a stream of type " + t.Name() + ".", "oneOf": oneOfList(names)}
		schema["discriminator"] = object{"propertyName": "type", "mapping": mapping}
		all["Command."+t.Name()] = schema
	}
	var names []string
	for _, t := range s.types {
		names = append(names, "Command."+t.Name())
	}
	all["Command"] = object{
		"description": "A request to change one stream. What is posted is held to the members and their form; whether the type " +
			"has the command, and whether the data fits it, is judged once it was accepted, and told as an outcome: unknown_command " +
			"or invalid.",
		"oneOf": oneOfList(names),
	}
}

func oneOfList(names []string) []object {
	var all []object
	for _, name := range names {
		all = append(all, schemaRef(name))
	}
	return all
}

func (s *servedTypes) commandSchema(t aggregate.Type, c aggregate.CommandInfo) object {
	members := object{
		"id": object{
			"$ref": "#/components/schemas/SentID", "description": "The idempotency key and the next ticket; made when it is missing.",
		},
		"stream": shaped("^"+t.Name()+"/"+streamIDText+"$", "The stream to change."),
		"type":   constant(c.Name),
		"ticket": shaped(sentTicket, `The id of the action that came last on the stream, or "genesis". `+
			`Needed unless a header names it or the policy is any.`),
		"policy": object{
			"enum": policyList(c.Policies), "default": commands.PolicyTicket.String(), "description": "How the ticket is judged.",
		},
		"session": object{
			"type": "string", "maxLength": commands.MaxSession, "pattern": labelPattern,
			"description": "Who is told of the outcome: a secret of the client's, random.",
		},
		"actor": object{"type": "string", "maxLength": commands.MaxActor, "pattern": labelPattern, "description": "Who sends it."},
		"data":  dataSchema(t, c),
	}
	schema := closed(c.Doc, members, "id", "ticket", "policy", "session", "actor", "data")
	schema["title"] = c.Name
	if example := s.examples[schemaName(t, c.Name)]; example != nil {
		schema["examples"] = []object{example}
	}
	return schema
}

// dataSchema is the type's own schema for a command's data. One that refers to its own parts, or says which
// draft it is, becomes a resource by itself, so that it goes on meaning what it meant.
func dataSchema(t aggregate.Type, c aggregate.CommandInfo) any {
	if c.Schema == nil {
		return anyJSON("Its shape is the type's own matter.")
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
