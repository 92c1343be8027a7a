package openapi

import (
	"maps"
	"net/http"
	"slices"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
	"github.com/ticketed/doorman/deploy/schemas"
)

const jsonType = "application/json"

func content(schema object) object { return object{jsonType: object{"schema": schema}} }

func postCommands(types *schemas.Types, l commands.LimitsView) operation {
	array := func(items object) object {
		return object{"type": "array", "items": items, "minItems": 1, "maxItems": l.MaxArray}
	}
	named := object{}
	for _, t := range types.All {
		for _, c := range t.Commands() {
			if example := types.Example(t, c.Name); example != nil {
				named[schemas.Name(t, c.Name)] = object{"summary": c.Doc, "value": example}
			}
		}
	}
	body := object{"schema": object{"oneOf": []object{schemas.Ref("Command"), array(schemas.Ref("Command"))}}}
	if len(named) > 0 {
		body["examples"] = named
	}
	return operation{
		OperationID: "send", Summary: "Send a command, or an array of them",
		Description: "202 means durable: each command will end in exactly one outcome. With `Prefer: wait` the outcome itself is " +
			"answered when it is known in time. An array is taken in its order and is not atomic; it takes no Idempotency-Key, If-Match " +
			"or If-None-Match.",
		Tags: slices.Concat([]string{"commands"}, tagNames(types)),
		Parameters: []object{
			ref("parameters", "Prefer"), ref("parameters", "IdempotencyKey"), ref("parameters", "IfMatch"),
			ref("parameters", "IfNothingYet"), ref("parameters", "Traceparent"),
		},
		RequestBody: object{"required": true, "content": object{jsonType: body}},
		Responses:   sent(array),
	}
}

// sent are the responses to what was sent.
func sent(array func(object) object) map[string]response {
	responses := problems([]commands.Reason{
		commands.Malformed, commands.PolicyForbidden, commands.UnknownType, commands.TooLarge, commands.UnsupportedMediaType,
		commands.IDConflict, commands.TicketRequired, commands.RateLimited, commands.Internal, commands.Unavailable, commands.FateUnknown,
	}, schemas.Rejections)
	// Those that an array can end with when none of it was accepted.
	for _, status := range []string{"400", "403", "404", "409", "422", "428", "429", "503"} {
		r := responses[status]
		r.Description += "\n\nFor an array of which nothing was accepted: the status of its first problem, and all problems in its order."
		r.Content = maps.Clone(r.Content)
		r.Content[jsonType] = object{"schema": array(schemas.Ref("Refusal"))}
		r.Headers = maps.Clone(r.Headers)
		if status != "429" && status != "503" {
			r.Headers["Retry-After"] = ref("headers", "RetrySome")
		}
		responses[status] = r
	}
	responses["408"] = response{
		Description: "- `malformed`: the body did not come to its end in time. Nothing was read; send it again.",
		Headers:     headersOf(http.StatusRequestTimeout),
		Content: object{problem.ContentType: object{
			"schema": narrowed("Refusal", http.StatusRequestTimeout, []commands.Reason{commands.Malformed}),
		}},
	}
	waitedFor(responses, "400", "403", "404", "409", "412", "422", "428", "429", "500", "503")
	some := object{
		"Cache-Control": ref("headers", "NoStore"), "Preference-Applied": ref("headers", "PreferenceApplied"),
		"Retry-After": ref("headers", "RetrySome"),
	}
	responses["200"] = response{
		Description: "With `Prefer: wait`: the command landed in time; of an array, all are settled, each with its outcome or problem.",
		Headers:     some,
		Content:     content(object{"oneOf": []object{schemas.Ref("Landed"), array(schemas.OneOf("Landed", "Rejection", "Refusal"))}}),
	}
	some = maps.Clone(some)
	some["Location"] = ref("headers", "Location")
	responses["202"] = response{
		Description: "Accepted, and durable. Of an array, at least one was, and each item tells its own status or problem.",
		Headers:     some,
		Content: content(object{
			"oneOf": []object{schemas.Ref("Accepted"), array(schemas.OneOf("Accepted", "Landed", "Rejection", "Refusal"))},
		}),
	}
	return responses
}

// cannotRead are the reasons with which anything that is read may be refused.
func cannotRead(more ...commands.Reason) map[string]response {
	usual := []commands.Reason{commands.Malformed, commands.NotAcceptable, commands.Internal, commands.Unavailable}
	return refusals(append(usual, more...)...)
}

// waitedFor are responses that may come after the wait that was asked for.
func waitedFor(responses map[string]response, statuses ...string) {
	for _, status := range statuses {
		r := responses[status]
		r.Headers = maps.Clone(r.Headers)
		r.Headers["Preference-Applied"] = ref("headers", "PreferenceApplied")
		responses[status] = r
	}
}

func getCommand() operation {
	responses := cannotRead(commands.NotFound)
	responses["200"] = response{
		Description: "Where it stands.", Headers: object{"Cache-Control": ref("headers", "NoStore")},
		Content: content(schemas.OneOf("Parked", "Landed", "Rejected")),
	}
	waitedFor(responses, "200", "404", "500", "503")
	return operation{
		OperationID: "command", Summary: "Where a command stands", Tags: []string{"commands"},
		Description: "With `Prefer: wait` it waits for the outcome, also of a command that nothing is known of yet.",
		Parameters:  []object{inPath("id", schemas.Ref("SentID")), ref("parameters", "Prefer")},
		Responses:   responses,
	}
}

const maxIDs = 256 // DESIGN section 3

func getCommands() operation {
	ids := inQuery("id", object{"type": "array", "items": schemas.Ref("SentID"), "minItems": 1, "maxItems": maxIDs})
	ids["required"] = true
	responses := cannotRead()
	responses["200"] = response{
		Description: "Where they stand, in the order asked.", Headers: object{"Cache-Control": ref("headers", "NoStore")},
		Content: content(object{
			"type": "array", "items": schemas.OneOf("Unknown", "Parked", "Landed", "Rejected"), "minItems": 1, "maxItems": maxIDs,
		}),
	}
	return operation{
		OperationID: "commands", Summary: "Where several commands stand", Tags: []string{"commands"},
		Parameters: []object{ids}, Responses: responses,
	}
}

func ofStream(types *schemas.Types) []object {
	return []object{
		inPath("type", object{"enum": types.Names(), "description": "The stream's type."}),
		inPath("id", schemas.Shaped("^"+schemas.StreamIDText+"$", "The stream's id.")),
	}
}

func revalidated() object {
	return object{"Cache-Control": ref("headers", "Revalidate"), "ETag": ref("headers", "ETag")}
}

func getStream(types *schemas.Types) operation {
	responses := cannotRead(commands.Failed, commands.NotFound, commands.UnknownType)
	responses["200"] = response{Description: "The stream.", Headers: revalidated(), Content: content(schemas.Ref("StreamState"))}
	responses["304"] = response{Description: "The client has what there is.", Headers: revalidated()}
	waitedFor(responses, "200", "304", "404", "500", "503")
	// A state that cannot be told is found out after its tag.
	for _, status := range []string{"500", "503"} {
		responses[status].Headers["ETag"] = object{"description": "The tag of what could not be told.", "schema": object{"type": "string"}}
	}
	return operation{
		OperationID: "stream", Summary: "A stream's state, and the ticket to send next",
		Description: "With If-None-Match and `Prefer: wait` it waits for a change first (long poll). Before the first event there is no " +
			"state: 404 not_found with the ticket to start with.",
		Tags: slices.Concat([]string{"streams"}, tagNames(types)),
		Parameters: slices.Concat(ofStream(types), []object{
			inQuery("version", schemas.Whole(0, "The state as of then.")), ref("parameters", "IfNoneMatch"), ref("parameters", "Prefer"),
		}),
		Responses: responses,
	}
}

const maxPage = 1000 // entries of a page; 100 unless it is asked for

func getChanges(types *schemas.Types) operation {
	responses := cannotRead(commands.NotFound, commands.UnknownType)
	responses["200"] = response{
		Description: "Changes by version. A full page never changes.", Headers: revalidated(),
		Content: content(object{"type": "array", "items": schemas.Ref("Change"), "maxItems": maxPage}),
	}
	responses["304"] = response{Description: "The client has what there is.", Headers: revalidated()}
	for _, status := range []string{"500", "503"} {
		responses[status].Headers["ETag"] = object{"description": "The tag of what could not be told.", "schema": object{"type": "string"}}
	}
	return operation{
		OperationID: "changes", Summary: "A stream's changelog", Tags: slices.Concat([]string{"streams"}, tagNames(types)),
		Parameters: slices.Concat(ofStream(types), []object{
			inQuery("after", schemas.Whole(0, "The version to go on after.")), inQuery("limit", between(1, maxPage, 100)),
			ref("parameters", "IfNoneMatch"),
		}),
		Responses: responses,
	}
}

func between(least, most, usual int) object {
	return object{"type": "integer", "minimum": least, "maximum": most, "default": usual}
}

func getStreams(types *schemas.Types) operation {
	responses := cannotRead(commands.NotFound, commands.UnknownType)
	responses["200"] = response{Description: "One page.", Headers: revalidated(), Content: content(schemas.Ref("Streams"))}
	responses["304"] = response{Description: "The client has what there is.", Headers: revalidated()}
	return operation{
		OperationID: "streams", Summary: "The catalogue of streams, the one that changed last first", Tags: []string{"streams"},
		Description: "From a read model, which follows the log: its ETag is the position up to which it is true. A stream is in it " +
			"from its first event on.",
		Parameters: []object{
			inQuery("type", object{"enum": types.Names(), "description": "Streams of this type alone."}),
			inQuery("after", schemas.Text("The after of the page before.")), inQuery("limit", between(1, maxPage, 100)),
			ref("parameters", "IfNoneMatch"),
		},
		Responses: responses,
	}
}

func getLimits() operation {
	responses := refusals(commands.Malformed, commands.NotAcceptable)
	responses["200"] = response{
		Description: "The limits.", Headers: object{"Cache-Control": ref("headers", "Revalidate")}, Content: content(schemas.Ref("Limits")),
	}
	return operation{OperationID: "limits", Summary: "The bounds that are kept here", Tags: []string{"program"}, Responses: responses}
}

func getLive() operation {
	return operation{
		OperationID: "live", Summary: "Whether the program lives", Tags: []string{"program"},
		Responses: map[string]response{"200": {
			Description: "It does.", Headers: object{"Cache-Control": ref("headers", "NoStore")},
			Content: content(schemas.Closed("", object{"status": schemas.Constant("live")})),
		}},
	}
}

func getReady() operation {
	responses := refusals(commands.Unavailable)
	responses["503"].Content[problem.ContentType] = object{"schema": narrowed("Unready", 503, []commands.Reason{commands.Unavailable})}
	responses["200"] = response{
		Description: "It is.", Headers: object{"Cache-Control": ref("headers", "NoStore")},
		Content: content(schemas.Closed("", object{
			"status": schemas.Constant("ready"),
			"degraded": schemas.List(schemas.Closed("A part that commands are taken without.",
				object{"part": schemas.Text("What is not as it should be."), "detail": schemas.Text("What is wrong with it.")})),
		}, "degraded")),
	}
	return operation{
		OperationID: "ready", Summary: "Whether the program is ready to serve", Tags: []string{"program"}, Responses: responses,
	}
}

func getDocument() operation {
	return described("document", "This document", "OpenAPI 3.1.")
}

func getMessages() operation {
	return described("messages", "What goes over RabbitMQ", "AsyncAPI 3.0: what other services send and are told over RabbitMQ.")
}

// described is how a document is told.
func described(id, summary, format string) operation {
	return operation{
		OperationID: id, Summary: summary, Tags: []string{"program"},
		Parameters: []object{ref("parameters", "IfNoneMatch")},
		Responses: map[string]response{
			"200": {Description: format, Headers: revalidated(), Content: content(object{"type": "object"})},
			"304": {Description: "The client has it.", Headers: revalidated()},
		},
	}
}

func getProblem() operation {
	responses := refusals(commands.NotFound)
	responses["200"] = response{
		Description: "The code, what it means, and its HTTP status.",
		Headers:     object{"Cache-Control": object{"required": true, "schema": schemas.Constant("public, max-age=86400")}},
		Content:     object{"text/plain": object{"schema": object{"type": "string"}}},
	}
	return operation{
		OperationID: "problem", Summary: "What a problem's code means", Tags: []string{"program"},
		Parameters: []object{inPath("code", schemas.Shaped("^[a-z_]+$", "The code."))}, Responses: responses,
	}
}

func getPage() operation {
	return operation{
		OperationID: "page", Summary: "What this server is, for people", Tags: []string{"program"},
		Responses: map[string]response{"200": {
			Description: "A page with a request to try for each command; plain text for who does not take HTML.",
			Headers: object{
				"Cache-Control":           ref("headers", "NoStore"),
				"Content-Security-Policy": object{"schema": schemas.Text("With HTML: nothing but the page itself.")},
			},
			Content: object{
				"text/html": object{"schema": object{"type": "string"}}, "text/plain": object{"schema": object{"type": "string"}},
			},
		}},
	}
}
