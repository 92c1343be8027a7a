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

// Promise 12: every queue is bounded, and overload is an honest 429 or 503.
func TestOverloadIsToldAndPasses(t *testing.T) {
	t.Parallel()
	p := onSQLite(t)
	// One lane, and a type that takes its time: what comes at once is more than can be queued.
	// So many who ask are slow themselves on a busy machine, which is not what is to be told here.
	server := p.start(t, "--lanes", "1", "--http-read-header-timeout", patience.String())
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
	const seconds = 4 // in which everybody comes, on a slow machine too
	jam(t, p, s, seconds)
	s.add(requests)
	s.sendAll()
	t.Logf("refused %v; %d MiB at first, %d MiB at most", s.refused, idle>>20, resident(t, server)>>20)
	require.Positive(t, s.refused["429 rate_limited"])
	require.Equal(t, [3]int{}, [3]int{s.torn, s.cut, s.unheard}, "without an answer: %q", s.said)
	require.Less(t, resident(t, server), idle+crowdMemory, "memory")
	found := audit(t, p.url(), s.commands())
	require.Equal(t, 3*crowd+seconds, found.landed)
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
	var jams []*commands.Command
	// On a slow machine the bodies come one after another: the jam must be longer, until those that wait too long
	// are told so.
	for seconds := 4; seconds <= 32 && len(s.refused) == 0; seconds *= 2 {
		jams = append(jams, sendBehindAJam(t, p, s, seconds)...)
	}
	t.Logf("refused %v; %d MiB at first, %d MiB at most", s.refused, idle>>20, resident(t, server)>>20)
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

// sendBehindAJam sends large bodies, all at once, to a server that is busy for so many seconds, and returns what
// it is busy with.
func sendBehindAJam(t *testing.T, p *place, s *sender, seconds int) (jams []*commands.Command) {
	t.Helper()
	jams = jam(t, p, s, seconds)
	text := strings.Repeat("0123456789abcdef", 15<<10) // 240 KiB
	for range bodies {
		s.add(alone([]*commands.Command{
			command(commands.Stream{Type: "ledger", ID: commands.NewID().String()}, "write", commands.Genesis, text),
		}))
	}
	s.sendAll()
	return jams
}

// jam keeps the one who judges busy for so many seconds, and returns once it has begun.
func jam(t *testing.T, p *place, s *sender, seconds int) (jams []*commands.Command) {
	t.Helper()
	for range seconds { // a second each: no code runs for too long
		stream := commands.Stream{Type: "ledger", ID: commands.NewID().String()}
		jams = append(jams, command(stream, "hold", commands.Genesis, hold{N: 1, Millis: 1000}))
	}
	s.add([][]*commands.Command{jams})
	s.resume()
	require.Eventually(t, func() bool { return metric(t, p, "doorman_bus_pending") > 0 }, patience, 10*time.Millisecond)
	return jams
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
