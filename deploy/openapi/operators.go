package openapi

import (
	"fmt"
	"maps"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/schemas"
)

// BuildOperators makes the document of the operators' API, which is the same whatever types are served.
func BuildOperators() ([]byte, error) {
	headers, parameters := responseHeaders(), parameters()
	doc := document{
		OpenAPI: "3.1.0",
		Info: info{
			Title: "Doorman for operators", Version: "1", Summary: "What waits, and what could not be carried out.",
			Description: "Bodies are JSON objects of strings; who decides and why (`by`, `why`) is kept, and told to whom it concerns. " +
				"Errors are RFC 9457 problems, and programs go by their `code`. Sessions are secrets of their clients, and are not " +
				"shown.\n\n" +
				"There is no password. Pages of other origins are refused, and so is who asks for a host that is no IP address, not " +
				"localhost, has a dot, and is not configured (`admin_hosts`).",
		},
		Servers: []object{{"url": "/"}},
		Tags: []tag{
			{"dead", "Commands that broke the code of their type, frames that could not be read, and messages of other services " +
				"that were refused."},
			{"parked", "Commands that wait for their predecessors."},
			{"program", "What describes this."},
		},
		Paths: map[string]map[string]operation{
			"/admin/v1/dead":               {"get": listDead()},
			"/admin/v1/dead/{n}":           {"get": getDead()},
			"/admin/v1/dead/{n}/retry":     {"post": retryDead()},
			"/admin/v1/dead/{n}/discard":   {"post": discardDead()},
			"/admin/v1/parked":             {"get": listParked()},
			"/admin/v1/parked/{id}":        {"get": getParked()},
			"/admin/v1/parked/{id}/reject": {"post": rejectParked()},
			"/admin/v1/openapi.json":       {"get": getDocument()},
			"/problems/{code}":             {"get": getProblem()},
		},
		Components: components{
			Schemas: operatorSchemas(), Responses: elsewhere(),
			Parameters: object{"IfNoneMatch": parameters["IfNoneMatch"]},
			Headers: object{
				"NoStore": headers["NoStore"], "Revalidate": headers["Revalidate"], "ETag": headers["ETag"],
				"RetryAfter": headers["RetryAfter"], "Allow": headers["Allow"],
			},
		},
	}
	text, err := schemas.Encode(doc)
	if err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	return text, nil
}

// answered are the responses of an operation that answers with a schema.
func answered(schema, description string, more ...commands.Reason) map[string]response {
	usual := []commands.Reason{
		commands.Malformed, commands.Forbidden, commands.NotAcceptable, commands.Internal, commands.Unavailable,
	}
	responses := refusals(append(usual, more...)...)
	responses["200"] = response{
		Description: description, Headers: object{"Cache-Control": ref("headers", "NoStore")}, Content: content(schemas.Ref(schema)),
	}
	return responses
}

// decided are those of one that takes a decision.
func decided(schema, description string, more ...commands.Reason) map[string]response {
	return answered(schema, description, append(more, commands.NotFound, commands.TooLarge, commands.UnsupportedMediaType)...)
}

func decision(schema string) object {
	return object{"required": true, "content": content(schemas.Ref(schema))}
}

func operatorPage(more ...object) []object {
	return append(more, inQuery("after", schemas.Whole(0, "The after of the page before.")), inQuery("limit", between(1, maxPage, 100)))
}

func letterNumber() []object {
	return []object{inPath("n", schemas.Whole(1, "The letter's number."))}
}

func parkedID() []object { return []object{inPath("id", schemas.Ref("SentID"))} }

func choice(usual string, names ...string) object {
	schema := object{"type": "string", "enum": names}
	if usual != "" {
		schema["default"] = usual
	}
	return schema
}

func listDead() operation {
	return operation{
		OperationID: "letters", Summary: "Dead letters, the oldest first", Tags: []string{"dead"},
		Description: "Without what may be large; of a cause there is the beginning.",
		Parameters: operatorPage(inQuery("decision", choice("open", "open", "retried", "discarded", "all")),
			inQuery("origin", choice("", "worker", "amqp"))),
		Responses: answered("Letters", "One page."),
	}
}

func getDead() operation {
	return operation{
		OperationID: "letter", Summary: "One dead letter, whole", Tags: []string{"dead"}, Parameters: letterNumber(),
		Responses: answered("Letter", "The letter.", commands.NotFound),
	}
}

func retryDead() operation {
	return operation{
		OperationID: "retry", Summary: "Send what a dead letter holds again", Tags: []string{"dead"}, Parameters: letterNumber(),
		Description: "A command is sent as a new one, of the same stream, type, data and actor, under an id that belongs to the letter: " +
			"to ask twice does it once. A message of another service is taken in as it came; while it is refused its letter stays open.",
		RequestBody: decision("Retry"),
		Responses: decided("Letter", "It is sent, now or before; `retried` tells where the command stands.",
			commands.AlreadyDecided, commands.NotRetriable, commands.RateLimited, commands.FateUnknown),
	}
}

func discardDead() operation {
	return operation{
		OperationID: "discard", Summary: "Decide that nothing becomes of a dead letter", Tags: []string{"dead"},
		Parameters: letterNumber(), RequestBody: decision("Decision"),
		Responses: decided("Letter", "It is discarded, now or before.", commands.AlreadyDecided),
	}
}

func listParked() operation {
	return operation{
		OperationID: "waiting", Summary: "Commands that wait, in the order of parking", Tags: []string{"parked"},
		Parameters: operatorPage(inQuery("stream", schemas.Ref("Stream"))),
		Responses:  answered("WaitingPage", "One page."),
	}
}

func getParked() operation {
	return operation{
		OperationID: "waitingCommand", Summary: "One command that waits, whole", Tags: []string{"parked"}, Parameters: parkedID(),
		Responses: answered("WaitingWhole", "The command, and what waits on it.", commands.NotFound),
	}
}

func rejectParked() operation {
	responses := decided("Rejected", "It is rejected, now or before.", commands.NotParked, commands.RateLimited, commands.FateUnknown)
	responses["202"] = response{
		Description: "The order was sent, and what becomes of it is not known yet; to give it again does no harm.",
		Headers:     object{"Cache-Control": ref("headers", "NoStore")}, Content: content(schemas.Ref("Parked")),
	}
	return operation{
		OperationID: "reject", Summary: "Reject a command that waits", Tags: []string{"parked"}, Parameters: parkedID(),
		Description: "And with it all that waits on it. Whichever process works its lane does it; the answer waits for that, for up to " +
			"10 seconds.",
		RequestBody: decision("Decision"), Responses: responses,
	}
}

func operatorSchemas() object {
	all := object{}
	schemas.AddWords(all)
	schemas.AddOutcomes(all)
	schemas.AddRefusal(all)
	addStanding(all)
	said := func(most int, description string) object {
		s := schemas.Shaped(schemas.LabelPattern, description)
		s["minLength"], s["maxLength"] = 1, most
		return s
	}
	members := func() object {
		return object{"by": said(commands.MaxActor, "Who decides it."), "why": said(commands.MaxWhy, "Why.")}
	}
	all["Decision"] = schemas.Closed("Who decides it, and why.", members())
	retry := members()
	retry["ticket"] = object{
		"description": "The action to go on after: an id, genesis, or head for the last one; that of the original by default. " +
			"Not for messages.",
		"anyOf": []object{schemas.Constant("head"), schemas.Shaped(schemas.SentTicketPattern, "")},
	}
	all["Retry"] = schemas.Closed("Who decides it, why, and what it follows.", retry, "ticket")
	addWaitingSchemas(all)
	addLetterSchemas(all)
	return all
}

var payloadNames = []string{"data", "data_text", "data_base64"}

// payloadMembers are data that may be anything.
func payloadMembers() object {
	return object{
		"data": schemas.AnyJSON("As it was sent."), "data_text": schemas.Text("Where it is no JSON."),
		"data_base64": object{"type": "string", "contentEncoding": "base64", "description": "Where it is no text."},
	}
}

func addWaitingSchemas(all object) {
	members := func() object {
		return object{
			"id": schemas.Ref("ID"), "stream": schemas.Ref("Stream"), "type": schemas.Text("The command's."),
			"actor": schemas.Text("Who sent it; empty when nobody says."), "waits_for": schemas.Ref("ID"),
			"parked_at": schemas.Ref("Time"), "until": schemas.Ref("Time"),
		}
	}
	all["Waiting"] = schemas.Closed("A command that waits.", members())
	all["WaitingPage"] = pageOf("Commands that wait.", "Waiting")
	whole := members()
	maps.Copy(whole, payloadMembers())
	whole["policy"], whole["received_at"] = policyName(), schemas.Ref("Time")
	whole["waiting"] = schemas.List(schemas.Ref("Waiting"))
	all["WaitingWhole"] = schemas.Closed("A command that waits, and what waits on it, directly or not.", whole, payloadNames...)
}

func policyName() object {
	var names []string
	for _, policy := range commands.Policies() {
		names = append(names, policy.String())
	}
	return choice("", names...)
}

func pageOf(description, item string) object {
	return schemas.Closed(description, object{
		"items": object{"type": "array", "items": schemas.Ref(item), "maxItems": maxPage},
		"after": object{"type": []string{"integer", "null"}, "description": "What to ask for the next page with; null on the last one."},
	})
}

func addLetterSchemas(all object) {
	all["Letters"] = pageOf("Dead letters.", "Letter")
	all["Letter"] = schemas.Closed("A dead letter, of a command, a frame or a message.", object{
		"n": schemas.Whole(1, "Its number."), "at": schemas.Ref("Time"), "origin": choice("", "worker", "amqp"),
		"reason": schemas.Text("The code of what is wrong."), "cause": schemas.Text("For an engineer: the error, the stack."),
		"command": schemas.Ref("FailedCommand"), "frame": schemas.Ref("Frame"), "message": schemas.Ref("Message"),
		"decision": object{"oneOf": []object{schemas.Ref("Decided"), {"type": "null"}}, "description": "null while it is open."},
		"retried":  schemas.OneOf("Unknown", "Parked", "Landed", "Rejected"),
	}, "command", "frame", "message", "retried")
	command := object{
		"id": schemas.Ref("ID"), "stream": schemas.Ref("Stream"), "type": schemas.Text("The command's."), "ticket": schemas.Ref("Ticket"),
		"policy": policyName(), "actor": schemas.Text("Who sent it; empty when nobody says."), "received_at": schemas.Ref("Time"),
	}
	maps.Copy(command, payloadMembers())
	all["FailedCommand"] = schemas.Closed("A command on which the code of its type broke.", command, append(payloadNames, "ticket")...)
	all["Frame"] = schemas.Closed("A message on a lane that could not be read, or held an order that could not be carried out.", object{
		"size":   schemas.Whole(1, "Bytes."),
		"base64": object{"type": "string", "contentEncoding": "base64"},
	}, "size", "base64")
	message := payloadMembers()
	message["size"] = schemas.Whole(0, "Bytes of the body, of which the first MiB is kept.")
	message["properties"] = object{"type": "object", "description": "The headers, and what other properties there were."}
	optional := append([]string{"properties"}, payloadNames...)
	for _, name := range []string{
		"content_type", "content_encoding", "message_id", "correlation_id", "reply_to", "user_id", "exchange", "routing_key",
	} {
		message[name] = schemas.Text("As AMQP has it.")
		optional = append(optional, name)
	}
	all["Message"] = schemas.Closed("A message of another service that was refused, without sessions.", message, optional...)
	all["Decided"] = schemas.Closed("What became of it.", object{
		"resolution": choice("", "retried", "discarded"), "at": schemas.Ref("Time"), "by": schemas.Text("Who decided it."),
		"why": schemas.Text("Why."), "retried_as": schemas.Ref("ID"),
	}, "retried_as")
}
