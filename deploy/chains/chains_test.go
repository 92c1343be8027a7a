package chains

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/document"
	"github.com/ticketed/doorman/aggregate/order"
	"github.com/ticketed/doorman/commands"
)

// told is a type's chains in short.
func told(chains []Chain) string {
	var lines []string
	for _, chain := range chains {
		var names []string
		for _, step := range chain {
			name := step.Info.Name
			if !step.Lands() {
				name += " (" + string(step.Reason) + ": " + step.Detail + ")"
			}
			names = append(names, name)
		}
		lines = append(lines, strings.Join(names, ", "))
	}
	return strings.Join(lines, "\n")
}

func TestBuiltInTypesCanBeTriedOutWhole(t *testing.T) {
	t.Parallel()
	require.Equal(t, "create, patch, replace, delete", told(Of(document.Type())))
	require.Equal(t, "add_line, assign_owner, change_line, submit, approve\n"+
		"add_line, remove_line\n"+
		"add_line, submit, refuse", told(Of(order.Type())))
}

// Played from the beginning, each chain lands by the type's own word.
func TestChainsLandAsTheyAreTold(t *testing.T) {
	t.Parallel()
	for _, typ := range []aggregate.Type{document.Type(), order.Type()} {
		for _, chain := range Of(typ) {
			state := typ.Initial()
			for _, step := range chain {
				events, err := typ.Decide(state, step.Info.Name, step.Data)
				require.NoError(t, err, "%s %s", typ.Name(), step.Info.Name)
				require.Equal(t, events, step.Events)
				for _, event := range events {
					state, err = typ.Evolve(state, event)
					require.NoError(t, err)
				}
			}
		}
	}
}

type tally struct {
	N int `json:"n"`
}

type happened interface{ happened() }

type grew struct {
	N int `json:"n"`
}

func (grew) happened() {}

func define(name string, decide func(tally, json.RawMessage) ([]happened, error)) *aggregate.Definition[tally, happened] {
	t := aggregate.Define[happened](name, tally{}, aggregate.Settings{})
	aggregate.Handle(t, "go", decide)
	aggregate.On(t, "grew", func(s tally, e grew) tally { return tally{s.N + e.N} })
	return t
}

func TestWhatLandsNowhereIsShownWithTheReason(t *testing.T) {
	t.Parallel()
	d := define("odd", func(tally, json.RawMessage) ([]happened, error) { panic("on purpose") })
	aggregate.Handle(d, "late", func(tally, struct{}) ([]happened, error) { return nil, aggregate.Refuse("no", "not today") })
	aggregate.Handle(d, "needy", func(_ tally, g grew) ([]happened, error) { return nil, nil },
		aggregate.Schema(`{"type":"object","required":["n"]}`))
	require.Equal(t, "go (failed: the code of the type breaks on it)\n"+
		"late (refused: not today)\n"+
		"needy (invalid: at /n: is missing)", told(Of(d.MustBuild())))
}

// broken is a type whose code breaks before anything is asked of it.
type broken struct {
	aggregate.Type
	initial bool // or, else, the encoding of its states
}

func (b broken) Initial() any {
	if b.initial {
		panic("on purpose")
	}
	return b.Type.Initial()
}

func (broken) EncodeState(any) ([]byte, error) { panic("on purpose") }

// DESIGN section 2: code of a type that breaks is never a crash.
func TestATypeThatCannotBeginIsShownAllTheSame(t *testing.T) {
	t.Parallel()
	for _, initial := range []bool{true, false} {
		for _, chain := range Of(broken{document.Type(), initial}) {
			require.Len(t, chain, 1)
			require.Equal(t, commands.Failed, chain[0].Reason)
			require.Equal(t, "it could not be tried", chain[0].Detail)
		}
	}
}

func TestASearchIsBounded(t *testing.T) {
	t.Parallel()
	calls := 0
	endless := define("endless", func(tally, json.RawMessage) ([]happened, error) {
		calls++
		return []happened{grew{1}}, nil
	})
	require.Equal(t, "go", told(Of(endless.MustBuild())), "as many states as there are numbers")
	require.LessOrEqual(t, calls, maxStates)

	release := make(chan struct{})
	stuck := define("stuck", func(tally, json.RawMessage) ([]happened, error) {
		<-release
		return nil, nil
	})
	chains := of(stuck.MustBuild(), time.Millisecond)
	close(release)
	require.Equal(t, "go (failed: trying the examples of this type took too long)", told(chains))
	require.Equal(t, commands.Failed, chains[0][0].Reason)

	// A search that finds no time to begin with ends the same way.
	typ := endless.MustBuild()
	late := &search{typ: typ, infos: typ.Commands(), until: time.Now().Add(-time.Second)}
	late.explore()
	require.Equal(t, told(chains), told(late.chains()))
}
