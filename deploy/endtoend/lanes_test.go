//go:build unix

package endtoend

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
	"github.com/ticketed/doorman/commands"
)

// operate runs a subcommand of `doorman lanes` on the store of a place.
func operate(t *testing.T, p *place, args ...string) *process {
	t.Helper()
	return doorman(t, p.environ, append(append([]string{"lanes"}, args...), p.args...)...)
}

// lanesOf is what `doorman lanes` tells.
func lanesOf(t *testing.T, p *place) (view struct {
	Lanes     int
	Changes   int
	Change    *struct{ Lanes int }
	List      []struct{ Owner string }
	Processes []struct {
		Share int
		Alive bool
	}
}) {
	t.Helper()
	asking := operate(t, p, "--json")
	require.Equal(t, 0, asking.exit(), "%s", asking.log)
	require.NoError(t, json.Unmarshal(asking.out.Bytes(), &view))
	return view
}

// changeTo changes the number of lanes.
func changeTo(t *testing.T, p *place, lanes string) {
	t.Helper()
	changing := operate(t, p, "set", lanes)
	require.Equal(t, 0, changing.exit(), "%s", changing.log)
	require.Contains(t, changing.log.String(), "There are "+lanes+" lanes now; there were ")
	require.Contains(t, changing.log.String(), "Commands are taken again.")
	t.Logf("%s", changing.log)
}

// worked waits until so many lanes are worked by these.
func worked(t *testing.T, lanes int, workers ...*place) {
	t.Helper()
	require.Eventually(t, func() bool {
		total := 0
		for _, p := range workers {
			total += metric(t, p, "doorman_lanes")
		}
		return total == lanes
	}, patience, 20*time.Millisecond)
}

// withChangedLanes is overRabbitMQ for a test that changes the number of lanes up to this many times.
func withChangedLanes(t *testing.T, times, most int) *place {
	t.Helper()
	p := overRabbitMQ(t)
	var queues []string
	for generation := range times {
		for lane := range most {
			queues = append(queues, fmt.Sprintf("g%d.lane.%d", generation+1, lane))
		}
	}
	t.Cleanup(func() { rabbitmqtest.DeleteQueues(t, p.argument("--rabbitmq-prefix"), queues...) })
	return p
}

// Promises 1 to 4, 6 and 10 while the number of lanes changes under load, with the operation killed in the
// middle, a gateway frozen for the whole of one, and a worker killed in another one: whatever got a 202 has one
// outcome, and what was parked goes on.
func TestTheNumberOfLanesChangesUnderLoad(t *testing.T) {
	t.Parallel()
	random := seed(t)
	gate := withChangedLanes(t, 3, 32)
	other, first, second := gate.beside(t), gate.beside(t), gate.beside(t)
	first.start(t, "--roles", "worker")
	dies := second.start(t, "--roles", "worker")
	gateway := gate.start(t, "--roles", "gateway")
	freezes := other.start(t, "--roles", "gateway")

	load := newPlan(random, 60, 3)
	requests := load.requests()
	s := newSender(t, gate.url(), 8)
	through := newSender(t, other.url(), 4)
	quarter := len(requests) / 4
	s.add(requests[:quarter])
	s.resume()
	s.await("commands are accepted", func() bool { return len(s.accepted) >= load.size/12 })
	changeTo(t, gate, "5")
	require.Equal(t, 5, lanesOf(t, gate).Lanes)
	s.sendAll()
	worked(t, 5, first, second)
	isParked(t, gate, s.among(load.waiting))

	// Killed in the middle: everybody goes on once it is undone, or its time is over.
	for half, undo := range []bool{true, false} {
		killed := operate(t, gate, "set", "9", "--timeout", "3s")
		require.True(t, killed.says("Commands are refused from now on"), "%s", killed.log)
		killed.kill()
		if undo {
			undone := operate(t, gate, "abort")
			require.Equal(t, 0, undone.exit(), "%s", undone.log)
			require.Equal(t, "The change was undone.\n", undone.out.String())
		} else {
			require.Equal(t, 9, lanesOf(t, gate).Change.Lanes)
		}
		s.add(requests[quarter*(2+half)/2 : quarter*(3+half)/2])
		s.sendAll()
	}
	require.Eventually(t, func() bool { return lanesOf(t, gate).Change == nil }, patience, 100*time.Millisecond)

	// A gateway that froze with commands under way, and wakes up with another number around it.
	through.add(requests[2*quarter : 3*quarter])
	through.resume()
	through.await("commands are accepted", func() bool { return len(through.accepted) >= load.size/12 })
	freezes.signal(syscall.SIGSTOP)
	s.add(requests[3*quarter:])
	s.resume()
	changing := operate(t, gate, "set", "32")
	require.True(t, changing.says("Commands are refused from now on"), "%s", changing.log)
	dies.kill()
	require.Equal(t, 0, changing.exit(), "%s", changing.log)
	t.Logf("%s", changing.log)
	freezes.signal(syscall.SIGCONT)
	through.sendAll()
	s.add(alone(load.heldBack))
	s.sendAll()

	view := lanesOf(t, gate)
	require.Equal(t, 32, view.Lanes)
	require.Len(t, view.List, 32)
	worked(t, 32, first)                       // the one that is left
	all := map[commands.ID]*commands.Command{} // some were sent twice, once through each gateway
	for _, c := range append(s.commands(), through.commands()...) {
		all[c.ID] = c
	}
	sent := slices.Collect(maps.Values(all))
	require.Equal(t, load.size, len(sent)) //nolint:testifylint // the list says nothing
	stand(t, gate, sent, func(status commands.Status) bool { return status != commands.StatusUnknown })
	found := audit(t, gate.url(), sent)
	for _, c := range load.heldBack {
		require.Equal(t, commands.StatusLanded, found.views[c.ID].Status)
	}
	t.Logf("%d landed, rejected %v; refused %v and %v, %d cut off", found.landed, found.rejected, s.refused, through.refused, through.cut)
	require.Positive(t, s.refused["503 unavailable"]+through.refused["503 unavailable"])
	gateway.stop()
	freezes.stop()
}

// DESIGN section 7: what a frozen worker holds is back within 15 s, and when it wakes up it commits nothing on
// what others hold by then; one that is stopped leaves its lanes at once; one that joins gets its share.
func TestLanesOfAWorkerThatFreezesOrLeavesGoOn(t *testing.T) {
	t.Parallel()
	gate := overRabbitMQ(t)
	first, second := gate.beside(t), gate.beside(t)
	gateway := gate.start(t, "--roles", "gateway")
	stays := first.start(t, "--roles", "worker")
	freezes := second.start(t, "--roles", "worker")
	shared := func() bool { return metric(t, first, "doorman_lanes") == 8 && metric(t, second, "doorman_lanes") == 8 }
	require.Eventually(t, shared, patience, 20*time.Millisecond)
	for _, p := range lanesOf(t, gate).Processes {
		require.True(t, p.Alive)
	}

	s := newSender(t, gate.url(), 4)
	load := newPlan(seed(t), 30, 3)
	requests := load.requests()
	s.add(requests[:len(requests)/2])
	s.resume()
	s.await("commands are accepted", func() bool { return len(s.accepted) >= load.size/8 })
	freezes.signal(syscall.SIGSTOP)
	sent := allLand(t, gate, begin(), 15*time.Second)
	freezes.signal(syscall.SIGCONT)
	require.Eventually(t, shared, patience, 20*time.Millisecond, "it has its share again")
	sent = append(sent, allLand(t, gate, begin(), 10*time.Second)...)

	s.add(requests[len(requests)/2:])
	freezes.stop()
	sent = append(sent, allLand(t, gate, begin(), 5*time.Second)...)
	worked(t, 16, first)
	s.add(alone(load.heldBack))
	s.sendAll()
	sent = append(sent, s.commands()...)
	stand(t, gate, sent, func(status commands.Status) bool { return status != commands.StatusUnknown })
	audit(t, gate.url(), sent)
	stays.stop()
	gateway.stop()
}
