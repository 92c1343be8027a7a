package document

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ticketed/doorman/aggregate/aggregatetest"
	"github.com/ticketed/doorman/commands"
)

func raw(text string) json.RawMessage { return json.RawMessage(text) }

func created(text string) Created { return Created{raw(text)} }

func state(text string) Document { return Document{raw(text)} }

func given(t *testing.T, events ...Event) *aggregatetest.Story[Document, Event] {
	t.Helper()
	return aggregatetest.For(t, Type()).Given(events...)
}

func TestADocumentIsNullUntilItIsCreated(t *testing.T) {
	t.Parallel()
	given(t).ThenState(state("null")).
		When("create", raw(`{ "title" : "Draft",  "n": 1.0 }`)).
		Then(created(`{"title":"Draft","n":1.0}`)).
		ThenState(state(`{"title":"Draft","n":1.0}`))
}

func TestCreateIsRefusedWhereThereIsADocument(t *testing.T) {
	t.Parallel()
	given(t, created(`{}`)).When("create", raw(`{"a":1}`)).ThenRefused(AlreadyExists)
}

func TestPatchMerges(t *testing.T) {
	t.Parallel()
	given(t, created(`{"title":"Draft","tags":["a"],"author":{"name":"Ann","mail":"x"}}`)).
		When("patch", raw(`{"tags": null, "author": {"mail": null}, "rev": 2}`)).
		Then(Patched{raw(`{"tags":null,"author":{"mail":null},"rev":2}`)}).
		ThenState(state(`{"title":"Draft","author":{"name":"Ann"},"rev":2}`))
}

func TestReplacePutsAnotherInItsPlace(t *testing.T) {
	t.Parallel()
	given(t, created(`{"a":1}`)).
		When("replace", raw(`{"b":null}`)).
		Then(Replaced{raw(`{"b":null}`)}).
		ThenState(state(`{"b":null}`))
}

func TestChangesThatChangeNothingLandWithoutEvents(t *testing.T) {
	t.Parallel()
	story := given(t, created(`{"a":1.0,"b":{"c":["\u00e9"]}}`))
	story.When("patch", raw(`{}`)).ThenNothing()
	story.When("patch", raw(`{"a":1.0,"b":{"c":["é"],"d":null}}`)).ThenNothing()
	story.When("replace", raw(`{"b":{"c":["é"]},"a":1.0}`)).ThenNothing()
	story.When("patch", raw(`{"a":1}`)).Then(Patched{raw(`{"a":1}`)})
	story.When("replace", raw(`{"b":{"c":["é"]},"a":1}`)).Then(Replaced{raw(`{"b":{"c":["é"]},"a":1}`)})
}

func TestWhereThereIsNoDocumentOnlyCreateGoes(t *testing.T) {
	t.Parallel()
	for name, story := range map[string]*aggregatetest.Story[Document, Event]{
		"not yet":      given(t),
		"not any more": given(t, created(`{"a":1}`)).When("delete", nil).Then(Deleted{}).ThenState(state("null")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story.When("patch", raw(`{"a":2}`)).ThenRefused(DoesNotExist)
			story.When("replace", raw(`{"a":2}`)).ThenRefused(DoesNotExist)
			story.When("delete", nil).ThenRefused(DoesNotExist)
			story.When("create", raw(`{"b":3}`)).Then(created(`{"b":3}`)).ThenState(state(`{"b":3}`))
		})
	}
}

// A patch that is no object would replace the whole document by RFC 7396; here it is a mistake.
func TestDataMustBeAnObject(t *testing.T) {
	t.Parallel()
	story := given(t, created(`{"a":1}`))
	for _, command := range []string{"create", "patch", "replace"} {
		for _, data := range []string{`null`, `[]`, `"x"`, `1`, `true`} {
			story.When(command, raw(data)).ThenInvalid("")
		}
		story.When(command, nil).ThenInvalid("")
	}
	story.When("delete", raw(`{"why":"x"}`)).ThenInvalid("/why")
	story.When("erase", raw(`{}`)).ThenUnknown()
	_, err := Type().Decide(Document{}, "create", []byte(`{"a":`))
	require.ErrorContains(t, err, "is not JSON")
}

func TestADocumentStaysWithinItsSize(t *testing.T) {
	t.Parallel()
	text := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	story := given(t, created(`{"a":`+text(MaxSize-100)+`}`))
	story.When("patch", raw(`{"b":`+text(200)+`}`)).ThenRefused(TooLarge)
	story.When("patch", raw(`{"a":1}`)).ThenState(state(`{"a":1}`))
	story.When("patch", raw(`{"b":1}`)).Then(Patched{raw(`{"b":1}`)})
}

// DESIGN section 2: document allows all four.
func TestAllPoliciesAreAllowed(t *testing.T) {
	t.Parallel()
	require.Equal(t, commands.Policies(), Type().Settings().Policies)
	for _, p := range commands.Policies() {
		require.True(t, Type().Allows(p, "patch"), p)
	}
}

// DESIGN section 5, promise 10: a state is the fold of its events, and a replay gives the same bytes,
// from whatever stored state it begins.
func TestReplayFromAnyPointGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	typ := Type()
	rapid.Check(t, func(t *rapid.T) {
		live := typ.Initial()
		var events []commands.Event
		states := [][]byte{encoded(t, live)}
		names := []string{"create", "patch", "patch", "patch", "replace", "delete"}
		for range rapid.IntRange(1, 12).Draw(t, "commands") {
			command := rapid.SampledFrom(names).Draw(t, "command")
			data := []byte(anyObject(3).Draw(t, "data"))
			if command == "delete" {
				data = nil
			}
			decided, err := typ.Decide(live, command, data)
			if err != nil {
				continue
			}
			before := encoded(t, live)
			for _, e := range decided {
				live, err = typ.Evolve(live, e)
				require.NoError(t, err)
				events, states = append(events, e), append(states, encoded(t, live))
			}
			changed := !commands.EqualJSON(before, encoded(t, live))
			require.Equal(t, len(decided) > 0, changed, "%s %s on %s", command, data, before)
		}
		split := rapid.IntRange(0, len(events)).Draw(t, "split")
		replayed, err := typ.DecodeState(states[split])
		require.NoError(t, err)
		for _, e := range events[split:] {
			replayed, err = typ.Evolve(replayed, e)
			require.NoError(t, err)
		}
		require.Equal(t, string(encoded(t, live)), string(encoded(t, replayed)))
	})
}

func encoded(t require.TestingT, state any) []byte {
	text, err := Type().EncodeState(state)
	require.NoError(t, err)
	return text
}

func ExampleType() {
	typ := Type()
	state := typ.Initial()
	for _, c := range []struct{ name, data string }{
		{"create", `{"title":"Draft","tags":["a"]}`},
		{"patch", `{"title":"Report","tags":null}`},
		{"patch", `{"title":"Report"}`},
	} {
		events, err := typ.Decide(state, c.name, []byte(c.data))
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, e := range events {
			state, _ = typ.Evolve(state, e)
		}
		text, _ := typ.EncodeState(state)
		fmt.Println(len(events), string(text))
	}
	// Output:
	// 1 {"title":"Draft","tags":["a"]}
	// 1 {"title":"Report"}
	// 0 {"title":"Report"}
}
