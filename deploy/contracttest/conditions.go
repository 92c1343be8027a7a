package contracttest

import (
	"fmt"

	"github.com/ticketed/doorman/commands"
)

// unconditional is a command that leaves id, ticket and policy to headers.
const unconditional = `{"stream":"$s","type":"add","actor":"Ann","data":{"n":1}}`

var contradiction = refusal(commands.Malformed, `"id":"$a","stream":"$s"`)

// DESIGN section 3: Idempotency-Key, If-Match and If-None-Match.
var conditions = []row{
	{
		name: "Idempotency-Key is the id", header: []string{"Idempotency-Key: $a", "If-None-Match: *", waiting}, body: unconditional,
		status: 200, tells: waited, answer: landed("$a", "add", 1),
	},
	{
		name: "Idempotency-Key in quotes", header: []string{`Idempotency-Key: "$a"`, "If-None-Match: *", waiting}, body: unconditional,
		status: 200, tells: waited, answer: landed("$a", "add", 1),
	},
	{
		name: "Idempotency-Key equal to the id", header: []string{"Idempotency-Key: $a", waiting}, body: add("$a", "genesis", 1),
		status: 200, tells: waited, answer: landed("$a", "add", 1),
	},
	{
		name: "Idempotency-Key sent again", given: []string{"200 " + add("$a", "genesis", 1)},
		header: []string{"Idempotency-Key: $a", waiting}, body: `{"stream":"$s","type":"add","ticket":"genesis","data":{"n":1}}`,
		status: 200, tells: waited, answer: landed("$a", "add", 1),
	},
	{
		name: "Idempotency-Key against the id", header: []string{"Idempotency-Key: $b"}, body: add("$a", "genesis", 1),
		status: 400, answer: contradiction,
	},
	{
		name: "Idempotency-Key that is no UUID", header: []string{"Idempotency-Key: retry-7"}, body: add("$a", "genesis", 1),
		status: 400, answer: contradiction,
	},
	{
		name: "Idempotency-Key twice", header: []string{"Idempotency-Key: $a", "Idempotency-Key: $a"}, body: add("$a", "genesis", 1),
		status: 400, answer: contradiction,
	},
	{
		name: "If-Match lands", given: []string{"200 " + add("$a", "genesis", 1)},
		header: []string{"Idempotency-Key: $b", `If-Match: "$a"`, waiting}, body: unconditional,
		status: 200, tells: waited, answer: landed("$b", "add", 2),
	},
	{
		name: "If-Match genesis lands", header: []string{"Idempotency-Key: $b", `If-Match: "genesis"`, waiting}, body: unconditional,
		status: 200, tells: waited, answer: landed("$b", "add", 1),
	},
	{
		name: "If-Match never parks", header: []string{"Idempotency-Key: $b", `If-Match: "$h"`, waiting}, body: unconditional,
		status: 412, tells: waited,
		answer: rejected("$b", commands.TicketNotCurrent, 0, "genesis", "$b", commands.TicketNotCurrent, `"state":null,"missed":[]`),
	},
	{
		name: "If-None-Match: * turned away", given: []string{"200 " + add("$a", "genesis", 1)},
		header: []string{"Idempotency-Key: $b", "If-None-Match: *", waiting}, body: unconditional,
		status: 412, tells: waited, answer: rejected("$b", commands.TicketNotCurrent, 1, "$a", "$b", commands.TicketNotCurrent,
			`"state":{"count":1},"missed":[`+change(1, "$a", 1)+`]`),
	},
	{
		name: "If-Match with the same ticket and policy in the body", header: []string{`If-Match: "genesis"`, waiting},
		body:   `{"id":"$a","stream":"$s","type":"add","ticket":"genesis","policy":"strict","data":{"n":1}}`,
		status: 200, tells: waited, answer: landed("$a", "add", 1),
	},
	{
		name: "If-Match against the ticket", header: []string{`If-Match: "$b"`}, body: add("$a", "genesis", 1),
		status: 400, answer: contradiction,
	},
	{
		name: "If-None-Match against the ticket", header: []string{`If-None-Match: *`}, body: add("$a", "$b", 1),
		status: 400, answer: contradiction,
	},
	{
		name: "If-Match against the policy", header: []string{`If-Match: "genesis"`},
		body:   `{"id":"$a","stream":"$s","type":"add","policy":"ticket","data":{"n":1}}`,
		status: 400, answer: contradiction,
	},
	{
		name: "If-Match and If-None-Match", header: []string{`If-Match: "genesis"`, "If-None-Match: *"}, body: add("$a", "genesis", 1),
		status: 400, answer: contradiction,
	},
	{
		name: "If-Match where the type forbids strict", header: []string{`If-Match: "genesis"`},
		body:   `{"stream":"guarded/$i","type":"add","data":{"n":1}}`,
		status: 403, answer: refusal(commands.PolicyForbidden, `"stream":"guarded/$i","allowed":["ticket"]`),
	},
	wrongTag("If-Match weak", `If-Match: W/"genesis"`),
	wrongTag("If-Match *", `If-Match: *`),
	wrongTag("If-Match list", `If-Match: "genesis", "$b"`),
	wrongTag("If-Match without quotes", `If-Match: genesis`),
	wrongTag("If-Match with what is no ticket", `If-Match: "7"`),
	wrongTag("If-None-Match with a ticket", `If-None-Match: "genesis"`),
	noneWithArray("Idempotency-Key: $a"),
	noneWithArray(`If-Match: "genesis"`),
	noneWithArray("If-None-Match: *"),
}

func wrongTag(name, header string) row {
	return row{name: name, header: []string{header}, body: add("$a", "genesis", 1), status: 400, answer: contradiction}
}

func noneWithArray(header string) row {
	return row{
		name: "an array with " + header[:8], header: []string{header}, body: "[" + add("$a", "genesis", 1) + "]",
		status: 400, answer: refusal(commands.Malformed),
	}
}

// DESIGN section 3: arrays.
func arrays() []row {
	chain := fmt.Sprintf("[%s,%s,%s]", add("$a", "genesis", 1), add("$b", "$a", 2), add("$c", "$b", 3))
	unknown := `{"id":"$d","stream":"ghost/1","type":"add","ticket":"genesis"}`
	ghost := refusal(commands.UnknownType, `"id":"$d","stream":"ghost/1"`)
	follows := func(id string) string {
		return refusal(commands.PredecessorRefused, fmt.Sprintf(`"id":%q,"stream":"$s"`, id))
	}
	return []row{
		{
			name: "accepted, in the order sent", body: chain,
			status: 202, answer: fmt.Sprintf("[%s,%s,%s]", accepted("$a"), accepted("$b"), accepted("$c")),
		},
		{
			name: "an array of one", body: "[" + add("$a", "genesis", 1) + "]",
			status: 202, answer: "[" + accepted("$a") + "]",
		},
		{
			name: "all landed in time", header: []string{waiting}, body: chain, status: 200, tells: waited,
			answer: fmt.Sprintf("[%s,%s,%s]", landed("$a", "add", 1), landed("$b", "add", 2), landed("$c", "add", 3)),
		},
		{
			name: "each with its own outcome or problem", header: []string{waiting}, status: 200, tells: waited,
			body: fmt.Sprintf("[%s,%s,%s]", add("$a", "genesis", 1), add("$b", "genesis", 2), unknown),
			answer: fmt.Sprintf("[%s,%s,%s]", landed("$a", "add", 1),
				rejected("$b", commands.StaleTicket, 1, "$a", "$b", commands.StaleTicket, `"state":{"count":1},"missed":[`+change(1, "$a", 1)+`]`), ghost),
		},
		{
			name: "one is not settled in time", header: []string{"Prefer: wait=0"}, status: 202, tells: []string{"Preference-Applied: wait=0"},
			body:   fmt.Sprintf("[%s,%s]", add("$a", "$h", 1), unknown),
			answer: fmt.Sprintf("[%s,%s]", accepted("$a"), ghost),
		},
		{
			name: "some refused", status: 202,
			body:   fmt.Sprintf(`[%s,%s,{"id":"$e","stream":"$s"}]`, add("$a", "genesis", 1), unknown),
			answer: fmt.Sprintf("[%s,%s,%s]", accepted("$a"), ghost, refusal(commands.Malformed, `"id":"$e","stream":"$s","offset":"<any>","pointer":"/2"`)),
		},
		{
			name: "all refused", status: 404, body: fmt.Sprintf("[%s,%s]", unknown, plain("$a", "add", "head")),
			answer: fmt.Sprintf("[%s,%s]", ghost, refusal(commands.Malformed, `"id":"$a","stream":"$s","offset":"<any>","pointer":"/1/ticket"`)),
		},
		{
			name: "what follows a refused one is refused with it", status: 202,
			body: fmt.Sprintf("[%s,%s,%s,%s]", add("$c", "$b", 1), add("$b", "$a", 1), plain("$a", "add", "head"), add("$d", "genesis", 1)),
			answer: fmt.Sprintf("[%s,%s,%s,%s]", follows("$c"), follows("$b"),
				refusal(commands.Malformed, `"id":"$a","stream":"$s","offset":"<any>","pointer":"/2/ticket"`), accepted("$d")),
		},
		{
			name: "ids taken by others", given: []string{"200 " + add("$a", "genesis", 1)}, header: []string{waiting}, status: 422, tells: waited,
			body:   "[" + add("$a", "genesis", 2) + "]",
			answer: "[" + refusal(commands.IDConflict, `"id":"$a","stream":"$s"`) + "]",
		},
		{
			name: "a cascade lets its root tell the state", header: []string{waiting}, status: 200, tells: waited,
			body: fmt.Sprintf("[%s,%s]", add("$b", "$a", 1), plain("$a", "refuse", "genesis")),
			answer: fmt.Sprintf("[%s,%s]", rejected("$b", commands.PredecessorRejected, 0, "genesis", "$a", commands.Refused),
				rejected("$a", commands.Refused, 0, "genesis", "$a", commands.Refused, `"refusal":"not_today","state":null,"missed":[]`)),
		},
	}
}
