package openapi

import (
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/schemas"
	"github.com/ticketed/doorman/notify/hub"
)

// eventSchemas are the schemas of what notifications carry, by the name of the event.
var eventSchemas = map[string]string{
	commands.PushState: "StateEvent", commands.PushParked: "ParkedEvent", commands.PushLanded: "LandedEvent",
	commands.PushRejected: "Rejected", commands.PushReset: "ResetEvent", commands.PushRefused: "RefusedEvent",
}

func addEventSchemas(all object) {
	all["StateEvent"] = schemas.Closed("A watched stream: what it looks like first, then each time something landed on it.", object{
		"stream": schemas.Ref("Stream"), "version": schemas.Ref("Version"), "ticket": schemas.Ref("Ticket"),
		"state":    schemas.AnyJSON("As its type keeps it, null before the first event; left out with deliver=ticket."),
		"position": schemas.Ref("Position"), "command": schemas.Ref("Actor"), "at": schemas.Ref("Time"),
		"events": object{
			"type": "array", "items": schemas.Ref("Change"), "maxItems": commands.MaxMissed,
			"description": "What happened, the newest ones; empty for a landing without events.",
		},
		"merged": schemas.Whole(2, "How many landings this tells of at once."),
	}, "state", "position", "command", "at", "events", "merged")
	all["ParkedEvent"] = schemas.Closed("An own command waits.", object{
		"id": schemas.Ref("ID"), "stream": schemas.Ref("Stream"), "waits_for": schemas.Ref("ID"), "until": schemas.Ref("Time"),
	})
	all["LandedEvent"] = schemas.Closed("An own command landed.", object{
		"id": schemas.Ref("ID"), "stream": schemas.Ref("Stream"), "version": schemas.Ref("Version"), "ticket": schemas.Ref("ID"),
		"position": schemas.Ref("Position"),
	})
	all["ResetEvent"] = schemas.Closed("What was asked for cannot be gone on from; snapshots follow anew.", object{
		"reason": object{
			"enum":        []commands.ResetReason{commands.ResetEpoch, commands.ResetAhead, commands.ResetTooFar, commands.ResetMalformed},
			"description": "Another history, a position above the head, too long ago, or no position at all.",
		},
	})
	all["RefusedEvent"] = schemas.Closed("A stream that cannot be watched, or with an id what was sent under it and not taken.", object{
		"stream": schemas.Ref("Stream"), "id": schemas.Ref("ID"),
		"code":   object{"enum": []commands.Reason{commands.UnknownType, commands.Failed, commands.IDConflict}},
		"detail": schemas.Text("About this occurrence."),
	}, "id", "detail")
	all["NotificationRequest"] = schemas.Closed("What to watch, for long lists and to keep session ids out of addresses.", object{
		"streams":  schemas.List(watchedStream()),
		"sessions": schemas.List(session()),
		"deliver":  deliver(), "after": schemas.Text("Where to go on: the id of the last mark."),
	}, "streams", "sessions", "deliver", "after")
	var items []object
	for _, event := range schemas.Sorted(eventSchemas) {
		items = append(items, schemas.Closed("", object{
			"event": schemas.Constant(event), "id": schemas.Ref("Position"), "data": schemas.Ref(eventSchemas[event]),
		}, "id"))
	}
	all["Notifications"] = schemas.Closed("What happened since after.", object{
		"after": object{"$ref": "#/components/schemas/Position", "description": "What to ask with next."},
		"items": object{"type": "array", "items": object{"oneOf": items}},
	})
}

func watchedStream() object {
	return schemas.Shaped("^"+schemas.TypeText+"/"+schemas.StreamIDText+"(@(new|0|[1-9][0-9]*))?$",
		"A stream; with @17 what is newer than version 17, with @new a snapshot first.")
}

func session() object {
	return object{"type": "string", "minLength": 1, "maxLength": commands.MaxSession, "pattern": schemas.LabelPattern}
}

func deliver() object {
	return object{"type": "string", "enum": []string{"state", "events", "ticket"}, "default": "state",
		"description": "state: the newest state, landings merged. events: each landing by itself. ticket: only that something changed."}
}

func notificationParameters(l commands.LimitsView) []object {
	return []object{
		repeated("stream", watchedStream(), l.MaxWatched),
		repeated("session", session(), hub.MaxSessions),
		inQuery("deliver", deliver()),
		inQuery("after", schemas.Text("Where to go on: the id of the last mark.")),
		ref("parameters", "LastEventID"), ref("parameters", "Prefer"),
	}
}

func repeated(name string, items object, most int) object {
	return inQuery(name, object{"type": "array", "items": items, "maxItems": most})
}

func getNotifications(l commands.LimitsView) operation {
	responses := refusals(commands.Malformed, commands.NotAcceptable, commands.TooLarge, commands.Unavailable, commands.Internal)
	responses["200"] = notified()
	return operation{
		OperationID: "watch", Summary: "Watch streams and sessions", Tags: []string{"notifications"},
		Description: watching, Parameters: notificationParameters(l), Responses: responses,
	}
}

func postNotifications(l commands.LimitsView) operation {
	op := getNotifications(l)
	op.OperationID, op.Summary = "watchByBody", "Watch streams and sessions named in a body"
	op.Parameters = []object{ref("parameters", "LastEventID"), ref("parameters", "Prefer")}
	op.RequestBody = object{"required": true, "content": object{"application/json": object{"schema": schemas.Ref("NotificationRequest")}}}
	op.Responses["415"] = refusals(commands.UnsupportedMediaType)["415"]
	return op
}

const watching = "Server-sent events for all that a page watches: first a state for each stream, then what follows it, with no window " +
	"between. A session is told of all its own commands: parked, landed, rejected. An id is a low-water mark: reconnecting with it " +
	"(Last-Event-ID or after) can repeat, never skip. With `Accept: application/json`, after and `Prefer: wait=25` the same is answered " +
	"as JSON, a long poll."

// notified is the answer in both its forms. What the events of a stream carry is told by x-event-data, since
// OpenAPI 3.1 has no word for it.
func notified() response {
	data := object{}
	for event, schema := range eventSchemas {
		data[event] = schemas.Ref(schema)
	}
	return response{
		Description: "What is watched, as it happens; or all that there is, as JSON.",
		Headers: object{
			"Cache-Control": ref("headers", "NoStore"), "Preference-Applied": ref("headers", "PreferenceApplied"),
			"X-Accel-Buffering": object{"description": "Tells proxies to pass events on at once.", "schema": schemas.Constant("no")},
		},
		Content: object{
			"text/event-stream": object{"schema": schemas.Text("Events as HTML's server-sent events define them."), "x-event-data": data},
			"application/json":  object{"schema": schemas.Ref("Notifications")},
		},
	}
}
