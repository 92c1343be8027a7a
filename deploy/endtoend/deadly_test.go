//go:build unix

package endtoend

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// DESIGN section 7: "a frame that keeps coming back is judged command by command and the culprit ends failed",
// here one whose code ends the worker's process. Everything beside it lands.
func TestACommandThatEndsEveryProcessEndsAsFailed(t *testing.T) {
	t.Parallel()
	gate := overRabbitMQ(t)
	working := gate.beside(t)
	gateway := gate.start(t, "--roles", "gateway")
	beside := begin()
	stream := commands.Stream{Type: "ledger", ID: commands.NewID().String()}
	first := command(stream, "add", commands.Genesis, added{1})
	killer := command(stream, "die", first.ID, added{deadly})
	after := command(stream, "add", killer.ID, added{1})
	together := append([]commands.Command{*first, *killer, *after}, beside...)
	for _, result := range newClient(t, gate.url()).SendAll(soon(t), together, client.SendOptions{}) {
		require.NoError(t, result.Err)
	}
	ends := 0
	ask := newClient(t, gate.url())
	for settled := false; !settled; {
		worker := working.spawn(t, "--roles", "worker")
		for ended := false; !ended && !settled; {
			select {
			case <-worker.ended:
				require.Equal(t, deadly, worker.exit(), "%s", worker.log)
				ends++
				ended = true
			case <-time.After(20 * time.Millisecond):
			}
			view, err := ask.Status(soon(t), killer.ID)
			require.NoError(t, err)
			settled = view[0].Status == commands.StatusRejected
		}
		require.LessOrEqual(t, ends, 8, "%s", worker.log)
	}
	t.Logf("it ended %d processes", ends)
	view, err := ask.Await(soon(t), killer.ID)
	require.NoError(t, err)
	require.Equal(t, commands.Failed, view.Reason)
	view, err = ask.Await(soon(t), after.ID)
	require.NoError(t, err)
	require.Equal(t, commands.PredecessorRejected, view.Reason)
	for i := range beside {
		view, err := ask.Await(soon(t), beside[i].ID)
		require.NoError(t, err)
		require.Equal(t, commands.StatusLanded, view.Status)
	}
	gateway.stop()
}
