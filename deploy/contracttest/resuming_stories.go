package contracttest

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

func mustPosition(v *visit, text string) commands.Position {
	v.Helper()
	p, err := commands.ParsePosition(text)
	require.NoError(v, err)
	return p
}

func (v *visit) decode(text []byte, into any) {
	v.Helper()
	require.NoError(v, json.Unmarshal(text, into), "%s", text)
}

// fillUpAfter lands n more commands on the row's stream.
func (v *visit) fillUpAfter(ticket string, n int) {
	v.Helper()
	var items []string
	for range n {
		id := commands.NewID().String()
		items = append(items, add(id, ticket, 1))
		ticket = id
	}
	v.give("200 [" + strings.Join(items, ",") + "]")
	v.names["$z"] = ticket
}

func fromVersion(v *visit) {
	v.give(two[0])
	v.give(two[1])
	v.watch("stream=$s@0").opens("state", pushed("$s", 2, "$b", `{"count":3}`, "add", "Ann",
		`,"merged":2,"events":[`+change(1, "$a", 1)+","+change(2, "$b", 2)+`]`))
	v.watch("stream=$s@1").opens("state", counted(2, "$b", 3, change(2, "$b", 2)))
	w := v.watch("stream=$s@2&stream=$s-2@0").opens()
	v.give("200 " + add("$c", "$b", 4))
	w.tells("state", counted(3, "$c", 7, change(3, "$c", 4)))
	v.give(`200 {"id":"$d","stream":"$s-2","type":"add","ticket":"genesis","actor":"Ann","data":{"n":9}}`)
	w.tells("state", pushed("$s-2", 1, "$d", `{"count":9}`, "add", "Ann", `,"events":[`+change(1, "$d", 9)+`]`))
}

func fromNew(v *visit) {
	v.give(two[0])
	v.give(two[1])
	after := v.position("$s")
	for _, deliver := range []string{"state", "events"} {
		v.watch("stream=$s@new&deliver="+deliver).opens("state", counted(2, "$b", 3))
		v.watch("stream=$s@new&deliver="+deliver+"&after="+after).opens("state", counted(2, "$b", 3))
		v.watch("stream=$s@new&deliver="+deliver, "Last-Event-ID: "+after).opens("state", counted(2, "$b", 3))
	}
}

func afterAndVersion(v *visit) {
	v.give(two[0])
	first := v.position("$s")
	v.give(two[1])
	newest := v.position("$s")
	for _, deliver := range []string{"state", "events"} {
		v.watch("stream=$s@1&deliver="+deliver+"&after="+newest).opens("state", counted(2, "$b", 3, change(2, "$b", 2)))
		v.watch("stream=$s@2&deliver=" + deliver + "&after=" + first).opens()
	}
}

func laterOfTwo(v *visit) {
	v.give(two[0])
	first := v.position("$s")
	v.give(two[1])
	second := v.position("$s")
	v.give("200 " + add("$c", "$b", 4))
	third := counted(3, "$c", 7, change(3, "$c", 4))
	for _, deliver := range []string{"state", "events"} {
		v.watch("stream=$s@1&deliver="+deliver, "Last-Event-ID: "+second).opens("state", third)
		v.watch("stream=$s@2&deliver="+deliver, "Last-Event-ID: "+first).opens("state", third)
		v.watch("stream=$s@3&deliver="+deliver, "Last-Event-ID: "+first).opens()
		v.watch("stream=$s@1&deliver="+deliver, "Last-Event-ID: "+v.position("$s")).opens()
		v.watch("stream=$s@1&deliver="+deliver+"&after="+first, "Last-Event-ID: "+second).opens("state", third)
	}
}

// A browser that reopens the address with which it began, version and all.
func quietAfterMark(v *visit) {
	v.give(two[0])
	v.give(two[1])
	mark := v.position("$s")
	v.give("200 " + plain("$c", "note", "$b"))
	quiet := pushed("$s", 2, "$c", `{"count":3}`, "note", "", `,"events":[]`)
	for _, deliver := range []string{"state", "events"} {
		v.watch("stream=$s&deliver="+deliver, "Last-Event-ID: "+mark).opens("state", quiet)
		v.watch("stream=$s@2&deliver="+deliver, "Last-Event-ID: "+mark).opens("state", quiet)
		v.watch("stream=$s@1&deliver="+deliver, "Last-Event-ID: "+mark).opens("state", quiet)
		v.watch("stream=$s@2&deliver="+deliver, "Last-Event-ID: "+v.position("$s")).opens()
	}
}

func resets(v *visit) {
	v.give(two[0])
	v.give(two[1])
	at := mustPosition(v, v.position("$s"))
	at.N += 1_000_000
	reset := func(reason string) []string {
		return []string{"reset", `{"reason":"` + reason + `"}`, "state", counted(2, "$b", 3), "state", untouched("$s-2")}
	}
	for _, query := range []string{"stream=$s@1&stream=$s-2", "stream=$s@1&stream=$s-2&deliver=events", "stream=$s@1&stream=$s-2&session=$i"} {
		v.watch(query + "&after=elsewhere-1").opens(reset("epoch")...)
		v.watch(query, "Last-Event-ID: elsewhere-1").opens(reset("epoch")...)
		v.watch(query + "&after=" + at.String()).opens(reset("ahead")...)
		v.watch(query, "Last-Event-ID: "+at.String()).opens(reset("ahead")...)
		v.watch(query, "Last-Event-ID: 17").opens(reset("malformed")...)
	}
	w := v.watch("stream=$s&session=$i", "Last-Event-ID: elsewhere-1").opens(reset("epoch")[:4]...)
	v.give("200 " + onStream("$c", "add", "$b", "$i", `{"n":4}`))
	w.tells("landed", ownLanding("$c", 3))
	w.tells("state", counted(3, "$c", 7, change(3, "$c", 4)))
}

func aheadOfStream(v *visit) {
	v.give(two[0])
	for _, deliver := range []string{"state", "events", "ticket"} {
		w := v.watch("stream=$s@2&stream=$s-2@1&deliver=" + deliver)
		got := w.opened()
		require.Len(v, got, 3, "%s", &w.raw)
		require.Equal(v, "reset", got[0].Event)
		v.match(`{"reason":"ahead"}`, got[0].Data)
		require.Equal(v, "state", got[1].Event)
		require.Equal(v, "state", got[2].Event)
	}
	v.watch("stream=$s&stream=$s-2@1").opens("reset", `{"reason":"ahead"}`, "state", counted(1, "$a", 1), "state", untouched("$s-2"))
}

// fillStreams lands a command on each of n streams beside the row's own.
func (v *visit) fillStreams(n int, tickets []string) (ids []string) {
	v.Helper()
	var items []string
	for i := range n {
		ticket := "genesis"
		if tickets != nil {
			ticket = tickets[i]
		}
		ids = append(ids, commands.NewID().String())
		items = append(items, fmt.Sprintf(`{"id":%q,"stream":"$s-%d","type":"add","ticket":%q,"data":{"n":1}}`, ids[i], i, ticket))
	}
	v.give("200 [" + strings.Join(items, ",") + "]")
	return ids
}

func streamsOf(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("stream=$s-%d", i)
	}
	return strings.Join(names, "&")
}

// The last mark that somebody has who was cut off among the first messages is that of the connection before.
func cutAmongSnapshots(v *visit) {
	const n = 200
	ids := v.fillStreams(n, nil)
	w := v.watch(streamsOf(n))
	require.Empty(v, w.message().ID)
	w.cut()
	require.Empty(v, w.mark, "what was owed has not been told")
	w = v.watch(streamsOf(n))
	require.Len(v, w.opened(), n)
	mark := w.mark
	w.cut()
	v.fillStreams(n, ids)
	for _, deliver := range []string{"state", "events"} {
		w = v.watch(streamsOf(n)+"&deliver="+deliver, "Last-Event-ID: "+mark)
		require.Empty(v, w.message().ID)
		w.cut()
		require.Empty(v, w.mark)
		w = v.watch(streamsOf(n)+"&deliver="+deliver, "Last-Event-ID: "+mark)
		told := map[string]bool{}
		for len(told) < n {
			var view struct {
				Stream  string
				Version int
			}
			v.decode(w.message().Data, &view)
			require.Equal(v, 2, view.Version)
			require.False(v, told[view.Stream])
			told[view.Stream] = true
		}
		w.cut()
	}
}

// Promise 8 is worth little to who never gets to the end of what it missed.
func cutAlways(v *visit) {
	const missed, patience = 600, 100
	v.give(two[0])
	mark := v.position("$s")
	for ticket, n := "$a", 0; n < missed; ticket, n = "$z", n+200 {
		v.fillUpAfter(ticket, 200)
	}
	version, connections := 1, 0
	for ; version <= missed && connections < 30; connections++ {
		w := v.watch("stream=$s&session=$i&deliver=events", "Last-Event-ID: "+mark)
		for n := 0; n < patience && version <= missed; n++ {
			var told struct{ Version int }
			v.decode(w.message().Data, &told)
			require.LessOrEqual(v, told.Version, version+1, "nothing is skipped")
			version = max(version, told.Version)
		}
		w.cut()
		if w.mark != "" {
			mark = w.mark
		}
	}
	require.Equal(v, missed+1, version, "after %d connections", connections)
}

func cutBetween(v *visit) {
	v.give(two[0])
	w := v.watch("stream=$s&session=$i").opens("state", counted(1, "$a", 1))
	mark := w.mark
	v.give("200 " + onStream("$b", "add", "$a", "$i", `{"n":2}`))
	landed := w.tells("landed", ownLanding("$b", 2))
	require.Empty(v, landed.ID, "the state of the same position has not been told")
	w.cut()
	for _, deliver := range []string{"state", "events"} {
		w = v.watch("stream=$s&session=$i&deliver="+deliver, "Last-Event-ID: "+mark)
		w.opens("landed", ownLanding("$b", 2), "state", counted(2, "$b", 3, change(2, "$b", 2)))
		require.Equal(v, w.positionOf(landed), mustPosition(v, v.position("$s")))
	}
}

func addedStream(v *visit) {
	v.give(two[0])
	v.give(`200 {"id":"$d","stream":"$s-2","type":"add","ticket":"genesis","actor":"Ann","data":{"n":9}}`)
	after := v.position("$s-2")
	v.give(two[1])
	other := pushed("$s-2", 1, "$d", `{"count":9}`, "add", "Ann", `,"events":[]`)
	v.watch("stream=$s&stream=$s-2@new&after="+after).opens("state", counted(2, "$b", 3, change(2, "$b", 2)), "state", other)
	w := v.watch("stream=$s&stream=$s-2@new&deliver=events&after=" + after)
	require.Len(v, w.opened(), 2)
	v.give(`200 {"id":"$e","stream":"$s-2","type":"add","ticket":"$d","actor":"Ann","data":{"n":1}}`)
	w.tells("state", pushed("$s-2", 2, "$e", `{"count":10}`, "add", "Ann", `,"events":[`+change(2, "$e", 1)+`]`))
}

func manyStreams(v *visit) {
	const n = 256
	v.fillStreams(n, nil)
	w := v.watch(streamsOf(n))
	require.Len(v, w.opened(), n)
	v.give(`200 {"id":"$a","stream":"$s-255","type":"set","policy":"any","data":{"n":7}}`)
	w.tells("state", `{"stream":"$s-255","version":2,"ticket":"$a","state":{"count":7},"position":"<position>","command":{"id":"$a","type":"set","actor":"","override":true},"at":"<time>",`+
		`"events":[{"version":2,"position":"<position>","type":"was_set","data":{"n":7},"command":{"id":"$a","type":"set","actor":"","override":true},"at":"<time>"}]}`)
}
