package schemas

import (
	"maps"
	"slices"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// Rejections are the reasons of outcomes; all others are refusals.
var Rejections = []commands.Reason{
	commands.SelfTicket, commands.StaleTicket, commands.PredecessorRejected, commands.PredecessorMissing, commands.TicketCycle,
	commands.ParkingFull, commands.TicketNotCurrent, commands.RejectedByOperator, commands.UnknownCommand, commands.Invalid,
	commands.Refused, commands.Failed,
}

func rejections() []string {
	var names []string
	for _, r := range Rejections {
		names = append(names, string(r))
	}
	slices.Sort(names)
	return names
}

// AddWords adds what everything else consists of: ids, tickets, streams, positions and times.
func AddWords(all Object) {
	maps.Copy(all, Object{
		"ID":       Shaped(IDPattern, "A command's id: a UUID in lower case."),
		"SentID":   Shaped(SentIDPattern, "A command's id: a UUID, neither the nil nor the max one; version 7 is best."),
		"Ticket":   Shaped(TicketPattern, `The id of the action that came last on the stream, or "genesis".`),
		"Stream":   Shaped("^"+TypeText+"/"+StreamIDText+"$", "A stream's name: type/id."),
		"Position": Shaped(PositionPattern, "A place in the log: <epoch>-<n>."),
		"Time":     Shaped(TimePattern, "RFC 3339 in UTC, whole microseconds."),
		"Version":  Whole(0, "How many events a stream has had."),
		"Reason":   Object{"type": "string", "enum": rejections(), "description": "Why a command was rejected."},
	})
}

// AddOutcomes adds what a command comes to, and the changes that it is told with.
func AddOutcomes(all Object) {
	all["Landed"] = Closed("It happened.", Object{
		"id": Ref("ID"), "stream": Ref("Stream"), "type": Text("The command's."), "status": Constant("landed"),
		"position": Ref("Position"), "version": Ref("Version"), "ticket": Ref("ID"),
	})
	all["Rejected"] = Closed("It was turned away, for ever.", RejectedMembers(), "refusal", "state", "missed")
	all["Actor"] = Closed("The command behind a change, as everybody may see it.", Object{
		"id": Ref("ID"), "type": Text("The command's."), "actor": Text("Who sent it; empty when nobody says."),
		"override": Object{"const": true, "description": "Let in by policy any, its ticket unchecked."},
	}, "override")
	all["Change"] = Closed("One entry of a stream's changelog.", Object{
		"version": Whole(1, "The stream's, after it."), "position": Ref("Position"), "type": Text("The event's."),
		"data": AnyJSON("The event's."), "command": Ref("Actor"), "at": Ref("Time"),
	})
}

// RejectedMembers are what a command that was rejected tells of itself.
func RejectedMembers() Object {
	members := rejectionMembers()
	members["type"] = Text("The command's.")
	members["status"] = Constant("rejected")
	members["detail"] = Text("One sentence for a person.")
	return members
}

// rejectionMembers are what every telling of a rejection has.
func rejectionMembers() Object {
	return Object{
		"id": Ref("ID"), "stream": Ref("Stream"), "position": Ref("Position"),
		"version": Ref("Version"), "ticket": Ref("Ticket"),
		"reason":      Ref("Reason"),
		"refusal":     Text("The type's own code, where the reason is refused."),
		"root":        Ref("ID"),
		"root_reason": Ref("Reason"),
		"state":       AnyJSON("The stream's now, null before its first event; not told of what was rejected together with its root."),
		"missed": Object{
			"type": "array", "items": Ref("Change"), "maxItems": commands.MaxMissed,
			"description": "What happened since the ticket it came with, the newest changes, oldest first.",
		},
	}
}

// AddRefusal adds the problem of what was refused.
func AddRefusal(all Object) {
	members := problemMembers()
	maps.Copy(members, Object{
		"pointer":     Text("JSON pointer to what is wrong in the body."),
		"offset":      Whole(0, "Where that is, in bytes."),
		"allowed":     Object{"type": "array", "items": Object{"type": "string"}, "description": "The policies or methods that are."},
		"retry_after": Whole(1, "Seconds to wait before trying again."),
		"id":          Ref("ID"), "stream": Ref("Stream"), "ticket": Ref("Ticket"),
	})
	optional := []string{"detail", "instance", "pointer", "offset", "allowed", "retry_after", "id", "stream", "ticket"}
	refusal := Closed("Nothing was accepted or found, and nothing is remembered (RFC 9457).", members, optional...)
	refusal["dependentRequired"] = Object{"pointer": []string{"offset"}, "offset": []string{"pointer"}}
	all["Refusal"] = refusal
}

// AddRejection adds the problem of what was rejected.
func AddRejection(all Object) {
	members := problemMembers()
	maps.Copy(members, rejectionMembers())
	all["Rejection"] = Closed("The outcome of a command that was turned away (RFC 9457).", members, "refusal", "state", "missed")
}

// problemMembers are those of every problem (RFC 9457).
func problemMembers() Object {
	return Object{
		"type":     Shaped("^"+problem.TypePrefix+"[a-z_]+$", "Where the code is explained."),
		"title":    Text("The code's own, always the same."),
		"status":   Whole(400, "The HTTP status."),
		"detail":   Text("About this occurrence."),
		"instance": Shaped("^/v1/commands/", "Where the command's status is found."),
		"code":     Text("What programs go by."),
	}
}
