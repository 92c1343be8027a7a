package endtoend

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

// crowd is how many connections there are at once.
const crowd = 2000

// Promise 12: every queue is bounded, and overload is an honest 429 or 503.
func TestOverloadIsToldAndPasses(t *testing.T) {
	t.Parallel()
	p := onSQLite(t)
	// One lane, and a type that takes its time: what comes at once is more than can be queued.
	server := p.start(t, "--lanes", "1")
	idle := resident(t, server)
	s := newSender(t, p.url(), crowd)
	s.polite = true
	var requests [][]*commands.Command
	for range crowd / 4 {
		stream := commands.Stream{Type: "ledger", ID: commands.NewID().String()}
		ticket := commands.Genesis
		for range 4 {
			var request []*commands.Command
			for range 3 {
				c := command(stream, "hold", ticket, hold{N: 1, Millis: 1})
				request, ticket = append(request, c), c.ID
			}
			requests = append(requests, request)
		}
	}
	s.add(requests)
	s.sendAll()
	t.Logf("refused %v; %d MiB at first, %d MiB at most", s.refused, idle>>20, resident(t, server)>>20)
	require.Positive(t, s.refused["429 rate_limited"])
	require.Zero(t, s.torn+s.cut+s.unheard)
	require.Less(t, resident(t, server), idle+crowdMemory, "memory")
	found := audit(t, p.url(), s.commands())
	require.Equal(t, 3*crowd, found.landed)
	server.stop()
}

// bodies are how many there are at once, more than the 64 MiB that requests under way may hold.
const bodies = 320

// Bodies as large as may be, many at once, while the one who judges them is busy.
func TestLargeBodiesAtOnceStayWithinTheirMemory(t *testing.T) {
	t.Parallel()
	p := onSQLite(t)
	server := p.start(t)
	idle := resident(t, server)
	s := newSender(t, p.url(), bodies)
	s.polite = true
	// A second each, so that all bodies have come before the last of them is judged, and no code runs for too long.
	var jams []*commands.Command
	for n := range 4 {
		jam := command(commands.Stream{Type: "ledger", ID: fmt.Sprint("jam", n)}, "hold", commands.Genesis, hold{N: 1, Millis: 1000})
		jams = append(jams, jam)
	}
	text := strings.Repeat("0123456789abcdef", 15<<10) // 240 KiB
	s.add([][]*commands.Command{jams})
	s.resume()
	require.Eventually(t, func() bool { return metric(t, p, "doorman_bus_pending") > 0 }, patience, 10*time.Millisecond)
	for range bodies {
		s.add(alone([]*commands.Command{
			command(commands.Stream{Type: "ledger", ID: commands.NewID().String()}, "write", commands.Genesis, text),
		}))
	}
	s.sendAll()
	t.Logf("refused %v; %d MiB at first, %d MiB at most", s.refused, idle>>20, resident(t, server)>>20)
	// On a slow machine the bodies come one after another, and those that waited too long are told so.
	require.NotEmpty(t, s.refused)
	require.Zero(t, s.torn)
	require.Less(t, resident(t, server), idle+bodiesMemory, "memory")
	for _, jam := range jams {
		views, err := newClient(t, p.url()).Status(soon(t), jam.ID)
		require.NoError(t, err)
		require.Equal(t, commands.StatusLanded, views[0].Status)
	}
	server.stop()
}

// resident is the most memory that a process has had so far, in bytes.
func resident(t *testing.T, s *process) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.child.Process.Pid))
	require.NoError(t, err)
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
	require.NotNil(t, found)
	kilobytes, err := strconv.Atoi(string(found[1]))
	require.NoError(t, err)
	return kilobytes << 10
}
