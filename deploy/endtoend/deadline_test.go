//go:build unix

package endtoend

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// DESIGN section 2, parking time-out: "It counts only time in which the stream's lane is being worked".
// Promise 5: it is over by the deadline and 2 s of that time.
func TestADeadlineCountsWorkingTimeAlone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		place func(*testing.T) *place
		leave func(*process)
		come  func(*testing.T, *place, *process)
		// counted is how much of the time away may be taken for working time: a process cannot tell a
		// short sleep from a busy machine.
		counted time.Duration
	}{
		{"killed, on sqlite", onSQLite, (*process).kill, startAgain, 0},
		{"killed, on postgres", onPostgres, (*process).kill, startAgain, 0},
		{"stopped, on postgres", onPostgres, (*process).stop, startAgain, 0},
		{
			"frozen, on sqlite", onSQLite, func(s *process) { s.signal(syscall.SIGSTOP) },
			func(_ *testing.T, _ *place, s *process) { s.signal(syscall.SIGCONT) }, time.Second,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := tt.place(t)
			server := p.start(t)
			before := time.Now()
			chain := waitInVain(t, p)
			parked := time.Now()
			pass(briefly / 2)
			leaving := time.Now()
			tt.leave(server)
			left := time.Now()
			pass(briefly + briefly/4)
			coming := time.Now()
			tt.come(t, p, server)
			here := time.Now()
			root, err := newClient(t, p.url()).Await(soon(t), chain[0].ID)
			require.NoError(t, err)
			over := time.Now()

			// What was worked at most must be enough, what was worked at least not too much.
			require.GreaterOrEqual(t, left.Sub(before)+over.Sub(coming)+tt.counted, briefly, "it expired early")
			const measuring = time.Second // what asking takes on a busy machine
			require.Less(t, leaving.Sub(parked)+over.Sub(here), briefly+2*time.Second+measuring, "it expired late")

			require.Equal(t, commands.PredecessorMissing, root.Reason)
			require.Equal(t, root.ID, root.Root)
			views, err := newClient(t, p.url()).Status(soon(t), chain[1].ID, chain[2].ID)
			require.NoError(t, err)
			for i, view := range views {
				require.Equal(t, commands.PredecessorRejected, view.Reason)
				require.Equal(t, root.ID, view.Root)
				require.Equal(t, commands.PredecessorMissing, view.RootReason)
				require.Equal(t, root.Position.N+uint64(i)+1, view.Position.N, "rejected in one go")
			}
			again, err := newClient(t, p.url()).Send(soon(t), *chain[2], client.SendOptions{Wait: patience})
			require.NoError(t, err)
			require.Equal(t, views[1].Position, again.Position, "it is told again, and nothing more")
		})
	}
}

func startAgain(t *testing.T, p *place, _ *process) {
	t.Helper()
	p.start(t)
}

// pass lets time go by, which is what these tests are about.
func pass(d time.Duration) { <-time.After(d) }

// waitInVain parks three commands, each on the one before, and the first on one that never comes.
func waitInVain(t *testing.T, p *place) []*commands.Command {
	t.Helper()
	stream := commands.Stream{Type: "brief", ID: commands.NewID().String()}
	ticket := commands.NewID()
	var chain []*commands.Command
	for range 3 {
		c := command(stream, "add", ticket, added{1})
		chain, ticket = append(chain, c), c.ID
		view, err := newClient(t, p.url()).Send(soon(t), *c, client.SendOptions{})
		require.NoError(t, err)
		require.Equal(t, commands.StatusAccepted, view.Status)
	}
	views, err := newClient(t, p.url()).Status(soon(t), chain[0].ID, chain[1].ID, chain[2].ID)
	require.NoError(t, err)
	for i, view := range views {
		require.Equal(t, commands.StatusParked, view.Status)
		require.WithinDuration(t, time.Now().Add(briefly), view.Until, briefly)
		require.False(t, i > 0 && view.Until.Before(views[0].Until), "who waits on a parked command waits as long as that")
	}
	return chain
}
