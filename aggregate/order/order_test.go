package order_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/aggregatetest"
	. "github.com/ticketed/doorman/aggregate/order"
	"github.com/ticketed/doorman/commands"
)

type story = *aggregatetest.Story[Order, Event]

func given(t *testing.T, events ...Event) story {
	t.Helper()
	return aggregatetest.For(t, Type()).Given(events...)
}

var (
	twoBolts = LineAdded{SKU: "BOLT", Qty: 2, PriceCents: 150}
	oneNut   = LineAdded{SKU: "NUT", Qty: 1, PriceCents: 99}
)

func TestAnOrderBeginsAsAnEmptyDraft(t *testing.T) {
	t.Parallel()
	given(t).ThenState(Order{Status: Draft, Lines: []Line{}})
}

func TestLinesAreAddedToADraft(t *testing.T) {
	t.Parallel()
	given(t, twoBolts).
		When("add_line", AddLine{SKU: "NUT", Qty: 1, PriceCents: 99}).
		Then(oneNut).
		ThenState(Order{Status: Draft, Lines: []Line{{"BOLT", 2, 150}, {"NUT", 1, 99}}, TotalCents: 399})
}

func TestAnArticleStandsOnOneLineOnly(t *testing.T) {
	t.Parallel()
	given(t, twoBolts).When("add_line", AddLine{SKU: "BOLT", Qty: 1, PriceCents: 150}).ThenRefused(LineExists)
}

func TestAnOrderHasABoundOnLines(t *testing.T) {
	t.Parallel()
	events := make([]commands.Event, MaxLines)
	for i := range events {
		var err error
		events[i], err = Type().EncodeEvent(LineAdded{SKU: fmt.Sprintf("SKU-%d", i), Qty: 1})
		require.NoError(t, err)
	}
	full := fold(t, Type().Initial(), events)
	_, err := Type().Decide(full, "add_line", []byte(`{"sku":"ONE-MORE","qty":1,"price_cents":1}`))
	var refusal *aggregate.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, TooManyLines, refusal.Code)
}

func TestALineIsChanged(t *testing.T) {
	t.Parallel()
	given(t, twoBolts, oneNut).
		When("change_line", ChangeLine{SKU: "BOLT", Qty: 10}).
		Then(LineChanged{SKU: "BOLT", Qty: 10}).
		ThenState(Order{Status: Draft, Lines: []Line{{"BOLT", 10, 150}, {"NUT", 1, 99}}, TotalCents: 1599}).
		When("change_line", ChangeLine{SKU: "BOLT", Qty: 10}).
		ThenNothing()
}

func TestALineIsRemoved(t *testing.T) {
	t.Parallel()
	given(t, twoBolts, oneNut).
		When("remove_line", RemoveLine{SKU: "BOLT"}).
		Then(LineRemoved{SKU: "BOLT"}).
		ThenState(Order{Status: Draft, Lines: []Line{{"NUT", 1, 99}}, TotalCents: 99})
}

func TestOnlyLinesOfTheOrderAreChangedOrRemoved(t *testing.T) {
	t.Parallel()
	given(t, twoBolts).When("change_line", ChangeLine{SKU: "NUT", Qty: 1}).ThenRefused(NoSuchLine)
	given(t, twoBolts).When("remove_line", RemoveLine{SKU: "NUT"}).ThenRefused(NoSuchLine)
}

func TestOnlyADraftIsChanged(t *testing.T) {
	t.Parallel()
	for _, past := range [][]Event{
		{twoBolts, OrderSubmitted{}},
		{twoBolts, OrderSubmitted{}, OrderApproved{}},
		{twoBolts, OrderSubmitted{}, OrderRefused{Reason: "Over budget"}},
	} {
		order := given(t, past...)
		order.When("add_line", AddLine{SKU: "NUT", Qty: 1, PriceCents: 99}).ThenRefused(NotDraft)
		order.When("change_line", ChangeLine{SKU: "BOLT", Qty: 3}).ThenRefused(NotDraft)
		order.When("remove_line", RemoveLine{SKU: "BOLT"}).ThenRefused(NotDraft)
		order.When("submit", nil).ThenRefused(NotDraft)
	}
}

func TestADraftWithLinesIsSubmitted(t *testing.T) {
	t.Parallel()
	given(t).When("submit", nil).ThenRefused(NoLines)
	given(t, twoBolts).
		When("submit", nil).
		Then(OrderSubmitted{}).
		ThenState(Order{Status: Submitted, Lines: []Line{{"BOLT", 2, 150}}, TotalCents: 300})
}

func TestASubmittedOrderIsDecidedOnOnce(t *testing.T) {
	t.Parallel()
	submitted := given(t, twoBolts, OrderSubmitted{})
	for name, closed := range map[string]story{
		"approved": submitted.When("approve", nil).Then(OrderApproved{}).
			ThenState(Order{Status: Approved, Lines: []Line{{"BOLT", 2, 150}}, TotalCents: 300}),
		"refused": submitted.When("refuse", Refuse{Reason: "Over budget"}).Then(OrderRefused{Reason: "Over budget"}).
			ThenState(Order{Status: Refused, Lines: []Line{{"BOLT", 2, 150}}, TotalCents: 300, Reason: "Over budget"}),
		"still a draft": given(t, twoBolts),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			closed.When("approve", nil).ThenRefused(NotSubmitted)
			closed.When("refuse", Refuse{Reason: "No"}).ThenRefused(NotSubmitted)
		})
	}
}

func TestTheOwnerIsAssignedUntilTheOrderIsClosed(t *testing.T) {
	t.Parallel()
	given(t).
		When("assign_owner", AssignOwner{Owner: "Ann"}).
		Then(OwnerAssigned{Owner: "Ann"}).
		ThenState(Order{Status: Draft, Owner: "Ann", Lines: []Line{}}).
		When("assign_owner", AssignOwner{Owner: "Ann"}).
		ThenNothing()
	submitted := given(t, twoBolts, OrderSubmitted{})
	submitted.When("assign_owner", AssignOwner{Owner: "Bob"}).Then(OwnerAssigned{Owner: "Bob"})
	submitted.When("approve", nil).Then(OrderApproved{}).
		When("assign_owner", AssignOwner{Owner: "Bob"}).ThenRefused(Closed)
	submitted.When("refuse", Refuse{Reason: "No"}).Then(OrderRefused{Reason: "No"}).
		When("assign_owner", AssignOwner{Owner: "Bob"}).ThenRefused(Closed)
}

func TestDataMustFitTheCommand(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ command, data, path string }{
		{"add_line", `{}`, "/price_cents"},
		{"add_line", `[]`, ""},
		{"add_line", `{"sku":"A","qty":1,"price_cents":1,"color":"red"}`, "/color"},
		{"add_line", `{"SKU":"A","qty":1,"price_cents":1}`, "/SKU"},
		{"add_line", `{"sku":"","qty":1,"price_cents":1}`, "/sku"},
		{"add_line", `{"sku":"A B","qty":1,"price_cents":1}`, "/sku"},
		{"add_line", `{"sku":"A","qty":0,"price_cents":1}`, "/qty"},
		{"add_line", `{"sku":"A","qty":10001,"price_cents":1}`, "/qty"},
		{"add_line", `{"sku":"A","qty":1.5,"price_cents":1}`, "/qty"},
		{"add_line", `{"sku":"A","qty":"1","price_cents":1}`, "/qty"},
		{"add_line", `{"sku":"A","qty":null,"price_cents":1}`, "/qty"},
		{"add_line", `{"sku":"A","qty":1,"price_cents":-1}`, "/price_cents"},
		{"add_line", `{"sku":"A","qty":1,"price_cents":1000000001}`, "/price_cents"},
		{"change_line", `{"sku":"A","qty":0}`, "/qty"},
		{"change_line", `{"sku":"A"}`, "/qty"},
		{"remove_line", `{}`, "/sku"},
		{"submit", `{"now":true}`, "/now"},
		{"approve", `{"by":"Ann"}`, "/by"},
		{"refuse", `{"reason":""}`, "/reason"},
		{"refuse", `{}`, "/reason"},
		{"assign_owner", `{"owner":""}`, "/owner"},
		{"assign_owner", `{"owner":"` + strings.Repeat("x", 101) + `"}`, "/owner"},
	} {
		t.Run(row.command+row.data[:min(len(row.data), 60)], func(t *testing.T) {
			t.Parallel()
			given(t, twoBolts, OrderSubmitted{}).When(row.command, json.RawMessage(row.data)).ThenInvalid(row.path)
		})
	}
	given(t).When("ship", nil).ThenUnknown()
}

// DESIGN section 2: order allows ticket, strict, session, and any for assign_owner alone.
func TestOnlyTheOwnerIsAssignedWithoutATicket(t *testing.T) {
	t.Parallel()
	for _, c := range Type().Commands() {
		for _, p := range commands.Policies() {
			want := p != commands.PolicyAny || c.Name == "assign_owner"
			require.Equal(t, want, Type().Allows(p, c.Name), "%s with %s", c.Name, p)
		}
		require.NotEmpty(t, c.Doc)
		require.NotEmpty(t, c.Schema)
		require.NotEmpty(t, c.Example)
	}
	require.Len(t, Type().Commands(), 7)
	require.False(t, Type().Allows(commands.PolicyAny, "ship"))
}

func TestLinesOfTheFirstVersionAreStillRead(t *testing.T) {
	t.Parallel()
	aggregatetest.For(t, Type()).GivenStored(
		commands.Event{Type: "line_added", Schema: 1, Data: []byte(`{"sku":"BOLT","qty":2,"price":3}`)},
		commands.Event{Type: "line_added", Schema: 2, Data: []byte(`{"sku":"NUT","qty":1,"price_cents":99}`)},
	).ThenState(Order{Status: Draft, Lines: []Line{{"BOLT", 2, 300}, {"NUT", 1, 99}}, TotalCents: 699})

	written, err := Type().EncodeEvent(twoBolts)
	require.NoError(t, err)
	require.Equal(t, 2, written.Schema)
}

// DESIGN section 5, promise 10: a state is the fold of its events, and a replay gives the same bytes,
// from whatever stored state it begins.
func TestReplayFromAnyPointGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	typ := Type()
	rapid.Check(t, func(t *rapid.T) {
		live := typ.Initial()
		var events []commands.Event
		states := []any{live}
		for range rapid.IntRange(1, 30).Draw(t, "commands") {
			command, data := anyCommand(t)
			decided, err := typ.Decide(live, command, data)
			if err != nil {
				continue
			}
			for _, e := range decided {
				live, err = typ.Evolve(live, e)
				require.NoError(t, err)
				events, states = append(events, e), append(states, live)
			}
		}
		split := rapid.IntRange(0, len(events)).Draw(t, "split")
		stored, err := typ.DecodeState([]byte(encoded(t, states[split])))
		require.NoError(t, err)
		require.Equal(t, encoded(t, live), encoded(t, fold(t, stored, events[split:])))
		require.Equal(t, encoded(t, states[split]), encoded(t, fold(t, typ.Initial(), events[:split])),
			"what came after has not touched an earlier state")
	})
}

func anyCommand(t *rapid.T) (command string, data []byte) {
	sku := rapid.SampledFrom([]string{"A", "B", "C"}).Draw(t, "sku")
	qty := rapid.IntRange(1, 3).Draw(t, "qty")
	command = rapid.SampledFrom([]string{
		"add_line", "add_line", "add_line", "change_line", "change_line", "remove_line", "assign_owner",
		"submit", "refuse",
	}).Draw(t, "command")
	text := ""
	switch command {
	case "add_line":
		text = fmt.Sprintf(`{"sku":%q,"qty":%d,"price_cents":10}`, sku, qty)
	case "change_line":
		text = fmt.Sprintf(`{"sku":%q,"qty":%d}`, sku, qty)
	case "remove_line":
		text = fmt.Sprintf(`{"sku":%q}`, sku)
	case "assign_owner":
		text = fmt.Sprintf(`{"owner":"<%s>"}`, sku)
	case "refuse":
		text = `{"reason":"no"}`
	}
	return command, []byte(text)
}

func fold(t require.TestingT, state any, events []commands.Event) any {
	for _, e := range events {
		var err error
		state, err = Type().Evolve(state, e)
		require.NoError(t, err)
	}
	return state
}

func encoded(t require.TestingT, state any) string {
	text, err := Type().EncodeState(state)
	require.NoError(t, err)
	return string(text)
}

// What the engine does for one line: judge the command, and apply the event that was stored.
func BenchmarkAddLine(b *testing.B) {
	typ := Type()
	state := fold(b, typ.Initial(), []commands.Event{
		{Type: "line_added", Schema: 2, Data: []byte(`{"sku":"NUT","qty":1,"price_cents":99}`)},
	})
	data := []byte(`{"sku":"BOLT","qty":2,"price_cents":150}`)
	events, err := typ.Decide(state, "add_line", data)
	require.NoError(b, err)
	b.Run("decide", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = typ.Decide(state, "add_line", data)
		}
	})
	b.Run("evolve", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = typ.Evolve(state, events[0])
		}
	})
}
