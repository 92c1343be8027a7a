package intake

import (
	"net/http"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/commands/problem"
	"github.com/ticketed/doorman/commands/vetting"
)

// noConditions refuses the headers that can only mean one command.
func noConditions(h http.Header) *problem.Problem {
	for _, name := range [...]string{"Idempotency-Key", "If-Match", "If-None-Match"} {
		if len(h[name]) > 0 {
			return problem.New(commands.Malformed, "an array takes no "+name+": put it into the commands")
		}
	}
	return nil
}

// applyHeaders takes the id, ticket and policy that headers give, and refuses what contradicts the body.
func (it *item) applyHeaders(given commands.Members, h http.Header) {
	if key := h["Idempotency-Key"]; len(key) > 0 {
		it.applyKey(key, given)
	}
	match, noneMatch := h["If-Match"], h["If-None-Match"]
	switch {
	case len(match) == 0 && len(noneMatch) == 0 || it.Refused != nil:
	case len(match) > 0 && len(noneMatch) > 0:
		it.Refuse(commands.Malformed, "If-Match and If-None-Match contradict each other")
	case len(match) > 0:
		tag, err := headers.OneTag(match)
		if err != nil {
			it.Refuse(commands.Malformed, "If-Match: "+err.Error())
			return
		}
		ticket, ok := commands.ParseTicket(tag)
		if !ok {
			it.Refuse(commands.Malformed, "If-Match: the entity tag must be a ticket: the id of an action, which is a UUID, or genesis")
			return
		}
		it.applyStrict("If-Match", ticket, given)
	case len(noneMatch) != 1 || noneMatch[0] != "*":
		it.Refuse(commands.Malformed, "If-None-Match: only * can be asked for, which means that nothing has happened on the stream yet")
	default:
		it.applyStrict("If-None-Match", commands.Genesis, given)
	}
}

// applyKey takes the id from Idempotency-Key, written bare or in quotes.
func (it *item) applyKey(values []string, given commands.Members) {
	text := values[0]
	if len(text) > 2 && text[0] == '"' && text[len(text)-1] == '"' {
		text = text[1 : len(text)-1]
	}
	id, ok := commands.ParseID(text)
	switch {
	case len(values) > 1 || !ok:
		it.Refuse(commands.Malformed, "Idempotency-Key: it must be one UUID, and neither the nil nor the max UUID")
	case given.Has(commands.MemberID) && it.Env.ID != id:
		it.Refuse(commands.Malformed, `Idempotency-Key and "id" contradict each other`)
	default:
		it.Env.ID = id
	}
}

// applyStrict makes the command one under policy strict with the ticket a header names.
func (it *item) applyStrict(header string, ticket commands.ID, given commands.Members) {
	switch {
	case given.Has(commands.MemberPolicy) && it.Env.Policy != commands.PolicyStrict:
		it.Refuse(commands.Malformed, header+` means policy strict and contradicts "policy"`)
	case given.Has(commands.MemberTicket) && it.Env.Ticket != ticket:
		it.Refuse(commands.Malformed, header+` and "ticket" contradict each other`)
	default:
		it.Env.Policy, it.Env.Ticket = commands.PolicyStrict, ticket
	}
}

// traceParent is the trace context of a request that has one, and a valid one.
func traceParent(values []string) string {
	if len(values) != 1 {
		return ""
	}
	return vetting.TraceParent(values[0])
}
