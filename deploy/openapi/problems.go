package openapi

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// rejected are the reasons of outcomes; all others are refusals.
var rejected = []commands.Reason{
	commands.SelfTicket, commands.StaleTicket, commands.PredecessorRejected, commands.PredecessorMissing, commands.TicketCycle,
	commands.ParkingFull, commands.TicketNotCurrent, commands.RejectedByOperator, commands.UnknownCommand, commands.Invalid,
	commands.Refused, commands.Failed,
}

func rejections() []string {
	var names []string
	for _, r := range rejected {
		names = append(names, string(r))
	}
	slices.Sort(names)
	return names
}

func addProblemSchemas(all object) {
	common := func() object {
		return object{
			"type":     shaped("^"+problem.TypePrefix+"[a-z_]+$", "Where the code is explained."),
			"title":    text("The code's own, always the same."),
			"status":   whole(400, "The HTTP status."),
			"detail":   text("About this occurrence."),
			"instance": shaped("^/v1/commands/", "Where the command's status is found."),
			"code":     text("What programs go by."),
		}
	}
	members := common()
	maps.Copy(members, object{
		"pointer":     text("JSON pointer to what is wrong in the body."),
		"offset":      whole(0, "Where that is, in bytes."),
		"allowed":     object{"type": "array", "items": object{"type": "string"}, "description": "The policies or methods that are."},
		"retry_after": whole(1, "Seconds to wait before trying again."),
		"id":          schemaRef("ID"), "stream": schemaRef("Stream"), "ticket": schemaRef("Ticket"),
	})
	optional := []string{"detail", "instance", "pointer", "offset", "allowed", "retry_after", "id", "stream", "ticket"}
	refusal := closed("Nothing was accepted or found, and nothing is remembered (RFC 9457).", members, optional...)
	refusal["dependentRequired"] = object{"pointer": []string{"offset"}, "offset": []string{"pointer"}}
	all["Refusal"] = refusal

	members = common()
	maps.Copy(members, rejectionMembers())
	all["Rejection"] = closed("The outcome of a command that was turned away (RFC 9457).", members, "refusal", "state", "missed")

	unready := maps.Clone(refusal)
	properties := maps.Clone(refusal["properties"].(object))
	properties["missing"] = list(closed("", object{"part": text("What is not ready."), "detail": text("What is wrong with it.")}))
	unready["properties"] = properties
	unready["required"] = append(slices.Clone(refusal["required"].([]string)), "missing")
	unready["description"] = "What the program is not ready for (RFC 9457)."
	all["Unready"] = unready
}

// refusals are the responses of an operation for the reasons it may refuse with, by status.
func refusals(reasons ...commands.Reason) map[string]response {
	return problems(reasons, nil)
}

// problems are the responses for reasons to refuse and to reject.
func problems(refused, turnedAway []commands.Reason) map[string]response {
	all := map[string]response{}
	for _, r := range append(slices.Clone(refused), turnedAway...) {
		status := strconv.Itoa(r.Status())
		if _, done := all[status]; done {
			continue
		}
		var shapes []object
		var why []commands.Reason
		for _, group := range []struct {
			schema  string
			reasons []commands.Reason
		}{{"Refusal", refused}, {"Rejection", turnedAway}} {
			if codes := withStatus(group.reasons, r.Status()); len(codes) > 0 {
				shapes = append(shapes, narrowed(group.schema, r.Status(), codes))
				why = append(why, codes...)
			}
		}
		schema := shapes[0]
		if len(shapes) > 1 {
			schema = object{"oneOf": shapes}
		}
		all[status] = response{
			Description: describe(why), Headers: headersOf(r.Status()),
			Content: object{problem.ContentType: object{"schema": schema}},
		}
	}
	return all
}

func withStatus(reasons []commands.Reason, status int) []commands.Reason {
	var some []commands.Reason
	for _, r := range reasons {
		if r.Status() == status {
			some = append(some, r)
		}
	}
	return some
}

// narrowed is a problem's schema with some codes only.
func narrowed(schema string, status int, codes []commands.Reason) object {
	s := schemaRef(schema)
	s["properties"] = object{"code": object{"enum": codes}, "status": constant(status)}
	return s
}

// describe lists codes with their titles, in CommonMark.
func describe(codes []commands.Reason) string {
	lines := make([]string, len(codes))
	for i, code := range codes {
		lines[i] = "- `" + string(code) + "`: " + code.Title() + "."
	}
	return strings.Join(lines, "\n")
}

// headersOf are the headers of a problem.
func headersOf(status int) object {
	h := object{"Cache-Control": ref("headers", "NoStore")}
	switch status {
	case 429, 503:
		h["Retry-After"] = ref("headers", "RetryAfter")
	case 405:
		h["Allow"] = ref("headers", "Allow")
	}
	return h
}

// elsewhere are the responses to what no operation takes.
func elsewhere() map[string]response {
	all := refusals(commands.MethodNotAllowed, commands.NotFound)
	return map[string]response{"MethodNotAllowed": all["405"], "NoSuchAddress": all["404"]}
}
