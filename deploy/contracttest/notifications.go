package contracttest

import (
	"fmt"
	"strings"

	"github.com/ticketed/doorman/commands"
)

const takingJSON = "Accept: application/json"

// pushed is a state as it is told of a stream of the table's own; the last landing was kind's.
func pushed(stream string, version int, ticket string, state, kind, actor, more string) string {
	return fmt.Sprintf(`{"stream":%q,"version":%d,"ticket":%q,"state":%s,"position":"<position>","command":{"id":%q,"type":%q,"actor":%q},"at":"<time>"%s}`,
		stream, version, ticket, state, ticket, kind, actor, more)
}

// counted is the state of the row's stream after an add, with its events.
func counted(version int, ticket string, count int, changes ...string) string {
	return pushed("$s", version, ticket, fmt.Sprintf(`{"count":%d}`, count), "add", "Ann", `,"events":[`+strings.Join(changes, ",")+`]`)
}

// untouched is a stream at version 0.
func untouched(stream string) string {
	return fmt.Sprintf(`{"stream":%q,"version":0,"ticket":"genesis","state":null,"position":"<mark>","events":[]}`, stream)
}

func polled(items ...string) string {
	return `{"after":"<mark>","items":[` + strings.Join(items, ",") + `]}`
}

func item(event, data string) string { return fmt.Sprintf(`{"event":%q,"data":%s}`, event, data) }

// markedState is one that goes with the mark.
func markedState(data string) string {
	return fmt.Sprintf(`{"event":"state","id":"<mark>","data":%s}`, data)
}

// DESIGN section 3, GET /v1/notifications: what is refused before anything is told, and the fallback.
func notifications() []row {
	const path = "/v1/notifications"
	poll := func(name, query string, given []string, answer string, tells ...string) row {
		return with(get(name, path+query, given, 200, answer, tells...), takingJSON)
	}
	head := row{name: "HEAD", method: "HEAD", path: path + "?stream=$s", status: 200, header: []string{takingJSON}}
	none := poll("nothing that is newer, waited for in vain", "?stream=$s@1", two[:1], polled(), "Preference-Applied: wait=1")
	none.header = append(none.header, "Prefer: wait=1")
	once := poll("what is there is not waited for", "?stream=$s", two, polled(markedState(counted(2, "$b", 3))), waited...)
	once.header = append(once.header, waiting)
	rows := []row{
		poll("a snapshot", "?stream=$s", two, polled(markedState(counted(2, "$b", 3)))),
		poll("version 0", "?stream=$s", nil, polled(markedState(untouched("$s")))),
		poll("what is newer", "?stream=$s@1", two, polled(markedState(counted(2, "$b", 3, change(2, "$b", 2))))),
		poll("each landing", "?stream=$s@0&deliver=events", two, polled(item("state", counted(1, "$a", 1, change(1, "$a", 1))),
			markedState(counted(2, "$b", 3, change(2, "$b", 2))))),
		poll("a session's parked command", "?session=$i", []string{"202 " + parkedFor("$i")}, polled(item("parked", waitingFor("$c", "$h")))),
		poll("an unknown type", "?stream=ghost/1&stream=$s", two, polled(item("refused", `{"stream":"ghost/1","code":"unknown_type"}`),
			markedState(counted(2, "$b", 3)))),
		head, none, once,
		{
			name: "by POST", path: path, header: []string{takingJSON}, given: two, status: 200,
			body:   `{"streams":["$s@1"],"sessions":["$i"],"deliver":"ticket"}`,
			answer: polled(markedState(`{"stream":"$s","version":2,"ticket":"$b","position":"<position>","command":{"id":"$b","type":"add","actor":"Ann"},"at":"<time>"}`)),
		},
		get("neither is taken", path+"?stream=$s", nil, 406, refusal(commands.NotAcceptable)),
		{name: "PUT", method: "PUT", path: path, status: 405, tells: []string{"Allow: GET, HEAD, POST"},
			answer: refusal(commands.MethodNotAllowed, `"allowed":["GET","HEAD","POST"]`)},
	}
	rows[len(rows)-2].header = []string{"Accept: text/html"}
	return append(rows, wronglyAsked(path)...)
}

func wronglyAsked(path string) []row {
	var rows []row
	streams := make([]string, 257)
	for i := range streams {
		streams[i] = fmt.Sprintf("stream=tally/%d", i)
	}
	for _, wrong := range []struct{ name, query string }{
		{"nothing is asked for", ""},
		{"a parameter that is none", "?stream=$s&streams=$s"},
		{"a parameter in another case", "?Stream=$s"},
		{"a query that cannot be read", "?stream=%zz"},
		{"a stream twice", "?stream=$s&stream=$s@1"},
		{"a stream that is no name", "?stream=Tally/1"},
		{"a stream without an id", "?stream=tally"},
		{"an empty stream", "?stream="},
		{"a version below 0", "?stream=$s@-1"},
		{"a version with a sign", "?stream=$s@%2B1"},
		{"a version that is none", "?stream=$s@old"},
		{"an empty version", "?stream=$s@"},
		{"a version twice", "?stream=$s@1@2"},
		{"a session twice", "?session=$i&session=$i"},
		{"an empty session", "?session="},
		{"a session with a control character", "?session=a%00b"},
		{"a session that is no UTF-8", "?session=%ff"},
		{"a session that is too long", "?session=" + strings.Repeat("x", commands.MaxSession+1)},
		{"deliver that is none", "?stream=$s&deliver=all"},
		{"deliver twice", "?stream=$s&deliver=state&deliver=state"},
		{"after that is none", "?stream=$s&after=yesterday"},
		{"after twice", "?stream=$s&after=a-1&after=a-1"},
	} {
		rows = append(rows, get(wrong.name, path+wrong.query, nil, 400, refusal(commands.Malformed)))
	}
	rows = append(rows, get("257 streams", path+"?"+strings.Join(streams, "&"), nil, 413, refusal(commands.TooLarge)))
	sessions := make([]string, 30_000)
	for i := range sessions {
		sessions[i] = fmt.Sprintf(`"%d"`, i)
	}
	rows = append(rows, row{name: "more sessions than are worth comparing", path: path, body: `{"sessions":[` + strings.Join(sessions, ",") + `]}`,
		status: 413, answer: refusal(commands.TooLarge)})
	for _, wrong := range []struct {
		name, body string
		unread     bool // the place is named where reading ended
	}{
		{"a body that is no JSON", `{"streams":`, true},
		{"a body that is no object", `["$s"]`, false},
		{"a body that is null", `null`, false},
		{"an unknown member", `{"streams":["$s"],"stream":"$s"}`, false},
		{"a member in another case", `{"Streams":["$s"]}`, false},
		{"a member twice", `{"streams":["$s"],"streams":["$s"]}`, true},
		{"streams that are a text", `{"streams":"$s"}`, false},
		{"a stream that is a number", `{"streams":[1]}`, false},
		{"after that is a number", `{"streams":["$s"],"after":7}`, false},
		{"deliver in a body that is none", `{"streams":["$s"],"deliver":"all"}`, false},
		{"more than one value", `{"streams":["$s"]}{}`, true},
	} {
		var place []string
		if wrong.unread {
			place = []string{`"pointer":"<any>","offset":"<any>"`}
		}
		rows = append(rows, row{name: wrong.name, path: path, body: wrong.body, status: 400, answer: refusal(commands.Malformed, place...)})
	}
	return append(rows,
		row{name: "POST with a query", path: path + "?stream=$s", body: `{"streams":["$s"]}`, status: 400, answer: refusal(commands.Malformed)},
		row{name: "POST of another type", path: path, header: []string{"Content-Type: text/plain"}, body: `{"streams":["$s"]}`,
			status: 415, answer: refusal(commands.UnsupportedMediaType)},
		row{name: "POST of too much", path: path, body: `{"streams":["$s"],"after":"` + strings.Repeat("x", 256<<10) + `"}`,
			status: 413, answer: refusal(commands.TooLarge)})
}

// parkedFor is a command of a session that waits for $h.
func parkedFor(session string) string {
	return fmt.Sprintf(`{"id":"$c","stream":"$s","type":"add","ticket":"$h","session":%q,"data":{"n":1}}`, session)
}

func waitingFor(id, ticket string) string {
	return fmt.Sprintf(`{"id":%q,"stream":"$s","waits_for":%q,"until":"<time>"}`, id, ticket)
}
