package openapi

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
	"github.com/ticketed/doorman/deploy/schemas"
)

func addProblemSchemas(all object) {
	schemas.AddRefusal(all)
	schemas.AddRejection(all)
	refusal := all["Refusal"].(object) //nolint:forcetypeassert // as it was just added
	unready := maps.Clone(refusal)
	properties := maps.Clone(refusal["properties"].(object))
	properties["missing"] = schemas.List(schemas.Closed("", object{
		"part": schemas.Text("What is not ready."), "detail": schemas.Text("What is wrong with it."),
	}))
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
	s := schemas.Ref(schema)
	s["properties"] = object{"code": object{"enum": codes}, "status": schemas.Constant(status)}
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
