package aggregatetest_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/aggregatetest"
	"github.com/ticketed/doorman/commands"
)

// A list of words that can be written well and in all the ways there are of writing it wrong.
type (
	list struct {
		Words  []string       `json:"words"`
		Counts map[string]int `json:"counts,omitempty"`
		seen   int
	}
	listEvent interface{ listEvent() }
	put       struct {
		Word string `json:"word"`
	}
	say struct {
		Word string `json:"word"`
	}
)

func (put) listEvent() {}

func decideWell(l list, c say) ([]listEvent, error) {
	switch {
	case c.Word == "":
		return nil, nil
	case slices.Contains(l.Words, c.Word):
		return nil, aggregate.Refuse("said_before", "%s was said before", c.Word)
	}
	return []listEvent{put(c)}, nil
}

func applyWell(l list, e put) list {
	l.Words = append(slices.Clip(l.Words), e.Word)
	return l
}

type (
	decide = func(list, say) ([]listEvent, error)
	apply  = func(list, put) list
)

func words(d decide, a apply) *aggregate.Typed[list, listEvent] {
	t := aggregate.Define[listEvent]("list", list{Words: []string{}}, aggregate.Settings{})
	aggregate.Handle(t, "say", d)
	aggregate.On(t, "put", a)
	aggregate.Upcast(t, "put", 1, func(old string) put { return put{Word: old} })
	return t.MustBuild()
}

// T is short for what the stories of these tests are told to.
type T = aggregatetest.T

// failure is what a story that fails says, instead of failing the test.
func failure(tell func(t T)) (message string) {
	defer func() {
		if said, failed := recover().(fatal); failed {
			message = string(said)
		}
	}()
	tell(teller{})
	return ""
}

type (
	teller struct{}
	fatal  string
)

func (teller) Helper()                           {}
func (teller) Fatalf(format string, args ...any) { panic(fatal(fmt.Sprintf(format, args...))) }

func TestAStoryOfWhatIsTruePasses(t *testing.T) {
	t.Parallel()
	typ := words(decideWell, applyWell)
	story := aggregatetest.For(t, typ).Given(put{Word: "<a>"}).
		When("say", say{Word: "b"}).Then(put{Word: "b"}).
		When("say", say{Word: "<a>"}).ThenRefused("said_before").
		When("say", nil).ThenNothing().
		When("say", say{Word: "c"}).ThenState(list{Words: []string{"<a>", "b", "c"}}).
		When("say", map[string]any{"word": 1}).ThenInvalid("/word").
		When("shout", nil).ThenUnknown()
	require.Equal(t, []string{"<a>", "b", "c"}, story.State().Words)

	aggregatetest.For(t, typ).GivenStored(commands.Event{Type: "put", Schema: 1, Data: []byte(`"old"`)}).
		ThenState(list{Words: []string{"old"}})
}

func TestAStoryOfWhatIsNotTrueFails(t *testing.T) {
	t.Parallel()
	typ := words(decideWell, applyWell)
	for _, row := range []struct {
		want string
		tell func(T)
	}{
		{
			"say was expected to land with\n  put {\"word\":\"a\"}\nit landed with\n  put {\"word\":\"b\"}",
			func(t T) { aggregatetest.For(t, typ).When("say", say{Word: "b"}).Then(put{Word: "a"}) },
		},
		{
			"say was expected to land with no events\nit landed with\n  put {\"word\":\"b\"}",
			func(t T) { aggregatetest.For(t, typ).When("say", say{Word: "b"}).ThenNothing() },
		},
		{
			"say was expected to land with no events\nit was turned away: said_before: a was said before",
			func(t T) { aggregatetest.For(t, typ).Given(put{Word: "a"}).When("say", say{Word: "a"}).ThenNothing() },
		},
		{
			"say was expected to be refused with code full\nit was turned away: said_before: a was said before",
			func(t T) {
				aggregatetest.For(t, typ).Given(put{Word: "a"}).When("say", say{Word: "a"}).ThenRefused("full")
			},
		},
		{
			"say was expected to be refused with code full\nit landed with no events",
			func(t T) { aggregatetest.For(t, typ).When("say", nil).ThenRefused("full") },
		},
		{
			"say was expected to be invalid at \"/word\"\nit was invalid at \"/w\": is not a field of this command",
			func(t T) { aggregatetest.For(t, typ).When("say", map[string]int{"w": 1}).ThenInvalid("/word") },
		},
		{
			"say was expected to be unknown\nit landed with no events",
			func(t T) { aggregatetest.For(t, typ).When("say", nil).ThenUnknown() },
		},
		{
			"say was expected to land\nit was turned away: said_before: a was said before",
			func(t T) {
				aggregatetest.For(t, typ).Given(put{Word: "a"}).When("say", say{Word: "a"}).ThenState(list{})
			},
		},
		{
			"the state is another:\n  want {\"words\":null}\n  got  {\"words\":[\"a\"]}",
			func(t T) { aggregatetest.For(t, typ).Given(put{Word: "a"}).ThenState(list{}) },
		},
		{
			"the command's data cannot be encoded: json: unsupported type: func()",
			func(t T) { aggregatetest.For(t, typ).When("say", func() {}) },
		},
		{
			`type "list" has no event "gone"`,
			func(t T) { aggregatetest.For(t, typ).GivenStored(commands.Event{Type: "gone", Schema: 1}) },
		},
		{
			"event of type <nil>: On was not called for that type",
			func(t T) { aggregatetest.For(t, typ).Given(nil) },
		},
	} {
		require.Equal(t, row.want, failure(row.tell))
	}
}

func TestTrapsOfDecidingAreFound(t *testing.T) {
	t.Parallel()
	calls := 0
	for want, wrong := range map[string]decide{
		"deciding on say changed the state it was given": func(l list, c say) ([]listEvent, error) {
			l.Words[0] = c.Word
			return nil, nil
		},
		"deciding on say twice does not give the same": func(list, say) ([]listEvent, error) {
			calls++
			return []listEvent{put{Word: strconv.Itoa(calls)}}, nil
		},
		"something else once the state has been stored and read back": func(l list, _ say) ([]listEvent, error) {
			return nil, aggregate.Refuse("seen", "%d", l.seen)
		},
		"deciding on say broke: out of order": func(list, say) ([]listEvent, error) {
			return nil, errors.New("out of order")
		},
	} {
		applySeen := func(l list, e put) list {
			l.seen++
			return applyWell(l, e)
		}
		message := failure(func(t T) {
			aggregatetest.For(t, words(wrong, applySeen)).Given(put{Word: "a"}).When("say", say{Word: "b"}).Then()
		})
		require.Contains(t, message, want)
	}
}

func TestTrapsOfEvolvingAreFound(t *testing.T) {
	t.Parallel()
	calls := 0
	for want, wrong := range map[string]apply{
		"applying put changed the state it was given": func(l list, e put) list {
			if len(l.Words) > 0 {
				l.Words[0] = e.Word
			}
			return applyWell(l, e)
		},
		"applying put twice to one state does not give the same": func(l list, _ put) list {
			calls++
			return applyWell(l, put{Word: strconv.Itoa(calls)})
		},
		"applying put gives something else once the state has been stored and read back": func(l list, e put) list {
			l.seen++
			return applyWell(l, put{Word: fmt.Sprint(e.Word, l.seen)})
		},
		"the state after put shares memory with the one before it": func(l list, e put) list {
			l.Words = append(l.Words, e.Word)
			return l
		},
	} {
		require.Contains(t, failure(func(t T) {
			aggregatetest.For(t, words(decideWell, wrong)).Given(
				put{Word: "a"}, put{Word: "b"}, put{Word: "c"}, put{Word: "d"})
		}), want)
	}
}

// forgetful writes less than it reads.
type forgetful struct{ Word string }

func (forgetful) listEvent() {}

func (f forgetful) MarshalJSON() ([]byte, error) { return []byte(`"` + f.Word + `."`), nil }

func (f *forgetful) UnmarshalJSON(text []byte) error {
	f.Word = string(text[1 : len(text)-1])
	return nil
}

func TestTrapsOfEncodingAreFound(t *testing.T) {
	t.Parallel()
	def := aggregate.Define[listEvent]("list", forgetful{}, aggregate.Settings{})
	aggregate.Handle(def, "say", func(forgetful, say) ([]listEvent, error) { return nil, nil })
	aggregate.On(def, "forgot", func(s forgetful, _ forgetful) forgetful { return s })
	aggregate.On(def, "put", func(_ forgetful, e put) forgetful { return forgetful(e) })
	typ := def.MustBuild()
	require.Contains(t, failure(func(t T) {
		aggregatetest.For(t, typ).Given(forgetful{Word: "x"})
	}), "event forgot is not what is read back once it has been stored")
	require.Contains(t, failure(func(t T) {
		aggregatetest.For(t, typ).Given(put{Word: "x"})
	}), "the state after put is not what is read back once it has been stored")
}
