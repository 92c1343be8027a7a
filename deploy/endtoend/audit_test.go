//go:build unix

package endtoend

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// report is what an audit found.
type report struct {
	landed   int
	rejected map[commands.Reason]int
	views    map[commands.ID]commands.CommandView
	epoch    string
}

// audit reads through the API what became of all commands that a store was ever given, each once in the
// list, waits for those that are under way, and holds it against DESIGN section 5: promises 1 to 4, 6 and
// 10. It judges by a second, simpler account of the ticket rules.
func audit(t *testing.T, url string, all []*commands.Command) *report {
	t.Helper()
	a := &auditor{T: t, client: newClient(t, url), commands: map[commands.ID]*commands.Command{},
		streams: map[commands.Stream][]commands.CommandView{}}
	a.rejected, a.views = map[commands.Reason]int{}, map[commands.ID]commands.CommandView{}
	ids := make([]commands.ID, len(all))
	for i, c := range all {
		ids[i], a.commands[c.ID] = c.ID, c
	}
	require.Len(t, a.commands, len(all))
	a.settle(ids)
	a.positions()
	for stream, outcomes := range a.streams {
		a.path(stream, outcomes)
	}
	return &a.report
}

type auditor struct {
	*testing.T
	client   *client.Client
	commands map[commands.ID]*commands.Command
	streams  map[commands.Stream][]commands.CommandView // in the order of the log
	report
}

// settle: promise 1, every accepted command ends in exactly one outcome.
func (a *auditor) settle(ids []commands.ID) {
	views, err := a.client.Status(soon(a.T), ids...)
	require.NoError(a, err)
	for i, view := range views {
		if view.Status == commands.StatusParked {
			view, err = a.client.Await(soon(a.T), ids[i])
			require.NoError(a, err)
		}
		require.Contains(a, []commands.Status{commands.StatusLanded, commands.StatusRejected}, view.Status, "command %s", ids[i])
		require.Equal(a, ids[i], view.ID)
		require.Equal(a, a.commands[view.ID].Stream, view.Stream)
		a.views[view.ID] = view
		if view.Status == commands.StatusLanded {
			a.landed++
		} else {
			a.rejected[view.Reason]++
		}
	}
}

// positions: promise 6, they are dense, one for each outcome.
func (a *auditor) positions() {
	inOrder := slices.SortedFunc(maps.Values(a.views), func(x, y commands.CommandView) int {
		return int(x.Position.N) - int(y.Position.N)
	})
	for i, view := range inOrder {
		require.EqualValues(a, i+1, view.Position.N, "position of %s", view.ID)
		require.Equal(a, inOrder[0].Position.Epoch, view.Position.Epoch)
		a.streams[view.Stream] = append(a.streams[view.Stream], view)
	}
	if len(inOrder) > 0 {
		a.epoch = inOrder[0].Position.Epoch
	}
}

// path: promise 2, versions without holes and every landed command's ticket valid where it landed; promise
// 3, one effect a command; promise 4, a rejection's reason is true; promise 10, the state is the fold.
func (a *auditor) path(stream commands.Stream, outcomes []commands.CommandView) {
	var version uint64
	head := commands.Genesis
	landedAt := map[commands.ID]uint64{}
	rejected := map[commands.ID]commands.CommandView{}
	var expected []commands.ID // by version
	for _, view := range outcomes {
		c := a.commands[view.ID]
		at, landed := landedAt[c.Ticket]
		valid := c.Ticket == commands.Genesis && version == 0 || landed && at == version
		if view.Status == commands.StatusLanded {
			require.True(a, valid || c.Policy == commands.PolicyAny, "command %s landed at version %d of %s with the ticket %s", c.ID, version, stream, c.Ticket)
			for range effects(c) {
				expected = append(expected, c.ID)
			}
			version, head = uint64(len(expected)), c.ID
			require.Equal(a, version, view.Version, "version of %s", c.ID)
			landedAt[c.ID] = version
			continue
		}
		switch before, known := rejected[c.Ticket]; view.Reason {
		case commands.StaleTicket:
			require.True(a, !valid && (landed || c.Ticket == commands.Genesis), "command %s is told to be stale", c.ID)
		case commands.TicketNotCurrent:
			require.True(a, !valid && c.Policy == commands.PolicyStrict, "command %s is told not to be current", c.ID)
		case commands.PredecessorRejected:
			require.True(a, known, "the predecessor %s of %s was not rejected before", c.Ticket, c.ID)
			require.Equal(a, before.Root, view.Root)
			require.Equal(a, before.RootReason, view.RootReason)
		case commands.PredecessorMissing:
			require.False(a, landed || known, "the predecessor %s of %s is told to be missing", c.Ticket, c.ID)
		case commands.Refused:
			require.True(a, valid && c.Type == "refuse", "command %s", c.ID)
		default:
			require.Fail(a, "rejected", "command %s: %s: %s", c.ID, view.Reason, view.Detail)
		}
		rejected[c.ID] = view
	}
	a.changelog(stream, expected)
	now, err := a.client.Stream(soon(a.T), stream)
	require.NoError(a, err)
	require.Equal(a, version, now.Version, "version of %s", stream)
	require.Equal(a, head, now.Ticket, "ticket of %s", stream)
}

// effects is how many events a command has when it lands.
func effects(c *commands.Command) int {
	switch c.Type {
	case "note":
		return 0
	case "add_twice":
		return 2
	}
	return 1
}

func (a *auditor) changelog(stream commands.Stream, expected []commands.ID) {
	sum, n := 0, 0
	for change, err := range a.client.AllEvents(soon(a.T), stream, 0) {
		require.NoError(a, err)
		require.Less(a, n, len(expected), "%s has more events than it should", stream)
		require.EqualValues(a, n+1, change.Version, "of %s", stream)
		require.Equal(a, expected[n], change.Command.ID, "version %d of %s", change.Version, stream)
		require.Equal(a, a.views[change.Command.ID].Position, change.Position)
		require.Equal(a, a.commands[change.Command.ID].Policy == commands.PolicyAny, change.Command.Override)
		var data added
		require.NoError(a, json.Unmarshal(change.Data, &data))
		sum += data.N
		n++
	}
	require.Len(a, expected, n, "events of %s", stream)
	if n == 0 {
		return
	}
	now, err := a.client.Stream(soon(a.T), stream)
	require.NoError(a, err)
	if strings.HasPrefix(stream.Type, "document") {
		return
	}
	var state tally
	require.NoError(a, json.Unmarshal(now.State, &state))
	require.Equal(a, sum, state.Count, "state of %s", stream)
}
