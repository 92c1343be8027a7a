package contracttest

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"
)

const heartbeatStory = "a connection that is told nothing gets signs of life"

// watchedStories hold GET /v1/notifications to DESIGN section 3, line by line.
var watchedStories = map[string]func(v *visit){
	heartbeatStory: heartbeat,
	"a connection that watches begins with what proxies and browsers need": firstBytes,
	"first a snapshot of each stream, then what follows it":                snapshotThenTail,
	"a landing without events is told":                                     quietLanding,
	"what was missed is told as one":                                       missedAtOnce,
	"deliver=events tells each landing by itself":                          eachLanding,
	"deliver=ticket tells that something changed":                          ticketsAlone,
	"the newest hundred events of those merged are told":                   manyMerged,
	"a version says what the reader has":                                   fromVersion,
	"@new is a snapshot whatever else is given":                            fromNew,
	"with after= a stream's version alone decides":                         afterAndVersion,
	"with Last-Event-ID the later of the two counts":                       laterOfTwo,
	"Last-Event-ID counts for landings without events too":                 quietAfterMark,
	"where one cannot go on there is a reset":                              resets,
	"a version above the head is a reset":                                  aheadOfStream,
	"a stream of an unknown type is refused and the rest goes on":          refusedStream,
	"what was cut off after the first of 200 snapshots is told again":      cutAmongSnapshots,
	"who is cut off again and again gets further":                          cutAlways,
	"what was cut off between landed and state is told again":              cutBetween,
	"a stream that is added on reconnecting begins with a snapshot":        addedStream,
	"256 streams on one connection":                                        manyStreams,
	"a session is told that its command landed, before the state":          ownLanded,
	"a session is told of what waits, also when it comes later":            ownParked,
	"a session is told again when the time to wait is extended":            extended,
	"a session is told the whole rejection":                                ownRejected,
	"a session is told what expired":                                       ownExpired,
	"a session that asks again is told again":                              askedAgain,
	"two sessions on one connection":                                       twoSessions,
	"what a session was told of while it was away":                         whileAway,
	"a session is shown to nobody":                                         secretSession,
	"a long poll waits for a change, and goes on after it":                 pollGoesOn,
}

// onStream is a command on the row's stream.
func onStream(id, kind, ticket, session, data string) string {
	return fmt.Sprintf(`{"id":%q,"stream":"$s","type":%q,"ticket":%q,"session":%q,"actor":"Ann","data":%s}`, id, kind, ticket, session, data)
}

// position is where to go on from a stream as GET tells it.
func (v *visit) position(stream string) string {
	v.Helper()
	var told struct{ Position string }
	v.learn(&row{method: "GET", path: "/v1/streams/" + stream}, 200, &told)
	return told.Position
}

func heartbeat(v *visit) {
	w := v.watch("stream=$s").opens("state", untouched("$s"))
	began := time.Now()
	b := w.block()
	require.Less(v, time.Since(began), 2*v.doorman.Beat)
	require.Empty(v, b.Event)
	require.NotEmpty(v, b.Comments, "bytes for proxies")
	require.NotEmpty(v, b.ID, "and a mark for the reader")
	w.block()
}

func firstBytes(v *visit) {
	w := v.watch("stream=$s")
	require.Equal(v, []string{"no-store"}, w.header.Values("Cache-Control"))
	require.Equal(v, []string{"no"}, w.header.Values("X-Accel-Buffering"))
	require.Empty(v, w.header.Values("Content-Length"))
	first := w.block()
	require.Equal(v, []string{"ok"}, first.Comments)
	require.GreaterOrEqual(v, first.Retry, 500*time.Millisecond)
	require.LessOrEqual(v, first.Retry, 30*time.Second)
	other := v.watch("stream=$s").block().Retry
	third := v.watch("stream=$s").block().Retry
	require.False(v, first.Retry == other && other == third, "retry has jitter")
	w.opens("state", untouched("$s"))
}

func snapshotThenTail(v *visit) {
	v.give(two[0])
	v.give(two[1])
	v.give(`200 {"id":"$e","stream":"$s-3","type":"note","ticket":"genesis"}`)
	w := v.watch("stream=$s-2&stream=$s&stream=$s-3")
	w.opens("state", untouched("$s-2"), "state", counted(2, "$b", 3),
		"state", `{"stream":"$s-3","version":0,"ticket":"$e","state":null,"position":"<position>","command":{"id":"$e","type":"note","actor":""},"events":[],"at":"<time>"}`)
	v.give("200 " + add("$c", "$b", 4))
	b := w.tells("state", counted(3, "$c", 7, change(3, "$c", 4)))
	require.Equal(v, w.positionOf(b).Epoch, mustPosition(v, w.mark).Epoch)
	v.give(`422 {"id":"$f","stream":"$s","type":"refuse","ticket":"$c"}`) // changes nothing, so nobody is told
	v.give(`200 {"id":"$d","stream":"$s-2","type":"add","ticket":"genesis","actor":"Ann","data":{"n":9}}`)
	b = w.tells("state", pushed("$s-2", 1, "$d", `{"count":9}`, "add", "Ann", `,"events":[`+change(1, "$d", 9)+`]`))
	if b.ID == "" {
		w.marked()
	}
	require.GreaterOrEqual(v, mustPosition(v, w.mark).N, w.positionOf(b).N, "a reader that is caught up gets a mark")
}

func quietLanding(v *visit) {
	v.give(two[0])
	w := v.watch("stream=$s").opens("state", counted(1, "$a", 1))
	each := v.watch("stream=$s&deliver=events").opens("state", counted(1, "$a", 1))
	v.give("200 " + plain("$b", "note", "$a"))
	quiet := pushed("$s", 1, "$b", `{"count":1}`, "note", "", `,"events":[]`)
	w.tells("state", quiet)
	each.tells("state", quiet)
	v.watch("stream=$s").opens("state", pushed("$s", 1, "$b", `{"count":1}`, "note", "", `,"events":[]`))
	v.watch("stream=$s@1").opens()
	v.watch("stream=$s@1&deliver=events").opens()
	v.watch("stream=$s@0&deliver=events").opens("state", counted(1, "$a", 1, change(1, "$a", 1)), "state", quiet)
}

func missedAtOnce(v *visit) {
	v.give(two[0])
	after := v.position("$s")
	v.give(two[1])
	v.give("200 " + plain("$c", "note", "$b"))
	v.give("200 " + add("$d", "$c", 4))
	all := pushed("$s", 3, "$d", `{"count":7}`, "add", "Ann", `,"merged":"<any>","events":[`+change(2, "$b", 2)+","+change(3, "$d", 4)+`]`)
	v.watch("stream=$s&after="+after).opens("state", all)
	v.watch("stream=$s", "Last-Event-ID: "+after).opens("state", all)
	v.watch("stream=$s@1").opens("state", all)
	v.watch("stream=$s&after=" + v.position("$s")).opens()
}

func eachLanding(v *visit) {
	v.give(two[0])
	after := v.position("$s")
	live := v.watch("stream=$s&deliver=events").opens("state", counted(1, "$a", 1))
	v.give(two[1])
	v.give("200 " + plain("$c", "note", "$b"))
	v.give("200 " + add("$d", "$c", 4))
	want := []string{"state", counted(2, "$b", 3, change(2, "$b", 2)),
		"state", pushed("$s", 2, "$c", `{"count":3}`, "note", "", `,"events":[]`),
		"state", counted(3, "$d", 7, change(3, "$d", 4))}
	for i := 0; i < len(want); i += 2 {
		live.tells(want[i], want[i+1])
	}
	v.watch("deliver=events&stream=$s&after=" + after).opens(want...)
	v.watch("deliver=events&stream=$s", "Last-Event-ID: "+after).opens(want...)
	v.watch("deliver=events&stream=$s@1").opens(want...)
	v.watch("deliver=events&stream=$s@2").opens(want[4:]...)
	v.watch("deliver=events&stream=$s@3").opens()
	v.watchBy(&row{path: "/v1/notifications", body: `{"streams":["$s"],"deliver":"events","after":"` + after + `"}`}).opens(want...)
}

func ticketsAlone(v *visit) {
	v.give(two[0])
	ticket := func(version int, id string) string {
		return fmt.Sprintf(`{"stream":"$s","version":%d,"ticket":%q,"position":"<position>","command":{"id":%q,"type":"add","actor":"Ann"},"at":"<time>"}`, version, id, id)
	}
	w := v.watch("stream=$s&stream=$s-2&deliver=ticket").opens("state", ticket(1, "$a"),
		"state", `{"stream":"$s-2","version":0,"ticket":"genesis","position":"<mark>"}`)
	v.give(two[1])
	w.tells("state", ticket(2, "$b"))
	v.watch("stream=$s@1&deliver=ticket").opens("state", ticket(2, "$b"))
}

func manyMerged(v *visit) {
	v.give(two[0])
	after := v.position("$s")
	v.names["$z"] = v.names["$a"]
	v.fillUpAfter("$a", 130)
	w := v.watch("stream=$s&after=" + after)
	b := w.opened()
	require.Len(v, b, 1)
	var told struct {
		Version, Merged uint64
		Events          []struct{ Version uint64 }
	}
	v.decode(b[0].Data, &told)
	require.EqualValues(v, 131, told.Version)
	require.Len(v, told.Events, 100)
	for i, event := range told.Events {
		require.EqualValues(v, 32+i, event.Version)
	}
	require.GreaterOrEqual(v, told.Merged, uint64(100))
}

func refusedStream(v *visit) {
	v.give(two[0])
	w := v.watch("stream=ghost/1&stream=$s&session=$i").opens("refused", `{"stream":"ghost/1","code":"unknown_type"}`, "state", counted(1, "$a", 1))
	v.give(two[1])
	w.tells("state", counted(2, "$b", 3, change(2, "$b", 2)))
}

func pollGoesOn(v *visit) {
	v.give(two[0])
	var first struct {
		After string
		Items []Block
	}
	poll := with(get("", "/v1/notifications?stream=$s", nil, 200, ""), takingJSON)
	v.learn(&poll, 200, &first)
	require.Len(v, first.Items, 1)
	next := with(get("", "/v1/notifications?stream=$s&after="+first.After, nil, 200,
		polled(markedState(counted(2, "$b", 3, change(2, "$b", 2)))), waited[0]), takingJSON, waiting)
	check := v.meanwhile(&next)
	v.give(two[1])
	check()
	last := with(get("", "/v1/notifications?stream=$s&after="+v.position("$s"), nil, 200, polled(), "Preference-Applied: wait=1"), takingJSON, "Prefer: wait=1")
	last.run(v)
}
