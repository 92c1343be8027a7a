//go:build unix

package endtoend

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

// Two processes on one schema take the lanes from each other all the time. That is a mistake to make, since
// one of them would be faster; it is not one that costs anybody a command.
func TestTwoProcessesOnOneSchemaLoseNothing(t *testing.T) {
	t.Parallel()
	p := onPostgres(t)
	p.start(t)
	other := newPlace(t)
	other.args, other.environ = p.args, p.environ
	other.start(t)
	load := newPlan(seed(t), 60, 3)
	one, two := newSender(t, p.url(), 8), newSender(t, other.url(), 8)
	for i, request := range load.requests() {
		if i%2 == 0 {
			one.add([][]*commands.Command{request})
		} else {
			two.add([][]*commands.Command{request})
		}
	}
	one.resume()
	two.resume()
	one.sendAll()
	two.sendAll()
	one.add(alone(load.heldBack))
	one.sendAll()
	require.Len(t, union(one, two), load.size)
	require.Positive(t, metric(t, p, `doorman_commit_failures_total{cause="fenced"}`)+
		metric(t, other, `doorman_commit_failures_total{cause="fenced"}`), "they never met")
	audit(t, p.url(), union(one, two))
	audit(t, other.url(), union(one, two))
}

func union(senders ...*sender) []*commands.Command {
	all := map[commands.ID]*commands.Command{}
	for _, s := range senders {
		for _, c := range s.commands() {
			all[c.ID] = c
		}
	}
	return slices.Collect(maps.Values(all))
}
