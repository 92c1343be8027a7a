//go:build unix

package endtoend

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

// kills is how often a process is killed in one test.
const kills = 4

// Promises 1 to 4, 6 and 10 across kill -9: whatever got a 202 is there afterwards, once.
func TestKillingLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *place) {
		random := seed(t)
		load := newPlan(random, 200, 3)
		server := p.start(t)
		s := newSender(t, p.url(), 16)
		s.add(load.requests())
		outcomes := map[commands.ID]commands.CommandView{}
		share := load.size / (kills + 1)
		for kill := range kills {
			before := len(s.commands())
			s.resume()
			more := share/2 + random.IntN(share/2)
			s.await("commands are accepted", func() bool { return len(s.accepted) >= before+more })
			linger(random)
			s.change(func() { s.cut = 0 })
			server.kill()
			s.pause()
			require.Positive(t, s.cut, "nothing was under way when the process was killed")
			server = p.start(t)
			unanswered := remembers(t, p, s, load, outcomes)
			t.Logf("kill %d: %d accepted, %d requests cut off, of whose and all later commands %d were known; %d outcomes",
				kill+1, len(s.commands()), s.cut, unanswered, len(outcomes))
		}
		s.sendAll()
		require.Len(t, s.commands(), load.size-len(load.heldBack))
		isParked(t, p, load.waiting)
		s.add(alone(load.heldBack))
		s.sendAll()
		require.Len(t, s.commands(), load.size)
		found := audit(t, p.url(), s.commands())
		for id, before := range outcomes {
			now := found.views[id]
			require.Equal(t, before.Status, now.Status, "promise 4: outcomes never flip")
			require.Equal(t, before.Position, now.Position)
			require.Equal(t, before.Reason, now.Reason)
		}
		for _, c := range load.heldBack {
			require.Equal(t, commands.StatusLanded, found.views[c.ID].Status)
		}
		require.Greater(t, found.landed, load.size/2)
		t.Logf("%d landed, rejected %v", found.landed, found.rejected)
	})
}

// linger passes a random moment, so that a process is killed anywhere between two answers.
func linger(random *rand.Rand) {
	for until := time.Now().Add(time.Duration(random.IntN(3_000)) * time.Microsecond); time.Now().Before(until); {
		runtime.Gosched()
	}
}

// remembers checks that a process that has just started knows all that was accepted by those before it,
// notes the outcomes, and counts commands that it knows of though they got no answer.
func remembers(t *testing.T, p *place, s *sender, load *plan, outcomes map[commands.ID]commands.CommandView) (unanswered int) {
	t.Helper()
	var ids, others []commands.ID
	for _, c := range s.commands() {
		ids = append(ids, c.ID)
	}
	views, err := newClient(t, p.url()).Status(soon(t), ids...)
	require.NoError(t, err)
	settled := 0
	for _, view := range views {
		require.NotEqual(t, commands.StatusUnknown, view.Status, "command %s was accepted, and is not known after a restart", view.ID)
		before, known := outcomes[view.ID]
		if view.Status == commands.StatusParked {
			require.False(t, known, "command %s was %s, and is parked after a restart", view.ID, before.Status)
			continue
		}
		settled++
		if known {
			require.Equal(t, before.Position, view.Position, "position of %s", view.ID)
		}
		outcomes[view.ID] = view
	}
	require.Positive(t, settled)
	isParked(t, p, s.among(load.waiting))
	accepted := map[commands.ID]bool{}
	for _, id := range ids {
		accepted[id] = true
	}
	for _, c := range load.queue {
		if !accepted[c.ID] {
			others = append(others, c.ID)
		}
	}
	views, err = newClient(t, p.url()).Status(soon(t), others...)
	require.NoError(t, err)
	for _, view := range views {
		if view.Status != commands.StatusUnknown {
			unanswered++
		}
	}
	return unanswered
}

// isParked checks that commands wait, each for its predecessor, once all of them have arrived.
func isParked(t *testing.T, p *place, waiting []*commands.Command) {
	t.Helper()
	require.NotEmpty(t, waiting)
	ids := make([]commands.ID, len(waiting))
	for i, c := range waiting {
		ids[i] = c.ID
	}
	client, ctx := newClient(t, p.url()), soon(t)
	for {
		views, err := client.Status(ctx, ids...)
		require.NoError(t, err)
		on := slices.IndexFunc(views, func(v commands.CommandView) bool { return v.Status == commands.StatusUnknown })
		if on >= 0 && slices.Contains(p.args, "--rabbitmq-prefix") { // without, a 202 comes after the commit
			select {
			case <-time.After(20 * time.Millisecond):
				continue
			case <-ctx.Done():
				require.FailNow(t, "a command that was accepted does not arrive", "%s", ids[on])
			}
		}
		for i, view := range views {
			require.Equal(t, commands.StatusParked, view.Status, "command %s", view.ID)
			require.Equal(t, waiting[i].Ticket, view.WaitsFor)
		}
		return
	}
}
