package contracttest

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

// ownLanding is what a session is told of its command.
func ownLanding(id string, version int) string {
	return fmt.Sprintf(`{"id":%q,"stream":"$s","version":%d,"ticket":%q,"position":"<position>"}`, id, version, id)
}

func ownLanded(v *visit) {
	both := v.watch("stream=$s&session=$i").opens("state", untouched("$s"))
	each := v.watch("stream=$s&session=$i&deliver=events").opens("state", untouched("$s"))
	alone := v.watch("session=$i").opens()
	v.give("200 " + onStream("$a", "add", "genesis", "$i", `{"n":1}`))
	for _, w := range []*watcher{both, each} {
		landed := w.tells("landed", ownLanding("$a", 1))
		state := w.tells("state", counted(1, "$a", 1, change(1, "$a", 1)))
		require.Equal(v, w.positionOf(landed), w.positionOf(state))
	}
	b := alone.tells("landed", ownLanding("$a", 1))
	if b.ID == "" {
		alone.marked()
	}
	require.GreaterOrEqual(v, mustPosition(v, alone.mark).N, alone.positionOf(b).N)
	v.give("200 " + onStream("$b", "note", "$a", "$i", `{}`))
	both.tells("landed", ownLanding("$b", 1))
	both.tells("state", pushed("$s", 1, "$b", `{"count":1}`, "note", "Ann", `,"events":[]`))
}

func ownParked(v *visit) {
	w := v.watch("session=$i").opens()
	v.give("202 " + parkedFor("$i"))
	parked := w.tells("parked", waitingFor("$c", "$h"))
	require.Empty(v, parked.ID)
	late := v.watch("session=$i").opens("parked", waitingFor("$c", "$h"))
	v.give("200 " + add("$h", "genesis", 1))
	w.tells("landed", ownLanding("$c", 2))
	late.tells("landed", ownLanding("$c", 2))
	v.watch("session=$i").opens()
	v.watch("session=$i&after=" + v.position("$s")).opens()
}

// DESIGN section 2: who waits on a parked command waits at least as long as that one.
func extended(v *visit) {
	w := v.watch("session=$i").opens()
	v.give("202 " + onStream("$b", "add", "$a", "$i", `{"n":1}`))
	until := func() (at time.Time) {
		var told struct{ Until time.Time }
		v.decode(w.tells("parked", waitingFor("$b", "$a")).Data, &told)
		return told.Until
	}
	first := until()
	// Time to wait is counted in steps; one passes while this waits in vain.
	pause := with(get("", "/v1/commands/$b", nil, 200, `"<any>"`, "Preference-Applied: wait=1"), "Prefer: wait=1")
	pause.run(v)
	v.give("202 " + onStream("$a", "add", "$h", "", `{"n":1}`))
	second := until()
	require.True(v, second.After(first), "%s is told again, as %s", first, second)
	require.WithinDuration(v, v.until("$b"), second, time.Second)
}

// until is when a parked command expires, as GET tells it.
func (v *visit) until(id string) time.Time {
	v.Helper()
	var view struct{ Until time.Time }
	v.learn(&row{method: "GET", path: "/v1/commands/" + id}, 200, &view)
	return view.Until
}

func ownRejected(v *visit) {
	v.give(two[0])
	w := v.watch("session=$i&stream=$s").opens("state", counted(1, "$a", 1))
	after := w.mark
	v.give("202 " + onStream("$c", "add", "$b", "$i", `{"n":1}`))
	w.tells("parked", waitingFor("$c", "$b"))
	v.give("422 " + onStream("$b", "refuse", "$a", "$i", `{}`))
	root := turnedAway("$b", "refuse", commands.Refused, 1, "$a", "$b", commands.Refused, `,"refusal":"not_today","state":{"count":1},"missed":[]`)
	follower := turnedAway("$c", "add", commands.PredecessorRejected, 1, "$a", "$b", commands.Refused, "")
	w.tells("rejected", root)
	w.tells("rejected", follower)
	v.give("409 " + onStream("$d", "add", "genesis", "$i", `{"n":1}`))
	stale := turnedAway("$d", "add", commands.StaleTicket, 1, "$a", "$d", commands.StaleTicket, `,"state":{"count":1},"missed":[`+change(1, "$a", 1)+`]`)
	w.tells("rejected", stale)
	v.watch("session=$i&stream=$s&after="+after).opens("rejected", root, "rejected", follower, "rejected", stale)
}

func ownExpired(v *visit) {
	w := v.watch("session=$i").opens()
	v.give(`202 {"id":"$a","stream":"hasty/$i","type":"add","ticket":"$h","session":"$i","data":{"n":1}}`)
	require.Equal(v, "parked", w.message().Event)
	b := w.message()
	require.Equal(v, "rejected", b.Event)
	var told struct{ ID, Reason string }
	v.decode(b.Data, &told)
	require.Equal(v, v.names["$a"], told.ID)
	require.Equal(v, string(commands.PredecessorMissing), told.Reason)
}

// DESIGN section 2: a repeat is told again, to the asking session too; of another payload under the same id
// only the asking session hears.
func askedAgain(v *visit) {
	v.give("200 " + onStream("$a", "add", "genesis", "$i", `{"n":1}`))
	v.give("202 " + onStream("$c", "add", "$h", "$i", `{"n":1}`))
	v.give("409 " + onStream("$d", "add", "genesis", "$i", `{"n":1}`))
	own := v.watch("session=$i").opens("parked", waitingFor("$c", "$h"))
	other := v.watch("session=other-$i").opens()
	v.give("200 " + onStream("$a", "add", "genesis", "other-$i", `{"n":1}`))
	other.tells("landed", ownLanding("$a", 1))
	v.give("202 " + onStream("$c", "add", "$h", "other-$i", `{"n":1}`))
	other.tells("parked", waitingFor("$c", "$h"))
	v.give("409 " + onStream("$d", "add", "genesis", "other-$i", `{"n":1}`))
	other.tells("rejected", turnedAway("$d", "add", commands.StaleTicket, 1, "$a", "$d", commands.StaleTicket,
		`,"state":{"count":1},"missed":[`+change(1, "$a", 1)+`]`))
	v.give("422 " + onStream("$a", "add", "genesis", "other-$i", `{"n":2}`))
	b := other.tells("refused", `{"id":"$a","stream":"$s","code":"id_conflict","detail":"<text>"}`)
	require.Empty(v, b.ID)
	v.give("200 " + onStream("$b", "add", "$a", "$i", `{"n":1}`))
	own.tells("landed", ownLanding("$b", 2))
}

func twoSessions(v *visit) {
	w := v.watch("session=one-$i&session=two-$i").opens()
	by := v.watchBy(&row{path: "/v1/notifications", body: `{"sessions":["two-$i","one-$i"]}`}).opens()
	v.give("200 " + onStream("$a", "add", "genesis", "one-$i", `{"n":1}`))
	v.give("200 " + onStream("$b", "add", "$a", "three-$i", `{"n":1}`))
	v.give("200 " + onStream("$c", "add", "$b", "two-$i", `{"n":1}`))
	for _, reader := range []*watcher{w, by} {
		reader.tells("landed", ownLanding("$a", 1))
		reader.tells("landed", ownLanding("$c", 3))
	}
}

func whileAway(v *visit) {
	w := v.watch("session=$i").opens()
	mark := w.mark
	w.cut()
	v.give("200 " + onStream("$a", "add", "genesis", "$i", `{"n":1}`))
	v.give("422 " + onStream("$b", "refuse", "$a", "$i", `{}`))
	v.give("202 " + parkedFor("$i"))
	parked := []string{"parked", waitingFor("$c", "$h")}
	missed := []string{"landed", ownLanding("$a", 1),
		"rejected", turnedAway("$b", "refuse", commands.Refused, 1, "$a", "$b", commands.Refused, `,"refusal":"not_today","state":{"count":1},"missed":[]`)}
	for _, w := range []*watcher{v.watch("session=$i&after=" + mark), v.watch("session=$i", "Last-Event-ID: "+mark)} {
		got := w.opened()
		require.Len(v, got, 3)
		for _, b := range got {
			want := missed[:2]
			switch b.Event {
			case "parked":
				want = parked
			case "rejected":
				want = missed[2:]
			}
			require.Equal(v, want[0], b.Event)
			v.match(want[1], b.Data)
		}
	}
	v.watch("session=$i").opens(parked...)
}

// "shown to nobody else": not even to those who watch the same streams with their own.
func secretSession(v *visit) {
	const secret = "s3cret"
	each := v.watch("stream=$s&session=other-$i&deliver=events").opens("state", untouched("$s"))
	state := v.watch("stream=$s&session=other-$i").opens("state", untouched("$s"))
	v.give("200 " + onStream("$a", "add", "genesis", secret+"-$i", `{"n":1}`))
	v.give("409 " + onStream("$b", "add", "genesis", secret+"-$i", `{"n":1}`))
	v.give("409 " + onStream("$c", "add", "genesis", "other-$i", `{"n":1}`))
	for _, w := range []*watcher{each, state} {
		w.tells("state", counted(1, "$a", 1, change(1, "$a", 1)))
		require.Equal(v, "rejected", w.message().Event)
		require.NotContains(v, w.raw.String(), secret)
		require.NotContains(v, w.raw.String(), "other-")
	}
	_, _, body := v.ask(&row{method: "GET", path: "/v1/streams/$s/events"})
	require.NotContains(v, string(body), secret)
	again := v.watch("stream=$s@0&deliver=events")
	again.opened()
	require.NotContains(v, again.raw.String(), secret)
}
