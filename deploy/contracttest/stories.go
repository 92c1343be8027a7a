package contracttest

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

const operatorStory = "an operator rejects a parked command"

// stories take more than one request and its answer.
var stories = map[string]func(v *visit){
	"a command without an id is given one":             withoutID,
	"a POST waits for a parked command to be released": released,
	"a GET waits for a command it has never heard of":  heardOf,
	"a GET that waited in vain tells what is known":    inVain,
	operatorStory:                                             operator,
	"a long poll hears of a change":                           longPoll,
	"a long poll hears of a beginning":                        beginning,
	"a full page of the changelog never changes":              pages,
	"an action without events changes no page":                samePage,
	"who missed more than 100 changes is told the newest 100": muchMissed,
	"a changelog longer than one batch comes whole":           longLog,
	"the catalog lists streams by their last change":          listed,
	"the limits are told":                                     limits,
	"an override is marked as such":                           override,
}

// learn asks and decodes the answer.
func (v *visit) learn(r *row, status int, into any) http.Header {
	v.Helper()
	got, header, body := v.ask(r)
	require.Equal(v, status, got, string(body))
	require.NoError(v, json.Unmarshal(body, into), string(body))
	return header
}

// meanwhile asks in the background; what it returns waits for the answer and checks it.
func (v *visit) meanwhile(r *row) (check func()) {
	done := make(chan answer, 1)
	request := v.request(r)
	go func() { done <- v.send(request) }()
	return func() { r.check(v, <-done) }
}

func withoutID(v *visit) {
	var view commands.CommandView
	header := v.learn(&row{body: `{"stream":"$s","type":"add","ticket":"genesis","data":{"n":1}}`}, 202, &view)
	require.Equal(v, "/v1/commands/"+view.ID.String(), header.Get("Location"))
	v.names["$z"] = view.ID.String()
	r := get("", "/v1/commands/$z", nil, 200, landed("$z", "add", 1), waited...)
	r = with(r, waiting)
	r.run(v)
}

func released(v *visit) {
	check := v.meanwhile(&row{header: []string{waiting}, body: add("$b", "$a", 2), status: 200, tells: waited, answer: landed("$b", "add", 2)})
	v.give("200 " + add("$a", "genesis", 1))
	check()
}

func heardOf(v *visit) {
	r := with(get("", "/v1/commands/$a", nil, 200, landed("$a", "add", 1), waited...), waiting)
	check := v.meanwhile(&r)
	v.give("202 " + add("$a", "genesis", 1))
	check()
}

func inVain(v *visit) {
	v.give("202 " + add("$c", "$h", 1))
	r := with(get("", "/v1/commands/$c", nil, 200, stillParked, "Preference-Applied: wait=1"), "Prefer: wait=1")
	r.run(v)
	r = with(get("", "/v1/commands/$d", nil, 404, refusal(commands.NotFound, `"id":"$d"`), "Preference-Applied: wait=1"), "Prefer: wait=1")
	r.run(v)
}

func operator(v *visit) {
	v.give("202 " + add("$b", "$a", 1))
	v.give("202 " + add("$a", "$h", 1))
	id, _ := commands.ParseID(v.names["$a"])
	require.NoError(v, v.doorman.RejectParked(v.Context(), id))
	r := get("", "/v1/commands/$a", nil, 200, turnedAway("$a", "add", commands.RejectedByOperator, 0, "genesis", "$a",
		commands.RejectedByOperator, `,"state":null,"missed":[]`), waited...)
	r = with(r, waiting)
	r.run(v)
	r = get("", "/v1/commands/$b", nil, 200, turnedAway("$b", "add", commands.PredecessorRejected, 0, "genesis", "$a", commands.RejectedByOperator, ""))
	r.run(v)
	r = row{header: []string{waiting}, body: add("$a", "$h", 1), status: 409, tells: waited,
		answer: rejected("$a", commands.RejectedByOperator, 0, "genesis", "$a", commands.RejectedByOperator, `"state":null,"missed":[]`)}
	r.run(v)
}

func longPoll(v *visit) {
	v.give("200 " + add("$a", "genesis", 1))
	poll := with(get("", "/v1/streams/$s", nil, 200, stateView(2, "$b", 3), `ETag: "$b"`, revalidated, waited[0]), waiting, `If-None-Match: "$a"`)
	check := v.meanwhile(&poll)
	v.give("422 " + plain("$c", "refuse", "$a")) // a rejection is no change
	v.give("200 " + add("$b", "$a", 2))
	check()
}

func beginning(v *visit) {
	poll := with(get("", "/v1/streams/$s", nil, 200, stateView(1, "$a", 1), `ETag: "$a"`, revalidated, waited[0]), waiting, `If-None-Match: "genesis"`)
	check := v.meanwhile(&poll)
	v.give("200 " + add("$a", "genesis", 1))
	check()
}

// page reads a page of the row's stream: its entries' versions, what caches are told, and its tag.
func (v *visit) page(query string) (versions []uint64, cache, tag string) {
	v.Helper()
	var changes []commands.ChangeView
	header := v.learn(&row{method: "GET", path: "/v1/streams/$s/events" + query}, 200, &changes)
	versions = []uint64{}
	for _, c := range changes {
		versions = append(versions, c.Version)
	}
	return versions, header.Get("Cache-Control"), header.Get("ETag")
}

func pages(v *visit) {
	versions, cache, empty := v.page("")
	require.Empty(v, versions, "a stream has a changelog before anything happened")
	require.Equal(v, "no-cache", cache)

	v.give("200 " + add("$a", "genesis", 1))
	v.give("200 " + add("$b", "$a", 2))
	_, _, body := v.ask(&row{method: "GET", path: "/v1/streams/$s/events"})
	v.match("["+change(1, "$a", 1)+","+change(2, "$b", 2)+"]", body)

	versions, cache, part := v.page("?limit=3")
	require.Equal(v, []uint64{1, 2}, versions)
	require.Equal(v, "no-cache", cache)
	require.NotEqual(v, empty, part)
	versions, cache, tag := v.page("?after=0&limit=2")
	require.Equal(v, []uint64{1, 2}, versions)
	require.Equal(v, "no-cache", cache)
	versions, cache, _ = v.page("?after=1&limit=1")
	require.Equal(v, []uint64{2}, versions)
	require.Equal(v, "no-cache", cache)
	versions, cache, _ = v.page("?after=2")
	require.Empty(v, versions)
	require.Equal(v, "no-cache", cache)

	r := with(get("", "/v1/streams/$s/events?limit=2", nil, 304, "", revalidated, "ETag: "+tag), "If-None-Match: "+tag)
	r.run(v)
	v.give("200 " + add("$c", "$b", 3))
	r.run(v)
	versions, _, grown := v.page("?limit=3")
	require.Equal(v, []uint64{1, 2, 3}, versions)
	require.NotEqual(v, part, grown)
}

func samePage(v *visit) {
	v.give("200 " + add("$a", "genesis", 1))
	_, _, before := v.page("")
	v.give("200 " + plain("$b", "note", "$a"))
	versions, _, after := v.page("")
	require.Equal(v, []uint64{1}, versions)
	require.Equal(v, before, after)
}

// fillUp lands n commands on the row's stream, the last one with the id $z.
func (v *visit) fillUp(n int) {
	ticket := "genesis"
	for n > 0 {
		var items []string
		for ; n > 0 && len(items) < 256; n-- {
			id := commands.NewID().String()
			items = append(items, add(id, ticket, 1))
			ticket = id
		}
		v.give("200 [" + strings.Join(items, ",") + "]")
	}
	v.names["$z"] = ticket
}

func muchMissed(v *visit) {
	v.fillUp(130)
	var told struct {
		Version uint64
		Ticket  commands.ID
		Missed  []commands.ChangeView
	}
	v.learn(&row{header: []string{waiting}, body: add("$a", "genesis", 1)}, 409, &told)
	require.EqualValues(v, 130, told.Version)
	require.Equal(v, v.names["$z"], told.Ticket.String())
	require.Len(v, told.Missed, 100)
	for i, c := range told.Missed {
		require.EqualValues(v, 31+i, c.Version)
	}
}

func longLog(v *visit) {
	v.fillUp(350)
	versions, cache, _ := v.page("?after=10&limit=340")
	require.Len(v, versions, 340)
	for i, version := range versions {
		require.EqualValues(v, 11+i, version)
	}
	require.Equal(v, "no-cache", cache)
	r := get("", "/v1/streams/$s?version=340", nil, 200, stateView(340, "$z", 340), `ETag: "$z"`, revalidated)
	r.run(v)
}

func limits(v *visit) {
	want, err := json.Marshal(v.doorman.Limits)
	require.NoError(v, err)
	r := get("", "/v1/limits", nil, 200, string(want), revalidated)
	r.run(v)
}

func override(v *visit) {
	v.give("200 " + add("$a", "genesis", 1))
	v.give(`200 {"id":"$b","stream":"$s","type":"set","policy":"any","actor":"Bo","data":{"n":9}}`)
	_, _, body := v.ask(&row{method: "GET", path: "/v1/streams/$s/events?after=1"})
	v.match(`[{"version":2,"position":"<position>","type":"was_set","data":{"n":9},`+
		`"command":{"id":"$b","type":"set","actor":"Bo","override":true},"at":"<time>"}]`, body)
}
