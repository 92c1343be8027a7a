package aggregate_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// nothingKnown are facts of which none has been looked up.
type nothingKnown struct{}

func (nothingKnown) Fact(commands.ID) (aggregate.Fact, bool) { return aggregate.Fact{}, false }
func (nothingKnown) Learn(commands.ID, aggregate.Fact)       {}

// DESIGN section 2: what is known of the command's own id comes first. The head action sent again is asked
// about even where its ticket is valid still, as after a landing without events: a store that was handed it once
// more would find that out only at the commit.
func TestTheHeadActionSentAgainIsAskedAbout(t *testing.T) {
	t.Parallel()
	head, before := commands.NewID(), commands.NewID()
	stream := commands.Stream{Type: "ledger", ID: "a"}
	for name, c := range map[string]struct {
		version uint64
		command commands.Command
	}{
		"by any":                   {3, commands.Command{Policy: commands.PolicyAny}},
		"by the genesis ticket":    {0, commands.Command{Ticket: commands.Genesis}},
		"by any and an old ticket": {3, commands.Command{Ticket: before, Policy: commands.PolicyAny}},
	} {
		inst := aggregate.Restore(ledger{}, stream, aggregate.Head{Version: c.version, Action: head}, nil, nil, nil, nil, nil)
		limits := aggregate.DefaultLimits
		r := &aggregate.Round{Limits: &limits, Facts: nothingKnown{}, Lot: &aggregate.Count{}, Now: time.Unix(1, 0),
			Clock: func(commands.Stream) time.Duration { return 0 }}
		c.command.ID, c.command.Stream, c.command.Type = head, stream, "look"
		env := commands.Seal(c.command, time.Unix(1, 0))
		require.Equal(t, aggregate.NeedFacts, r.Take(inst, &env), name)
		require.Contains(t, r.Need, head, name)
	}
}
