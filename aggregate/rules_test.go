package aggregate_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// The space of questions is small enough to be walked through whole: every combination of what can be
// known, in the words of DESIGN section 2. Each is judged by the first row of its table that fits, and
// every row must be met.

// cell is one combination of what is known.
type cell struct {
	policy  commands.Policy
	own     aggregate.Own
	ticket  string // what it names
	version uint64 // of the head
	last    string // who did the last action, as session policy sees it
	closes  bool
	room    aggregate.Room
}

var (
	ticketKinds = []string{"itself", "genesis", "head", "before events", "no event since", "rejected", "parked", "unheard"}
	lastKinds   = []string{"nobody", "same session in the window", "same session at the window's end", "same session too late",
		"same session by any", "another session", "no session"}
)

const (
	window  = 10 * time.Second
	session = "tab"
)

var (
	me      = commands.ID{1}
	other   = commands.ID{2}
	theRoot = commands.ID{3}
	headID  = commands.ID{4}
	now     = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
)

// impossible says why a combination cannot come up; Judge is never asked it.
func (c cell) impossible() string {
	switch {
	case c.closes && c.ticket != "parked":
		return "only a chain that starts at a parked command leads anywhere"
	case c.ticket == "head" && c.last == "nobody":
		return "a head action is the last action"
	case c.ticket == "before events" && c.version == 0:
		return "there was no event"
	case (c.ticket == "before events" || c.ticket == "no event since") && c.last == "nobody":
		return "an action landed, so there is a last one"
	case c.version > 0 && c.last == "nobody":
		return "events come from actions"
	}
	return ""
}

func (c cell) question() aggregate.Question {
	q := aggregate.Question{ID: me, Ticket: other, Policy: c.policy, Session: session, Now: now, Window: window,
		Own: c.own, Closes: c.closes, Room: c.room}
	if c.last != "nobody" {
		q.Head = aggregate.Head{Version: c.version, Action: headID, At: now.Add(-time.Second), Session: session}
	}
	switch c.last {
	case "same session at the window's end":
		q.Head.At = now.Add(-window)
	case "same session too late":
		q.Head.At = now.Add(-window - time.Microsecond)
	case "same session by any":
		q.Head.ByAny = true
	case "another session":
		q.Head.Session = "another"
	case "no session":
		q.Head.Session, q.Session = "", ""
	}
	switch c.ticket {
	case "itself":
		q.Ticket = me
	case "genesis":
		q.Ticket = commands.Genesis
	case "head":
		q.Ticket, q.Named = headID, aggregate.Fact{Standing: aggregate.Landed, Version: c.version}
	case "before events":
		q.Named = aggregate.Fact{Standing: aggregate.Landed, Version: c.version - 1}
	case "no event since":
		q.Named = aggregate.Fact{Standing: aggregate.Landed, Version: c.version}
	case "rejected":
		q.Named = aggregate.Fact{Standing: aggregate.Rejected, Root: theRoot, RootReason: commands.Refused}
	case "parked":
		q.Named = aggregate.Fact{Standing: aggregate.Parked}
	}
	return q
}

// valid: it names an action of this stream after which no event has been appended, or genesis at 0.
func (c cell) valid() bool {
	return c.ticket == "head" || c.ticket == "no event since" || c.ticket == "genesis" && c.version == 0
}

// privileged: the last action landed from the same non-empty session within the window and was not let
// in by any.
func (c cell) privileged() bool {
	return c.last == "same session in the window" || c.last == "same session at the window's end"
}

type row struct {
	rule string // of DESIGN section 2
	fits func(cell) bool
	want aggregate.Verdict
}

func rejects(reason commands.Reason) aggregate.Verdict {
	return aggregate.Verdict{Ruling: aggregate.Reject, Reason: reason, Root: me, RootReason: reason}
}

func of(policies ...commands.Policy) func(cell) bool {
	return func(c cell) bool {
		return slices.Contains(policies, c.policy)
	}
}

var rows = []row{
	{"known: same payload -> repeat", func(c cell) bool { return c.own == aggregate.OwnSame }, aggregate.Verdict{Ruling: aggregate.Repeat}},
	{"known: different payload -> id_conflict", func(c cell) bool { return c.own == aggregate.OwnDifferent }, aggregate.Verdict{Ruling: aggregate.Conflict}},

	{"any: no check, last write wins", of(commands.PolicyAny), aggregate.Verdict{Ruling: aggregate.Admit}},

	{"strict: valid now -> admit", func(c cell) bool { return of(commands.PolicyStrict)(c) && c.valid() }, aggregate.Verdict{Ruling: aggregate.Admit}},
	{"strict: else reject at once, never parks", of(commands.PolicyStrict), rejects(commands.TicketNotCurrent)},

	{"session: a ticket naming a rejected command still rejects", func(c cell) bool {
		return of(commands.PolicySession)(c) && c.privileged() && c.ticket == "rejected"
	}, aggregate.Verdict{Ruling: aggregate.Reject, Reason: commands.PredecessorRejected, Root: theRoot, RootReason: commands.Refused}},
	{"session: within the window the ticket is not checked", func(c cell) bool {
		return of(commands.PolicySession)(c) && c.privileged()
	}, aggregate.Verdict{Ruling: aggregate.Admit}},

	{"ticket: the command itself", func(c cell) bool { return c.ticket == "itself" }, rejects(commands.SelfTicket)},
	{"ticket: genesis at version 0", func(c cell) bool { return c.ticket == "genesis" && c.version == 0 }, aggregate.Verdict{Ruling: aggregate.Admit}},
	{"ticket: genesis above 0", func(c cell) bool { return c.ticket == "genesis" }, rejects(commands.StaleTicket)},
	{"ticket: an action after which no event came", cell.valid, aggregate.Verdict{Ruling: aggregate.Admit}},
	{"ticket: an action, and events came after it", func(c cell) bool { return c.ticket == "before events" }, rejects(commands.StaleTicket)},
	{"ticket: a rejected command, naming the root", func(c cell) bool { return c.ticket == "rejected" },
		aggregate.Verdict{Ruling: aggregate.Reject, Reason: commands.PredecessorRejected, Root: theRoot, RootReason: commands.Refused}},
	{"ticket: parking it would close a loop", func(c cell) bool { return c.closes }, rejects(commands.TicketCycle)},
	{"ticket: no room to park", func(c cell) bool { return c.room != aggregate.RoomFree }, rejects(commands.ParkingFull)},
	{"ticket: a parked command -> park", func(c cell) bool { return c.ticket == "parked" }, aggregate.Verdict{Ruling: aggregate.Park}},
	{"ticket: nothing known on this stream -> park", func(c cell) bool { return c.ticket == "unheard" }, aggregate.Verdict{Ruling: aggregate.Park}},
}

func TestTheTicketRulesCellByCell(t *testing.T) {
	met := make([]int, len(rows))
	impossible := map[string]int{}
	for c := range cells {
		if why := c.impossible(); why != "" {
			impossible[why]++
			continue
		}
		q := c.question()
		for i, r := range rows {
			if r.fits(c) {
				require.Equal(t, r.want, aggregate.Judge(&q), "%s\n%+v", r.rule, c)
				met[i]++
				break
			}
			require.Less(t, i+1, len(rows), "no row fits %+v", c)
		}
	}
	for i, r := range rows {
		require.NotZero(t, met[i], "no cell is judged by: %s", r.rule)
	}
	require.Len(t, impossible, 5, "each impossible kind is one: %v", impossible)
}

func cells(yield func(cell) bool) {
	for _, policy := range commands.Policies() {
		for own := aggregate.OwnFresh; own <= aggregate.OwnDifferent; own++ {
			for _, ticket := range ticketKinds {
				for _, version := range []uint64{0, 1, 7} {
					for _, last := range lastKinds {
						for _, closes := range []bool{false, true} {
							for room := aggregate.RoomFree; room <= aggregate.RoomServerFull; room++ {
								if !yield(cell{policy, own, ticket, version, last, closes, room}) {
									return
								}
							}
						}
					}
				}
			}
		}
	}
}

func TestAnAnyCommandNeedsNoTicket(t *testing.T) {
	q := aggregate.Question{ID: me, Policy: commands.PolicyAny, Head: aggregate.Head{Version: 3, Action: headID}}
	require.Equal(t, aggregate.Admit, aggregate.Judge(&q).Ruling)
}

func ExampleJudge() {
	// Ann changed the order a moment ago; Bob still acts on what he saw before.
	ann, before, bob := commands.ID{1}, commands.ID{2}, commands.ID{3}
	verdict := aggregate.Judge(&aggregate.Question{
		ID: bob, Ticket: before,
		Head:  aggregate.Head{Version: 5, Action: ann},
		Named: aggregate.Fact{Standing: aggregate.Landed, Version: 4},
	})
	fmt.Println(verdict.Ruling == aggregate.Reject, verdict.Reason)
	// Output: true stale_ticket
}
