package contracttest

import (
	"fmt"
	"strings"

	"github.com/ticketed/doorman/commands"
)

func get(name, path string, given []string, status int, answer string, tells ...string) row {
	return row{name: name, method: "GET", path: path, given: given, status: status, answer: answer, tells: tells}
}

// turnedAway is the view of a rejected command as GET tells it.
func turnedAway(id, kind string, code commands.Reason, version int, ticket, root string, why commands.Reason, more string) string {
	return fmt.Sprintf(`{"id":%q,"stream":"$s","type":%q,"status":"rejected","position":"<position>","version":%d,"ticket":%q,`+
		`"detail":"<text>","reason":%q,"root":%q,"root_reason":%q%s}`, id, kind, version, ticket, code, root, why, more)
}

const stillParked = `{"id":"$c","stream":"$s","type":"add","status":"parked","waits_for":"$h","until":"<time>"}`

// DESIGN section 3, GET /v1/commands.
func readingCommands() []row {
	one := []string{"200 " + add("$a", "genesis", 1)}
	several := []string{one[0], "422 " + plain("$b", "refuse", "$a"), "202 " + add("$c", "$h", 1)}
	refused := turnedAway("$b", "refuse", commands.Refused, 1, "$a", "$b", commands.Refused,
		`,"refusal":"not_today","state":{"count":1},"missed":[]`)
	const unknown = `{"id":"$d","status":"unknown"}`
	head := get("HEAD", "/v1/commands/$a", one, 200, "")
	head.method = "HEAD"
	wait := get("a settled command is not waited for", "/v1/commands/$a", one, 200, landed("$a", "add", 1), waited...)
	wait.header = []string{waiting}
	return []row{
		get("landed", "/v1/commands/$a", one, 200, landed("$a", "add", 1)),
		get("rejected", "/v1/commands/$b", several, 200, refused),
		get("parked", "/v1/commands/$c", several, 200, stillParked),
		get("unknown", "/v1/commands/$a", nil, 404, refusal(commands.NotFound, `"id":"$a"`)),
		get("cascaded", "/v1/commands/$c", []string{"202 " + add("$c", "$b", 1), "422 " + plain("$b", "refuse", "genesis")}, 200,
			turnedAway("$c", "add", commands.PredecessorRejected, 0, "genesis", "$b", commands.Refused, "")),
		get("in a circle with the one that closed it", "/v1/commands/$a",
			[]string{"202 " + add("$a", "$b", 1), "409 " + add("$b", "$a", 1)}, 200,
			turnedAway("$a", "add", commands.TicketCycle, 0, "genesis", "$b", commands.TicketCycle, "")),
		get("no UUID", "/v1/commands/7", nil, 400, refusal(commands.Malformed)),
		get("a query parameter", "/v1/commands/$a?wait=5", nil, 400, refusal(commands.Malformed)),
		head, wait,
		get("several in the order asked", "/v1/commands?id=$c&id=$d&id=$a&id=$b&id=$a", several, 200,
			fmt.Sprintf("[%s,%s,%s,%s,%s]", stillParked, unknown, landed("$a", "add", 1), refused, landed("$a", "add", 1))),
		get("none asked for", "/v1/commands", nil, 400, refusal(commands.Malformed)),
		get("one is no UUID", "/v1/commands?id=$a&id=7", nil, 400, refusal(commands.Malformed)),
		get("257 asked for", "/v1/commands?id=$a"+strings.Repeat("&id=$a", 256), nil, 400, refusal(commands.Malformed)),
		get("256 asked for", "/v1/commands?id=$d"+strings.Repeat("&id=$d", 255), nil, 200, "["+unknown+strings.Repeat(","+unknown, 255)+"]"),
		get("another parameter", "/v1/commands?ids=$a", nil, 400, refusal(commands.Malformed)),
		get("a query that cannot be read", "/v1/commands?id=%zz", nil, 400, refusal(commands.Malformed)),
	}
}

const revalidated = "Cache-Control: no-cache"

var two = []string{"200 " + add("$a", "genesis", 1), "200 " + add("$b", "$a", 2)}

func stateView(version int, ticket string, count int) string {
	return fmt.Sprintf(`{"stream":"$s","version":%d,"ticket":%q,"state":{"count":%d},"at":"<time>","position":"<position>"}`, version, ticket, count)
}

func with(r row, header ...string) row {
	r.header = header
	return r
}

// DESIGN section 3, GET /v1/streams/{type}/{id}.
var readingStreams = []row{
	get("now", "/v1/streams/$s", two, 200, stateView(2, "$b", 3), `ETag: "$b"`, revalidated),
	get("after an action without events", "/v1/streams/$s", append(two[:2:2], "200 "+plain("$c", "note", "$b")), 200,
		stateView(2, "$c", 3), `ETag: "$c"`, revalidated),
	{name: "HEAD", method: "HEAD", path: "/v1/streams/$s", given: two, status: 200, tells: []string{`ETag: "$b"`, revalidated}},
	get("nothing yet", "/v1/streams/$s", nil, 404, refusal(commands.NotFound, `"stream":"$s","ticket":"genesis"`)),
	get("an action but no event yet", "/v1/streams/$s", []string{"200 " + plain("$a", "note", "genesis")}, 404,
		refusal(commands.NotFound, `"stream":"$s","ticket":"$a"`)),
	with(get("If-None-Match", "/v1/streams/$s", two, 304, "", `ETag: "$b"`, revalidated), `If-None-Match: "$b"`),
	with(get("If-None-Match weak", "/v1/streams/$s", two, 304, "", `ETag: "$b"`, revalidated), `If-None-Match: W/"$b"`),
	with(get("If-None-Match list", "/v1/streams/$s", two, 304, "", `ETag: "$b"`, revalidated), `If-None-Match: "$a", "$b"`),
	with(get("If-None-Match *", "/v1/streams/$s", two, 304, "", `ETag: "$b"`, revalidated), `If-None-Match: *`),
	with(get("If-None-Match of an older state", "/v1/streams/$s", two, 200, stateView(2, "$b", 3), `ETag: "$b"`, revalidated), `If-None-Match: "$a"`),
	with(get("If-None-Match of nothing", "/v1/streams/$s", nil, 404, refusal(commands.NotFound, `"stream":"$s","ticket":"genesis"`)), `If-None-Match: *`),
	with(get("waiting without anything to compare", "/v1/streams/$s", two, 200, stateView(2, "$b", 3), `ETag: "$b"`, revalidated), waiting),
	with(get("waiting where it has changed already", "/v1/streams/$s", two, 200, stateView(2, "$b", 3), `ETag: "$b"`, revalidated, waited[0]),
		waiting, `If-None-Match: "$a"`),
	with(get("waiting for no change", "/v1/streams/$s", two, 304, "", `ETag: "$b"`, revalidated, "Preference-Applied: wait=1"),
		"Prefer: wait=1", `If-None-Match: "$b"`),
	with(get("waiting for no beginning", "/v1/streams/$s", nil, 404, refusal(commands.NotFound, `"stream":"$s","ticket":"genesis"`),
		"Preference-Applied: wait=1"), "Prefer: wait=1", `If-None-Match: "genesis"`),
	get("as of a version", "/v1/streams/$s?version=1", two, 200, stateView(1, "$b", 1), `ETag: "$b"`, revalidated),
	get("as of the newest version", "/v1/streams/$s?version=2", two, 200, stateView(2, "$b", 3), `ETag: "$b"`, revalidated),
	get("as of version 0", "/v1/streams/$s?version=0", two, 404, refusal(commands.NotFound, `"stream":"$s","ticket":"$b"`)),
	get("as of a version above the head", "/v1/streams/$s?version=3", two, 404, refusal(commands.NotFound, `"stream":"$s","ticket":"$b"`)),
	with(get("as of a version, which never changes", "/v1/streams/$s?version=1", two, 304, "", `ETag: "$b"`, revalidated),
		waiting, `If-None-Match: "$b"`),
	get("a version that is none", "/v1/streams/$s?version=-1", two, 400, refusal(commands.Malformed)),
	get("a version that is too large", "/v1/streams/$s?version=99999999999999999999", two, 400, refusal(commands.Malformed)),
	get("a version twice", "/v1/streams/$s?version=1&version=1", two, 400, refusal(commands.Malformed)),
	get("another parameter", "/v1/streams/$s?verson=1", two, 400, refusal(commands.Malformed)),
	get("an unknown type", "/v1/streams/ghost/1", nil, 404, refusal(commands.UnknownType, `"stream":"ghost/1"`)),
	get("a type that is no name", "/v1/streams/Ghost/1", nil, 400, refusal(commands.Malformed)),
	get("an id that is no name", "/v1/streams/tally/a%20b", nil, 400, refusal(commands.Malformed)),
	with(get("no JSON taken", "/v1/streams/$s", two, 406, refusal(commands.NotAcceptable)), "Accept: text/html"),
	with(get("what a browser takes", "/v1/streams/$s", two, 200, stateView(2, "$b", 3), `ETag: "$b"`, revalidated), "Accept: text/html, */*;q=0.8"),
}

// DESIGN section 3, GET /v1/streams/{type}/{id}/events. The ETag holds the epoch, which a row cannot
// know, so that it is looked at in a story.
var readingChanges = []row{
	get("after a version above the head", "/v1/streams/$s/events?after=3", two, 404, refusal(commands.NotFound, `"stream":"$s","ticket":"$b"`)),
	get("no limit", "/v1/streams/$s/events?limit=0", two, 400, refusal(commands.Malformed)),
	get("too large a limit", "/v1/streams/$s/events?limit=1001", two, 400, refusal(commands.Malformed)),
	get("a limit that is none", "/v1/streams/$s/events?limit=ten", two, 400, refusal(commands.Malformed)),
	get("an empty limit", "/v1/streams/$s/events?limit=", two, 400, refusal(commands.Malformed)),
	get("after what is no version", "/v1/streams/$s/events?after=%2B1", two, 400, refusal(commands.Malformed)),
	get("another parameter", "/v1/streams/$s/events?before=2", two, 400, refusal(commands.Malformed)),
	get("an unknown type", "/v1/streams/ghost/1/events", nil, 404, refusal(commands.UnknownType, `"stream":"ghost/1"`)),
	get("an id that is no name", "/v1/streams/tally/-1/events", nil, 400, refusal(commands.Malformed)),
}

// DESIGN section 3: other methods and addresses.
var addresses = []row{
	{name: "PUT commands", method: "PUT", status: 405, tells: []string{"Allow: GET, HEAD, POST"},
		answer: refusal(commands.MethodNotAllowed, `"allowed":["GET","HEAD","POST"]`)},
	{name: "DELETE a command", method: "DELETE", path: "/v1/commands/$a", status: 405, tells: []string{"Allow: GET, HEAD"},
		answer: refusal(commands.MethodNotAllowed, `"allowed":["GET","HEAD"]`)},
	{name: "POST a stream", path: "/v1/streams/$s", status: 405, tells: []string{"Allow: GET, HEAD"},
		answer: refusal(commands.MethodNotAllowed, `"allowed":["GET","HEAD"]`)},
	get("nowhere", "/v1/nowhere", nil, 404, refusal(commands.NotFound)),
	get("limits take no parameter", "/v1/limits?of=me", nil, 400, refusal(commands.Malformed)),
}
