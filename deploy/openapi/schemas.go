package openapi

import (
	"github.com/ticketed/doorman/commands"
)

// The texts that schemas hold values to. They are written for RE2 and ECMA-262 alike.
const (
	idPattern       = `^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`
	sentIDPattern   = `^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$`
	ticketPattern   = `^(genesis|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$`
	sentTicket      = `^(genesis|[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12})$`
	streamIDText    = `[A-Za-z0-9][A-Za-z0-9._:-]{0,127}`
	typeText        = `[a-z][a-z0-9_-]{0,127}`
	positionPattern = `^[A-Za-z0-9]+-(0|[1-9][0-9]*)$`
	timePattern     = `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	labelPattern    = `^[^\x00-\x1f\x7f-\x9f]*$`
)

func text(description string) object { return object{"type": "string", "description": description} }

func shaped(pattern, description string) object {
	return object{"type": "string", "pattern": pattern, "description": description}
}

func whole(least int, description string) object {
	return object{"type": "integer", "minimum": least, "description": description}
}

func seconds() object { return object{"type": "integer", "minimum": 1} }

func constant(value any) object { return object{"const": value} }

// closed is the schema of an object that has these members and no others. Those named are optional.
func closed(description string, members object, optional ...string) object {
	may := map[string]bool{}
	for _, name := range optional {
		may[name] = true
	}
	var required []string
	for _, name := range sorted(members) {
		if !may[name] {
			required = append(required, name)
		}
	}
	s := object{"type": "object", "additionalProperties": false, "properties": members}
	if description != "" {
		s["description"] = description
	}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

func list(items object) object { return object{"type": "array", "items": items} }

func oneOf(names ...string) object {
	var all []object
	for _, name := range names {
		all = append(all, schemaRef(name))
	}
	if len(all) == 1 {
		return all[0]
	}
	return object{"oneOf": all}
}

// anyJSON is a value whose shape is the type's own matter.
func anyJSON(description string) object { return object{"description": description} }

func schemas() object {
	all := object{
		"ID":       shaped(idPattern, "A command's id: a UUID in lower case."),
		"SentID":   shaped(sentIDPattern, "A command's id: a UUID, neither the nil nor the max one; version 7 is best."),
		"Ticket":   shaped(ticketPattern, `The id of the action that came last on the stream, or "genesis".`),
		"Stream":   shaped("^"+typeText+"/"+streamIDText+"$", "A stream's name: type/id."),
		"Position": shaped(positionPattern, "A place in the log: <epoch>-<n>."),
		"Time":     shaped(timePattern, "RFC 3339 in UTC, whole microseconds."),
		"Version":  whole(0, "How many events a stream has had."),
		"Reason":   object{"type": "string", "enum": rejections(), "description": "Why a command was rejected."},
	}
	addCommandSchemas(all)
	addProblemSchemas(all)
	addStreamSchemas(all)
	addEventSchemas(all)
	all["Limits"] = closed("The bounds that are kept here.", object{
		"max_array":          whole(1, "Commands in one POST."),
		"max_body":           whole(1, "Bytes of a body."),
		"max_depth":          whole(1, "Nested arrays and objects."),
		"max_watched":        whole(1, "Streams watched by one connection."),
		"parked_per_stream":  whole(1, "Commands that may wait on one stream."),
		"parked_per_session": whole(1, "Commands of one session that may wait."),
		"parked":             whole(1, "Commands that may wait in all."),
		"park_seconds":       whole(1, "How long a command waits, unless its type says otherwise."),
	})
	return all
}

func addCommandSchemas(all object) {
	all["Accepted"] = closed("Durable: it will end in exactly one outcome.", object{
		"id": schemaRef("ID"), "stream": schemaRef("Stream"), "status": constant("accepted"),
	})
	all["Unknown"] = closed("Nothing is known of it, or not yet.", object{"id": schemaRef("ID"), "status": constant("unknown")})
	all["Parked"] = closed("It waits for its predecessor.", object{
		"id": schemaRef("ID"), "stream": schemaRef("Stream"), "type": text("The command's."), "status": constant("parked"),
		"waits_for": schemaRef("ID"), "until": schemaRef("Time"),
	})
	all["Landed"] = closed("It happened.", object{
		"id": schemaRef("ID"), "stream": schemaRef("Stream"), "type": text("The command's."), "status": constant("landed"),
		"position": schemaRef("Position"), "version": schemaRef("Version"), "ticket": schemaRef("ID"),
	})
	members := rejectionMembers()
	members["type"] = text("The command's.")
	members["status"] = constant("rejected")
	members["detail"] = text("One sentence for a person.")
	all["Rejected"] = closed("It was turned away, for ever.", members, "refusal", "state", "missed")
	all["Actor"] = closed("The command behind a change, as everybody may see it.", object{
		"id": schemaRef("ID"), "type": text("The command's."), "actor": text("Who sent it; empty when nobody says."),
		"override": object{"const": true, "description": "Let in by policy any, its ticket unchecked."},
	}, "override")
	all["Change"] = closed("One entry of a stream's changelog.", object{
		"version": whole(1, "The stream's, after it."), "position": schemaRef("Position"), "type": text("The event's."),
		"data": anyJSON("The event's."), "command": schemaRef("Actor"), "at": schemaRef("Time"),
	})
}

// rejectionMembers are what every telling of a rejection has.
func rejectionMembers() object {
	return object{
		"id": schemaRef("ID"), "stream": schemaRef("Stream"), "position": schemaRef("Position"),
		"version": schemaRef("Version"), "ticket": schemaRef("Ticket"),
		"reason":      schemaRef("Reason"),
		"refusal":     text("The type's own code, where the reason is refused."),
		"root":        schemaRef("ID"),
		"root_reason": schemaRef("Reason"),
		"state":       anyJSON("The stream's now, null before its first event; not told of what was rejected together with its root."),
		"missed": object{
			"type": "array", "items": schemaRef("Change"), "maxItems": commands.MaxMissed,
			"description": "What happened since the ticket it came with, the newest changes, oldest first.",
		},
	}
}

func addStreamSchemas(all object) {
	about := func() object {
		return object{
			"stream": schemaRef("Stream"), "version": whole(1, "How many events it has had."), "ticket": schemaRef("ID"),
			"at": schemaRef("Time"), "position": schemaRef("Position"),
		}
	}
	members := about()
	members["state"] = anyJSON("As its type keeps it.")
	members["position"] = object{"$ref": "#/components/schemas/Position", "description": "Where to go on with notifications."}
	all["StreamState"] = closed("A stream as of one version.", members)
	all["StreamEntry"] = closed("A stream in the catalogue.", about())
	all["Streams"] = closed("One page of the catalogue, by last change.", object{
		"items": object{"type": "array", "items": schemaRef("StreamEntry"), "maxItems": maxPage},
		"after": text("What to ask for the next page with; empty on the last one."),
	})
}
