package vetting

import (
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// Rules are what is the same for all commands of a gateway. They are used from many goroutines.
type Rules struct {
	// Allows tells whether a stream type is served, and whether its command may be sent with the policy.
	Allows func(streamType string, policy commands.Policy, command string) (known, allowed bool)
	// Limits bound a body.
	Limits commands.BodyLimits
	// NewID makes the ids of commands that were sent without one.
	NewID func() commands.ID
}

// Entry is one command on its way to being accepted.
type Entry struct {
	Env     commands.Envelope
	Refused *problem.Problem // why it is not accepted; nil while nothing speaks against it
}

// ConflictDetail says of an id that it is taken.
const ConflictDetail = "another command was sent with this id before: another stream, type, ticket or policy, or other bytes of data"

// Decode reads a body. What it returns besides refuses the whole of it; what is wrong with one command is noted
// with that. The commands share the body's memory.
func (r *Rules) Decode(body []byte) (commands.Request, *problem.Problem) {
	read, err := commands.DecodeRequest(body, r.Limits)
	if err != nil {
		return commands.Request{}, problem.From(err)
	}
	return read, nil
}

// Read takes a command as it was read, or what is wrong with it.
func (e *Entry) Read(item *commands.Item) {
	e.Env.Command = item.Command
	if item.Err != nil {
		e.Refused = problem.From(item.Err)
		e.Refused.ID, e.Refused.Stream = item.Command.ID, item.Command.Stream
	}
}

// Refuse notes why the command is not accepted.
func (e *Entry) Refuse(code commands.Reason, detail string) {
	e.Refused = problem.New(code, detail)
	e.Refused.ID, e.Refused.Stream = e.Env.ID, e.Env.Stream
}

// Seal makes the envelope of a command that is accepted at the given moment. Where it goes and what it belongs to
// stays as noted.
func (e *Entry) Seal(at time.Time) {
	noted := &e.Env
	env := commands.Seal(noted.Command, at)
	env.ReplyTo, env.CorrelationID, env.TraceParent = noted.ReplyTo, noted.CorrelationID, noted.TraceParent
	e.Env = env
}

// Check holds one command against the type it is for, and gives it an id when it has none.
func (r *Rules) Check(e *Entry) {
	c := &e.Env.Command
	known, allowed := r.Allows(c.Stream.Type, c.Policy, c.Type)
	switch {
	case !known:
		e.Refuse(commands.UnknownType, "no streams of the type "+c.Stream.Type+" are kept here")
	case !allowed:
		e.Refuse(commands.PolicyForbidden, "the type "+c.Stream.Type+" does not allow policy "+c.Policy.String()+" for "+c.Type)
		e.Refused.Allowed = r.policies(c)
	case c.Ticket == commands.None && c.Policy != commands.PolicyAny:
		e.Refuse(commands.TicketRequired, "policy "+c.Policy.String()+
			" needs a ticket: the id of the action that came last on the stream, or genesis")
	case c.ID == commands.None:
		c.ID = r.NewID()
	}
}

// policies are the names of those that the type allows for the command.
func (r *Rules) policies(c *commands.Command) []string {
	names := []string{}
	for _, policy := range commands.Policies() {
		if _, allowed := r.Allows(c.Stream.Type, policy, c.Type); allowed {
			names = append(names, policy.String())
		}
	}
	return names
}
