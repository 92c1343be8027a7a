package openapi

import (
	"github.com/ticketed/doorman/deploy/schemas"
)

func seconds() object { return object{"type": "integer", "minimum": 1} }

func allSchemas(types *schemas.Types) object {
	all := object{}
	schemas.AddWords(all)
	schemas.AddOutcomes(all)
	types.AddCommands(all)
	addCommandSchemas(all)
	addProblemSchemas(all)
	addStreamSchemas(all)
	addEventSchemas(all)
	all["Limits"] = schemas.Closed("The bounds that are kept here.", object{
		"max_array":          schemas.Whole(1, "Commands in one POST."),
		"max_body":           schemas.Whole(1, "Bytes of a body."),
		"max_depth":          schemas.Whole(1, "Nested arrays and objects."),
		"max_watched":        schemas.Whole(1, "Streams watched by one connection."),
		"parked_per_stream":  schemas.Whole(1, "Commands that may wait on one stream."),
		"parked_per_session": schemas.Whole(1, "Commands of one session that may wait."),
		"parked":             schemas.Whole(1, "Commands that may wait in all."),
		"park_seconds":       schemas.Whole(1, "How long a command waits, unless its type says otherwise."),
	})
	return all
}

func addCommandSchemas(all object) {
	all["Accepted"] = schemas.Closed("Durable: it will end in exactly one outcome.", object{
		"id": schemas.Ref("ID"), "stream": schemas.Ref("Stream"), "status": schemas.Constant("accepted"),
	})
	addStanding(all)
}

// addStanding adds where a command stands that has come to no outcome.
func addStanding(all object) {
	all["Unknown"] = schemas.Closed("Nothing is known of it, or not yet.", object{
		"id": schemas.Ref("ID"), "status": schemas.Constant("unknown"),
	})
	all["Parked"] = schemas.Closed("It waits for its predecessor.", object{
		"id": schemas.Ref("ID"), "stream": schemas.Ref("Stream"), "type": schemas.Text("The command's."),
		"status": schemas.Constant("parked"), "waits_for": schemas.Ref("ID"), "until": schemas.Ref("Time"),
	})
}

func addStreamSchemas(all object) {
	about := func() object {
		return object{
			"stream": schemas.Ref("Stream"), "version": schemas.Whole(1, "How many events it has had."), "ticket": schemas.Ref("ID"),
			"at": schemas.Ref("Time"), "position": schemas.Ref("Position"),
		}
	}
	members := about()
	members["state"] = schemas.AnyJSON("As its type keeps it.")
	members["position"] = object{"$ref": "#/components/schemas/Position", "description": "Where to go on with notifications."}
	all["StreamState"] = schemas.Closed("A stream as of one version.", members)
	all["StreamEntry"] = schemas.Closed("A stream in the catalogue.", about())
	all["Streams"] = schemas.Closed("One page of the catalogue, by last change.", object{
		"items": object{"type": "array", "items": schemas.Ref("StreamEntry"), "maxItems": maxPage},
		"after": schemas.Text("What to ask for the next page with; empty on the last one."),
	})
}
