package aggregate_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// A tiny type to try things on.
type (
	tally struct {
		Sum   int               `json:"sum"`
		Notes map[string]string `json:"notes,omitempty"`
	}
	tallyEvent interface{ tallyEvent() }
	added      struct {
		By int `json:"by"`
	}
	noted struct {
		Key  string `json:"key"`
		Text string `json:"text"`
	}
	add struct {
		By int `json:"by"`
	}
)

func (added) tallyEvent() {}
func (noted) tallyEvent() {}

func decideAdd(_ tally, c add) ([]tallyEvent, error) { return []tallyEvent{added(c)}, nil }
func applyAdded(s tally, e added) tally              { s.Sum += e.By; return s }
func applyNoted(s tally, e noted) tally {
	notes := map[string]string{e.Key: e.Text}
	for key, text := range s.Notes {
		if key != e.Key {
			notes[key] = text
		}
	}
	s.Notes = notes
	return s
}

func defineTally(settings aggregate.Settings) *aggregate.Definition[tally, tallyEvent] {
	t := aggregate.Define[tallyEvent]("tally", tally{}, settings)
	aggregate.Handle(t, "add", decideAdd, aggregate.Doc("Adds."), aggregate.Example(`{"by":1}`))
	aggregate.Handle(t, "note", func(_ tally, c noted) ([]tallyEvent, error) { return []tallyEvent{c}, nil },
		aggregate.Allow(aggregate.PolicyAny))
	aggregate.On(t, "added", applyAdded)
	aggregate.On(t, "noted", applyNoted)
	return t
}

func TestATypeIsAllThatWasDefined(t *testing.T) {
	t.Parallel()
	typ, err := defineTally(aggregate.Settings{Policies: []aggregate.Policy{aggregate.PolicyStrict}}).Build()
	require.NoError(t, err)
	require.Equal(t, "tally", typ.Name())
	require.Equal(t, tally{}, typ.Initial())
	require.Equal(t, aggregate.Settings{
		Policies:      []commands.Policy{commands.PolicyTicket, commands.PolicyStrict},
		ParkFor:       30 * time.Second,
		SessionWindow: 10 * time.Second,
	}, typ.Settings())
	require.Equal(t, []aggregate.CommandInfo{
		{
			Name: "add", Doc: "Adds.", Example: []byte(`{"by":1}`),
			Policies: []commands.Policy{commands.PolicyTicket, commands.PolicyStrict},
		},
		{Name: "note", Policies: []commands.Policy{commands.PolicyTicket, commands.PolicyStrict, commands.PolicyAny}},
	}, typ.Commands())
}

// DESIGN section 2: other policies are asked for per command and allowed per type.
func TestPoliciesAreAllowedByTypeAndByCommand(t *testing.T) {
	t.Parallel()
	typ := defineTally(aggregate.Settings{Policies: []aggregate.Policy{aggregate.PolicySession}}).MustBuild()
	for command, allowed := range map[string][]commands.Policy{
		"add":     {commands.PolicyTicket, commands.PolicySession},
		"note":    {commands.PolicyTicket, commands.PolicySession, commands.PolicyAny},
		"unknown": {commands.PolicyTicket, commands.PolicySession},
	} {
		for _, p := range commands.Policies() {
			require.Equal(t, slices.Contains(allowed, p), typ.Allows(p, command), "%s with %s", command, p)
		}
	}
	bare := defineTally(aggregate.Settings{}).MustBuild()
	require.True(t, bare.Allows(commands.PolicyTicket, "add"))
	require.False(t, bare.Allows(commands.PolicyStrict, "add"))
}

func TestEventsAreStoredCompactAndUnescaped(t *testing.T) {
	t.Parallel()
	typ := defineTally(aggregate.Settings{}).MustBuild()
	events, err := typ.Decide(typ.Initial(), "note", []byte(`{ "key":"<a&b>", "text":"\u00e9" }`))
	require.NoError(t, err)
	require.Equal(t, []commands.Event{{Type: "noted", Schema: 1, Data: []byte(`{"key":"<a&b>","text":"é"}`)}}, events)

	state, err := typ.Evolve(typ.Initial(), events[0])
	require.NoError(t, err)
	text, err := typ.EncodeState(state)
	require.NoError(t, err)
	require.Equal(t, []byte(`{"sum":0,"notes":{"<a&b>":"é"}}`), text)
	again, err := typ.DecodeState(text)
	require.NoError(t, err)
	require.Equal(t, state, again)
}

func TestUnknownCommandsAndEventsAreToldApart(t *testing.T) {
	t.Parallel()
	typ := defineTally(aggregate.Settings{}).MustBuild()
	_, err := typ.Decide(typ.Initial(), "subtract", nil)
	require.ErrorIs(t, err, aggregate.ErrUnknownCommand)
	_, err = typ.Evolve(typ.Initial(), commands.Event{Type: "subtracted", Schema: 1, Data: []byte(`{}`)})
	require.ErrorContains(t, err, `"tally" has no event "subtracted"`)
	_, err = typ.Evolve(typ.Initial(), commands.Event{Type: "added", Schema: 2, Data: []byte(`{}`)})
	require.ErrorContains(t, err, `"added" has version 2; this program knows 1 to 1`)
	_, err = typ.Evolve(typ.Initial(), commands.Event{Type: "added", Schema: 0, Data: []byte(`{}`)})
	require.ErrorContains(t, err, "version 0")
	_, err = typ.Evolve(typ.Initial(), commands.Event{Type: "added", Schema: 1, Data: []byte(`{"by":"x"}`)})
	require.ErrorContains(t, err, `decode event "added", version 1`)
	_, err = typ.DecodeState([]byte(`[]`))
	require.ErrorContains(t, err, "decode state")
}

func TestRefusalsAndOtherErrorsComeThroughAsTheyAre(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, want := range []error{aggregate.Refuse("no", "not %d", 1), &aggregate.InvalidError{Path: "/by"}, broken} {
		def := aggregate.Define[tallyEvent]("tally", tally{}, aggregate.Settings{})
		aggregate.Handle(def, "add", func(tally, add) ([]tallyEvent, error) { return []tallyEvent{added{}}, want })
		typ := def.MustBuild()
		events, err := typ.Decide(typ.Initial(), "add", nil)
		require.Same(t, want, err)
		require.Empty(t, events)
	}
}

func TestAnEventThatIsNotRegisteredIsTheTypesFault(t *testing.T) {
	t.Parallel()
	for _, e := range []tallyEvent{noted{}, &added{}, nil} {
		def := aggregate.Define[tallyEvent]("tally", tally{}, aggregate.Settings{})
		aggregate.Handle(def, "add", func(tally, add) ([]tallyEvent, error) { return []tallyEvent{e}, nil })
		aggregate.On(def, "added", applyAdded)
		typ := def.MustBuild()
		_, err := typ.Decide(typ.Initial(), "add", nil)
		require.ErrorContains(t, err, "On was not called for that type")
	}
}

func TestEverythingWrongIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	type stranger struct{}
	def := aggregate.Define[tallyEvent]("Tally!", tally{}, aggregate.Settings{
		Policies: []aggregate.Policy{9}, ParkFor: 6 * time.Minute, SessionWindow: -1,
	})
	aggregate.Handle(def, "Add Line", decideAdd)
	aggregate.Handle(def, "add", decideAdd, aggregate.Schema(`{"type":"objekt"}`))
	aggregate.Handle(def, "add", decideAdd)
	aggregate.Handle(def, "refer", decideAdd, aggregate.Schema(`{"$ref":"file:///etc/passwd"}`))
	aggregate.Handle(def, "text", decideAdd, aggregate.Schema(`{`))
	aggregate.Handle(def, "example", decideAdd, aggregate.Example(`{"times":1}`), aggregate.Allow(7))
	aggregate.Handle(def, "sample", decideAdd, aggregate.Example(`{by:1}`))
	aggregate.Handle[tally, tallyEvent, add](def, "nothing", nil)
	aggregate.On(def, "added", applyAdded)
	aggregate.On(def, "added", applyNoted)
	aggregate.On(def, "plus", applyAdded)
	aggregate.On(def, "strange", func(s tally, _ stranger) tally { return s })
	aggregate.On(def, "any", func(s tally, _ tallyEvent) tally { return s })
	aggregate.On(def, "Bad", func(s tally, _ noted) tally { return s })
	aggregate.On[tally, tallyEvent, *noted](def, "none", nil)
	aggregate.Upcast(def, "added", 0, func(e added) added { return e })
	aggregate.Upcast(def, "added", 1, func(e added) noted { return noted{} })
	aggregate.Upcast(def, "added", 3, func(e noted) noted { return e })
	aggregate.Upcast(def, "added", 3, func(e noted) noted { return e })
	aggregate.Upcast(def, "missed", 1, func(e noted) noted { return e })
	aggregate.Upcast[tally, tallyEvent, added, added](def, "plus", 1, nil)

	_, err := def.Build()
	for _, want := range []string{
		`"Tally!" is not a name for a type`,
		"Settings: there is no policy 9",
		"ParkFor is 6m0s; it may be up to 5m0s",
		"SessionWindow is -1ns; it cannot be negative",
		`"Add Line" is not a name for a command`,
		`command "add": its schema cannot be used`,
		`command "add" is handled twice`,
		`command "refer": its schema cannot be used`,
		`command "text": its schema cannot be used`,
		`command "example": its own example would be turned away: at /times: is not a field of this command`,
		`command "example": there is no policy 7`,
		`command "sample": its example is not JSON`,
		`command "nothing" has no function`,
		`event "added" is given twice`,
		`events "added" and "plus" are both of type aggregate_test.added`,
		`event "strange": aggregate_test.stranger is no aggregate_test.tallyEvent`,
		`event "any": aggregate_test.tallyEvent is an interface`,
		`"Bad" is not a name for an event`,
		`event "none" has no function`,
		`event "added": there is no version 0`,
		`event "added": version 2 has no upcast`,
		`event "added": version 3 is upcast twice`,
		`event "added": upcasting version 3 gives aggregate_test.noted, but version 4 is aggregate_test.added`,
		`event "missed" is upcast, but On was not called for it`,
		`event "plus" has no function to upcast version 1`,
	} {
		require.ErrorContains(t, err, want)
	}
	require.PanicsWithError(t, err.Error(), func() { def.MustBuild() })
}

func TestWhatCannotBeAStateOrEventIsReported(t *testing.T) {
	t.Parallel()
	_, err := aggregate.Define[added]("tally", func() {}, aggregate.Settings{}).Build()
	require.ErrorContains(t, err, "it has no command")
	require.ErrorContains(t, err, "its initial state cannot be encoded")

	def := aggregate.Define[added]("tally", tally{}, aggregate.Settings{})
	aggregate.On(def, "added", applyAdded)
	_, err = def.Build()
	require.ErrorContains(t, err, "the type that events share must be an interface, not aggregate_test.added")
}

// Three shapes of one event: a text, then a number, then an object with a unit.
type (
	weighedV1 struct{ Kilos string }
	weighedV2 struct{ Kilos int }
	weighed   struct{ Grams int }
)

func (weighed) tallyEvent() {}

func TestOldEventsClimbTheWholeChain(t *testing.T) {
	t.Parallel()
	def := defineTally(aggregate.Settings{})
	aggregate.Upcast(def, "weighed", 2, func(old weighedV2) weighed { return weighed{Grams: 1000 * old.Kilos} })
	aggregate.On(def, "weighed", func(s tally, e weighed) tally { s.Sum += e.Grams; return s })
	aggregate.Upcast(def, "weighed", 1, func(old weighedV1) weighedV2 { return weighedV2{Kilos: len(old.Kilos)} })
	for range 2 { // building again changes nothing
		typ := def.MustBuild()
		state := typ.Initial()
		for _, stored := range []commands.Event{
			{Type: "weighed", Schema: 1, Data: []byte(`{"Kilos":"xxx"}`)},
			{Type: "weighed", Schema: 2, Data: []byte(`{"Kilos":20}`)},
			{Type: "weighed", Schema: 3, Data: []byte(`{"Grams":1}`)},
		} {
			var err error
			state, err = typ.Evolve(state, stored)
			require.NoError(t, err)
		}
		require.Equal(t, tally{Sum: 23001}, state)

		newest, err := typ.EncodeEvent(weighed{Grams: 5})
		require.NoError(t, err)
		require.Equal(t, commands.Event{Type: "weighed", Schema: 3, Data: []byte(`{"Grams":5}`)}, newest)
		back, err := typ.DecodeEvent(commands.Event{Type: "weighed", Schema: 2, Data: []byte(`{"Kilos":7}`)})
		require.NoError(t, err)
		require.Equal(t, weighed{Grams: 7000}, back)
		_, err = typ.Evolve(state, commands.Event{Type: "weighed", Schema: 1, Data: []byte(`{"Kilos":3}`)})
		require.ErrorContains(t, err, `decode event "weighed", version 1`)
		_, err = typ.DecodeEvent(commands.Event{Type: "weighed", Schema: 4, Data: []byte(`{}`)})
		require.ErrorContains(t, err, "this program knows 1 to 3")
	}
}

// A command of json.RawMessage gets its data compact, and keeps it: what the caller does to the bytes it
// gave does not matter.
func TestRawDataIsCompactedAndOwned(t *testing.T) {
	t.Parallel()
	var got json.RawMessage
	def := aggregate.Define[tallyEvent]("tally", tally{}, aggregate.Settings{})
	aggregate.Handle(def, "take", func(_ tally, data json.RawMessage) ([]tallyEvent, error) {
		got = data
		return nil, nil
	})
	typ := def.MustBuild()
	sent := []byte(` { "a" : 1e400 , "b" : "< >" } `)
	_, err := typ.Decide(tally{}, "take", sent)
	require.NoError(t, err)
	copy(sent, "xxxxxxxxxxxxxxxxxxxxx")
	require.Equal(t, json.RawMessage(`{"a":1e400,"b":"< >"}`), got)

	_, err = typ.Decide(tally{}, "take", nil)
	require.NoError(t, err)
	require.Equal(t, json.RawMessage(`null`), got)
	_, err = typ.Decide(tally{}, "take", []byte(`{} {}`))
	require.ErrorContains(t, err, "is not JSON")
}
