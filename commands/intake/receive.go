package intake

import (
	"net/http"
	"strings"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/commands/problem"
)

// receive reads a request and checks all of it. What it returns refuses the request as a whole; what is
// wrong with one command is noted with that.
func (in *Intake) receive(req *request, r *http.Request) *problem.Problem {
	req.began = in.config.Now()
	if refused := in.hold(req, overhead); refused != nil {
		return refused
	}
	req.wait, req.waiting = headers.Wait(r.Header["Prefer"])
	if r.URL.RawQuery != "" {
		return problem.New(commands.Malformed, "this address takes no query parameters")
	}
	if refused := checkContent(r.Header); refused != nil {
		return refused
	}
	if refused := in.readBody(req, r); refused != nil {
		return refused
	}
	decoded, err := commands.DecodeRequest(req.body, in.config.Limits)
	if err != nil {
		return problem.From(err)
	}
	if refused := in.takeUp(req, &decoded, r.Header); refused != nil {
		return refused
	}
	for _, it := range req.items {
		if it.refused == nil {
			in.check(it)
		}
	}
	if req.array {
		req.refuseConflicts()
		req.refuseSuccessors()
	}
	return nil
}

// refuseConflicts refuses those whose id an earlier command of the same array has, when they are not the
// same command: lanes are worked side by side, so only here is known which came first.
func (req *request) refuseConflicts() {
	first := make(map[commands.ID]*item, len(req.items))
	for _, it := range req.items {
		if it.refused != nil {
			continue
		}
		earlier, taken := first[it.env.ID]
		switch {
		case !taken:
			first[it.env.ID] = it
		case earlier.env.Command.Hash() != it.env.Command.Hash():
			it.refuse(commands.IDConflict, conflictDetail)
		}
	}
}

func checkContent(h http.Header) *problem.Problem {
	if !headers.SendsJSON(h["Content-Type"]) {
		return problem.New(commands.UnsupportedMediaType, "a command is sent with Content-Type: application/json, in UTF-8")
	}
	for _, encoding := range h["Content-Encoding"] {
		if encoding != "" && !strings.EqualFold(encoding, "identity") {
			return problem.New(commands.UnsupportedMediaType, "a body is taken without Content-Encoding only")
		}
	}
	return nil
}

// takeUp makes an item of every command, with what the headers say about it.
func (in *Intake) takeUp(req *request, decoded *commands.Request, h http.Header) *problem.Problem {
	if decoded.Array {
		if refused := noConditions(h); refused != nil {
			return refused
		}
	}
	req.array = decoded.Array
	req.use(len(decoded.Items))
	trace := traceParent(h["Traceparent"])
	for i := range decoded.Items {
		it, read := req.items[i], &decoded.Items[i]
		it.env.Command, it.env.TraceParent = read.Command, trace
		if read.Err != nil {
			it.refused = problem.From(read.Err)
			it.refused.ID, it.refused.Stream = read.Command.ID, read.Command.Stream
		}
	}
	if it := req.items[0]; !req.array && it.refused == nil {
		it.applyHeaders(decoded.Items[0].Members, h)
	}
	return nil
}

// check holds a command against the type it is for.
func (in *Intake) check(it *item) {
	c := &it.env.Command
	known, allowed := in.config.Allows(c.Stream.Type, c.Policy, c.Type)
	switch {
	case !known:
		it.refuse(commands.UnknownType, "no streams of the type "+c.Stream.Type+" are kept here")
	case !allowed:
		it.refuse(commands.PolicyForbidden, "the type "+c.Stream.Type+" does not allow policy "+c.Policy.String()+" for "+c.Type)
		it.refused.Allowed = in.policies(c)
	case c.Ticket == commands.None && c.Policy != commands.PolicyAny:
		it.refuse(commands.TicketRequired, "policy "+c.Policy.String()+
			" needs a ticket: the id of the action that came last on the stream, or genesis")
	case c.ID == commands.None:
		c.ID = in.config.NewID()
	}
}

// policies are the names of those that the type allows for the command.
func (in *Intake) policies(c *commands.Command) []string {
	names := []string{}
	for _, policy := range commands.Policies() {
		if _, allowed := in.config.Allows(c.Stream.Type, policy, c.Type); allowed {
			names = append(names, policy.String())
		}
	}
	return names
}

// refuseSuccessors refuses what follows, directly or not, a command of the same array that is refused.
func (req *request) refuseSuccessors() {
	var last []*item // refused, their successors not looked for yet
	for _, it := range req.items {
		// The id of a conflict names the earlier command, which is not refused: what follows it is judged
		// by what becomes of that one. So it is also where the earlier command is one of another request,
		// which is found out only once all of this array has been handed over: what names the id is
		// accepted then, and comes to the outcome that the command which has the id gives it.
		if it.refused != nil && it.env.ID != commands.None && it.refused.Code != commands.IDConflict {
			last = append(last, it)
		}
	}
	for len(last) > 0 {
		predecessor := last[0]
		last = last[1:]
		for _, it := range req.items {
			if it.refused == nil && it.env.Ticket == predecessor.env.ID {
				it.refuse(commands.PredecessorRefused,
					"its ticket names a command of this array that was refused: "+string(predecessor.refused.Code))
				last = append(last, it)
			}
		}
	}
}
