package contracttest

import (
	"fmt"
	"strings"

	"github.com/ticketed/doorman/commands"
)

const waiting = "Prefer: wait=10"

var waited = []string{"Preference-Applied: wait=10"}

// DESIGN section 3, POST /v1/commands: 202, and with wait the outcome.
var accepting = []row{
	{
		name: "accepted", body: add("$a", "genesis", 1),
		status: 202, tells: []string{"Location: /v1/commands/$a"}, answer: accepted("$a"),
	},
	{
		name: "landed in time", header: []string{waiting}, body: add("$a", "genesis", 1),
		status: 200, tells: waited, answer: landed("$a", "add", 1),
	},
	{
		name: "30 seconds of waiting at most", header: []string{"Prefer: wait=100"}, body: add("$a", "genesis", 1),
		status: 200, tells: []string{"Preference-Applied: wait=30"}, answer: landed("$a", "add", 1),
	},
	{
		name: "not settled in time", header: []string{"Prefer: respond-async, wait=0"}, body: add("$a", "$b", 1),
		status: 202, tells: []string{"Location: /v1/commands/$a", "Preference-Applied: wait=0"}, answer: accepted("$a"),
	},
	{
		name: "a preference that makes no sense is passed over", header: []string{"Prefer: wait=soon"}, body: add("$a", "genesis", 1),
		status: 202, tells: []string{"Location: /v1/commands/$a"}, answer: accepted("$a"),
	},
	{
		name: "landed without events", given: []string{"200 " + add("$a", "genesis", 1)},
		header: []string{waiting}, body: plain("$b", "note", "$a"),
		status: 200, tells: waited, answer: landed("$b", "note", 1),
	},
	{
		name: "a ticket stays valid over an action without events", given: []string{
			"200 " + add("$a", "genesis", 1), "200 " + plain("$b", "note", "$a"),
		},
		header: []string{waiting}, body: add("$c", "$a", 1),
		status: 200, tells: waited, answer: landed("$c", "add", 2),
	},
	{
		name: "strict with the current ticket", given: []string{"200 " + add("$a", "genesis", 1)}, header: []string{waiting},
		body:   `{"id":"$b","stream":"$s","type":"add","ticket":"$a","policy":"strict","data":{"n":1}}`,
		status: 200, tells: waited, answer: landed("$b", "add", 2),
	},
	{
		name: "session without a look at the ticket", header: []string{waiting},
		given:  []string{`200 {"id":"$a","stream":"$s","type":"add","ticket":"genesis","session":"$i","data":{"n":1}}`},
		body:   `{"id":"$b","stream":"$s","type":"add","ticket":"genesis","policy":"session","session":"$i","data":{"n":1}}`,
		status: 200, tells: waited, answer: landed("$b", "add", 2),
	},
	{
		name: "any without a ticket", given: []string{"200 " + add("$a", "genesis", 1)}, header: []string{waiting},
		body:   `{"id":"$b","stream":"$s","type":"set","policy":"any","data":{"n":1}}`,
		status: 200, tells: waited, answer: landed("$b", "set", 2),
	},
	{
		name: "a repeat is accepted again", given: []string{"200 " + add("$a", "genesis", 1)}, body: add("$a", "genesis", 1),
		status: 202, tells: []string{"Location: /v1/commands/$a"}, answer: accepted("$a"),
	},
	{
		name:  "a repeat that waits gets the earlier outcome",
		given: []string{"200 " + add("$a", "genesis", 1), "200 " + add("$b", "$a", 1)}, header: []string{waiting}, body: add("$a", "genesis", 1),
		status: 200, tells: waited, answer: landed("$a", "add", 1),
	},
	{
		name: "a rejection is repeated with the stream as it is now", given: []string{
			"200 " + add("$a", "genesis", 1), "422 " + plain("$b", "refuse", "$a"), "200 " + add("$c", "$a", 2),
		},
		header: []string{waiting}, body: plain("$b", "refuse", "$a"),
		status: 422, tells: waited, answer: rejected("$b", commands.Refused, 2, "$c", "$b", commands.Refused,
			`"refusal":"not_today","state":{"count":3},"missed":[`+change(2, "$c", 2)+`]`),
	},
	{
		name: "chunks instead of a length", header: []string{"Transfer-Encoding: chunked", waiting}, body: add("$a", "genesis", 1),
		status: 200, tells: waited, answer: landed("$a", "add", 1),
	},
	{
		name: "UTF-8 may be named", header: []string{"Content-Type: application/json; charset=UTF-8", "Content-Encoding: identity", waiting},
		body:   add("$a", "genesis", 1),
		status: 200, tells: waited, answer: landed("$a", "add", 1),
	},
}

// hasty makes a row's streams those of the type that waits 50 ms.
func hasty(text string) string { return strings.ReplaceAll(text, "$s", "hasty/$i") }

// full is an array of as many commands as may wait on one stream.
func full() string {
	items := make([]string, 256)
	for i := range items {
		items[i] = `{"stream":"$s","type":"add","ticket":"$h","data":{"n":1}}`
	}
	return "[" + strings.Join(items, ",") + "]"
}

// DESIGN section 2: every reason a command is rejected for but rejected_by_operator, which is a story.
var rejecting = []row{
	{
		name: "self_ticket", header: []string{waiting}, body: add("$a", "$a", 1),
		status: 409, tells: waited,
		answer: rejected("$a", commands.SelfTicket, 0, "genesis", "$a", commands.SelfTicket, `"state":null,"missed":[]`),
	},
	{
		name: "stale_ticket genesis", given: []string{"200 " + add("$a", "genesis", 2)}, header: []string{waiting}, body: add("$b", "genesis", 3),
		status: 409, tells: waited,
		answer: rejected("$b", commands.StaleTicket, 1, "$a", "$b", commands.StaleTicket,
			`"state":{"count":2},"missed":[`+change(1, "$a", 2)+`]`),
	},
	{
		name: "stale_ticket", given: []string{"200 " + add("$a", "genesis", 1), "200 " + add("$b", "$a", 2), "200 " + add("$c", "$b", 3)},
		header: []string{waiting}, body: add("$d", "$a", 4),
		status: 409, tells: waited,
		answer: rejected("$d", commands.StaleTicket, 3, "$c", "$d", commands.StaleTicket,
			`"state":{"count":6},"missed":[`+change(2, "$b", 2)+","+change(3, "$c", 3)+`]`),
	},
	{
		name: "predecessor_rejected", given: []string{
			"200 " + add("$a", "genesis", 1), "422 " + plain("$b", "refuse", "$a"), "409 " + add("$c", "$b", 1), "200 " + add("$d", "$a", 2),
		},
		header: []string{waiting}, body: add("$e", "$c", 1),
		status: 409, tells: waited,
		answer: rejected("$e", commands.PredecessorRejected, 2, "$d", "$b", commands.Refused,
			`"state":{"count":3},"missed":[`+change(2, "$d", 2)+`]`),
	},
	{
		name: "predecessor_missing", header: []string{waiting}, body: hasty(add("$a", "$h", 1)),
		status: 409, tells: waited,
		answer: hasty(rejected("$a", commands.PredecessorMissing, 0, "genesis", "$a", commands.PredecessorMissing, `"state":null,"missed":[]`)),
	},
	{
		name: "ticket_cycle", given: []string{"202 " + add("$a", "$b", 1)}, header: []string{waiting}, body: add("$b", "$a", 1),
		status: 409, tells: waited,
		answer: rejected("$b", commands.TicketCycle, 0, "genesis", "$b", commands.TicketCycle, `"state":null,"missed":[]`),
	},
	{
		name: "parking_full", given: []string{"202 " + full()}, header: []string{waiting}, body: add("$a", "$h", 1),
		status: 409, tells: waited,
		answer: rejected("$a", commands.ParkingFull, 0, "genesis", "$a", commands.ParkingFull, `"state":null,"missed":[]`),
	},
	{
		name: "ticket_not_current", given: []string{"200 " + add("$a", "genesis", 1), "200 " + add("$b", "$a", 2)}, header: []string{waiting},
		body:   `{"id":"$c","stream":"$s","type":"add","ticket":"$a","policy":"strict","data":{"n":1}}`,
		status: 412, tells: waited,
		answer: rejected("$c", commands.TicketNotCurrent, 2, "$b", "$c", commands.TicketNotCurrent,
			`"state":{"count":3},"missed":[`+change(2, "$b", 2)+`]`),
	},
	{
		name: "ticket_not_current of a ticket nobody knows", given: []string{"200 " + add("$a", "genesis", 1)}, header: []string{waiting},
		body:   `{"id":"$c","stream":"$s","type":"add","ticket":"$h","policy":"strict","data":{"n":1}}`,
		status: 412, tells: waited,
		answer: rejected("$c", commands.TicketNotCurrent, 1, "$a", "$c", commands.TicketNotCurrent, `"state":{"count":1},"missed":[]`),
	},
	{
		name: "unknown_command", header: []string{waiting}, body: plain("$a", "fly", "genesis"),
		status: 422, tells: waited,
		answer: rejected("$a", commands.UnknownCommand, 0, "genesis", "$a", commands.UnknownCommand, `"state":null,"missed":[]`),
	},
	{
		name: "invalid", header: []string{waiting}, body: add("$a", "genesis", 0),
		status: 422, tells: waited,
		answer: rejected("$a", commands.Invalid, 0, "genesis", "$a", commands.Invalid, `"state":null,"missed":[]`),
	},
	{
		name: "refused, by an action without events", given: []string{"200 " + plain("$a", "note", "genesis")},
		header: []string{waiting}, body: plain("$b", "refuse", "genesis"),
		status: 422, tells: waited,
		answer: rejected("$b", commands.Refused, 0, "$a", "$b", commands.Refused, `"refusal":"not_today","state":null,"missed":[]`),
	},
	{
		name: "failed", header: []string{waiting}, body: plain("$a", "panic", "genesis"),
		status: 500, tells: waited,
		answer: rejected("$a", commands.Failed, 0, "genesis", "$a", commands.Failed, `"state":null,"missed":[]`),
	},
	{
		name: "id_conflict", given: []string{"200 " + add("$a", "genesis", 1)}, header: []string{waiting}, body: add("$a", "genesis", 2),
		status: 422, tells: waited, answer: refusal(commands.IDConflict, `"id":"$a","stream":"$s"`),
	},
	{
		name: "id_conflict with one that waits", given: []string{"202 " + add("$a", "$h", 1)}, header: []string{waiting}, body: add("$a", "$h", 2),
		status: 422, tells: waited, answer: refusal(commands.IDConflict, `"id":"$a","stream":"$s"`),
	},
	{
		name: "id_conflict across streams", given: []string{"200 " + hasty(add("$a", "genesis", 1))}, header: []string{waiting}, body: add("$a", "genesis", 1),
		status: 422, tells: waited, answer: refusal(commands.IDConflict, `"id":"$a","stream":"$s"`),
	},
}

// place is where in a body something is wrong.
func place(pointer string, offset int) string {
	return fmt.Sprintf(`"pointer":%q,"offset":%d`, pointer, offset)
}

// DESIGN section 3: what is refused before it is accepted.
func refusing() []row {
	body := func(name, text string, status int, answer string) row {
		return row{name: name, body: text, status: status, answer: answer}
	}
	deep := strings.Repeat("[", 32) + strings.Repeat("]", 32)
	long := `{"stream":"$s","type":"add","ticket":"genesis","data":"` + strings.Repeat("x", 256<<10) + `"}`
	unsupported := refusal(commands.UnsupportedMediaType)
	rows := []row{
		body("nothing", "", 400, refusal(commands.Malformed, place("", 0))),
		body("no JSON", "add 1", 400, refusal(commands.Malformed, place("", 0))),
		body("no object", `"add"`, 400, refusal(commands.Malformed, place("", 0))),
		body("two values", `{}{}`, 400, refusal(commands.Malformed, place("", 2))),
		body("no stream and type", `{}`, 400, refusal(commands.Malformed, place("", 0))),
		body("an id that is none", `{"id":"7","stream":"$s","type":"add"}`, 400, refusal(commands.Malformed, place("/id", 6), `"stream":"$s"`)),
		body("the nil UUID", `{"id":"00000000-0000-0000-0000-000000000000","stream":"$s","type":"add"}`, 400,
			refusal(commands.Malformed, place("/id", 6), `"stream":"$s"`)),
		body("a stream that is none", `{"id":"$a","stream":"tally","type":"add"}`, 400, refusal(commands.Malformed, place("/stream", 54), `"id":"$a"`)),
		body("a ticket that is none", `{"ticket":"head","id":"$a","stream":"$s","type":"add"}`, 400,
			refusal(commands.Malformed, place("/ticket", 10), `"id":"$a","stream":"$s"`)),
		body("a policy that is none", `{"policy":"maybe","stream":"$s","type":"add"}`, 400, refusal(commands.Malformed, place("/policy", 10), `"stream":"$s"`)),
		body("an unknown member", `{"ID":"$a","stream":"$s","type":"add"}`, 400, refusal(commands.Malformed, place("/ID", 1), `"stream":"$s"`)),
		body("a member twice", `{"type":"add","type":"add","stream":"$s"}`, 400, refusal(commands.Malformed, place("/type", 14), `"stream":"$s"`)),
		body("a member twice within data", `{"data":{"n":1,"n":2},"stream":"$s","type":"add"}`, 400,
			refusal(commands.Malformed, place("/data/n", 15), `"stream":"$s"`)),
		body("a lone surrogate", `{"data":"\ud800","stream":"$s","type":"add"}`, 400, refusal(commands.Malformed, place("/data", 9), `"stream":"$s"`)),
		body("invalid UTF-8", "{\"data\":\"\xff\",\"stream\":\"$s\",\"type\":\"add\"}", 400, refusal(commands.Malformed, place("/data", 9))),
		body("nested over 32", `{"data":`+deep+`,"stream":"$s","type":"add"}`, 400, refusal(commands.Malformed, `"pointer":"<text>","offset":"<any>"`)),
		body("over 256 KiB", long, 413, refusal(commands.TooLarge)),
		body("an empty array", "[]", 400, refusal(commands.Malformed, place("", 0))),
		body("an array of 257", "["+strings.Repeat("{},", 256)+"{}]", 413, refusal(commands.TooLarge, place("/256", 769))),
		body("an unknown type", `{"id":"$a","stream":"ghost/1","type":"add","ticket":"genesis"}`, 404,
			refusal(commands.UnknownType, `"id":"$a","stream":"ghost/1"`)),
		body("an unknown type, though no ticket either", `{"stream":"ghost/1","type":"add"}`, 404, refusal(commands.UnknownType, `"stream":"ghost/1"`)),
		body("a policy that the type does not allow", `{"id":"$a","stream":"guarded/$i","type":"add","policy":"strict","ticket":"genesis"}`, 403,
			refusal(commands.PolicyForbidden, `"id":"$a","stream":"guarded/$i","allowed":["ticket"]`)),
		body("a policy that the command does not allow", `{"stream":"$s","type":"add","policy":"any"}`, 403,
			refusal(commands.PolicyForbidden, `"stream":"$s","allowed":["ticket","strict","session"]`)),
		body("no ticket", `{"id":"$a","stream":"$s","type":"add"}`, 428, refusal(commands.TicketRequired, `"id":"$a","stream":"$s"`)),
		body("no ticket under strict", `{"stream":"$s","type":"add","policy":"strict"}`, 428, refusal(commands.TicketRequired, `"stream":"$s"`)),
		body("no ticket under session", `{"stream":"$s","type":"add","policy":"session"}`, 428, refusal(commands.TicketRequired, `"stream":"$s"`)),
		{name: "over 256 KiB in chunks", header: []string{"Transfer-Encoding: chunked"}, body: long, status: 413, answer: refusal(commands.TooLarge)},
		{name: "a query parameter", path: "/v1/commands?wait=5", body: add("$a", "genesis", 1), status: 400, answer: refusal(commands.Malformed)},
		{name: "a preference is not applied to what is refused", header: []string{waiting}, body: "{}", status: 400,
			answer: refusal(commands.Malformed, place("", 0))},
	}
	for _, header := range []string{
		"Content-Type: none", "Content-Type: text/plain", "Content-Type: application/json; charset=latin1",
		"Content-Type: application/x-www-form-urlencoded", "Content-Encoding: gzip",
	} {
		rows = append(rows, row{name: header, header: []string{header}, body: add("$a", "genesis", 1), status: 415, answer: unsupported})
	}
	return rows
}
