//go:build unix

package endtoend

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// The measures of what is in the store when commands are sent again.
const (
	longStreams  = 120
	longStreamAt = 200 // actions of each
)

// DESIGN section 2, the first row of the table, and promise 3, "for ever": a process that has everything
// still to read knows a command that it is sent again, whatever became of it.
func TestACommandSentAgainAfterARestartIsARepeat(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *place) {
		random := seed(t)
		server := p.start(t)
		chains := fill(t, p)
		stories := []*told{
			tell(t, p, "the last command of a stream", chains[0], "add", http.StatusOK),
			tell(t, p, "a landing without events", chains[1], "note", http.StatusOK),
			tell(t, p, "one refused", chains[2], "refuse", http.StatusUnprocessableEntity),
			tell(t, p, "one that came too late", chains[3][:50], "add", http.StatusConflict),
			tell(t, p, "one that waits", []*commands.Command{command(chains[4][0].Stream, "add", commands.NewID(), added{1})}, "add", http.StatusAccepted),
		}
		views, err := newClient(t, p.url()).Status(soon(t), stories[3].command.ID)
		require.NoError(t, err)
		end := views[0].Position // of the log
		server.stop()
		server = p.start(t)
		for _, story := range stories {
			story.again(t, p)
		}
		sendSomeAgain(t, p, chains, random)
		for _, story := range stories {
			story.conflicts(t, p)
		}
		next := command(commands.Stream{Type: "ledger", ID: "afterwards"}, "add", commands.Genesis, added{1})
		view, err := newClient(t, p.url()).Send(soon(t), *next, client.SendOptions{Wait: patience})
		require.NoError(t, err)
		require.Equal(t, commands.Position{Epoch: end.Epoch, N: end.N + 1}, view.Position, "nothing was appended meanwhile")
		for i, chain := range chains {
			version := uint64(longStreamAt)
			if i == 0 {
				version++
			}
			stream, err := newClient(t, p.url()).Stream(soon(t), chain[0].Stream)
			require.NoError(t, err)
			require.Equal(t, version, stream.Version)
		}
		server.stop()
	})
}

// fill lands chains of commands, each as a whole array, so that the store holds some 10,000 actions.
func fill(t *testing.T, p *place) [][]*commands.Command {
	t.Helper()
	chains := make([][]*commands.Command, longStreams)
	s := newSender(t, p.url(), 8)
	for i := range chains {
		stream := commands.Stream{Type: "ledger", ID: commands.NewID().String()}
		ticket := commands.Genesis
		for range longStreamAt {
			c := command(stream, "add", ticket, added{1})
			chains[i], ticket = append(chains[i], c), c.ID
		}
	}
	s.add(chains)
	s.sendAll()
	require.Len(t, s.commands(), longStreams*longStreamAt)
	return chains
}

// told is a command and what was answered to it.
type told struct {
	name    string
	command *commands.Command
	status  int
	answer  string
	header  http.Header
}

// tell sends one more command after those of a chain; the last of a chain of one is sent itself.
func tell(t *testing.T, p *place, name string, chain []*commands.Command, kind string, status int) *told {
	t.Helper()
	last := chain[len(chain)-1]
	s := &told{name: name, command: last, status: status}
	if status != http.StatusAccepted {
		var data any
		if kind == "add" {
			data = added{1}
		}
		s.command = command(last.Stream, kind, last.ID, data)
	}
	got, header, answer := s.post(t, p, s.command)
	require.Equal(t, status, got, "%s: %s", name, answer)
	s.answer, s.header = answer, header
	return s
}

func (s *told) post(t *testing.T, p *place, c *commands.Command) (int, http.Header, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(soon(t), http.MethodPost, p.url()+"/v1/commands", bytes.NewReader(c.AppendTo(nil)))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Prefer", "wait=30")
	if s.status == http.StatusAccepted {
		request.Header.Set("Prefer", "wait=1")
	}
	response, err := newHTTP(t, 1).Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	response.Header.Del("Date")
	return response.StatusCode, response.Header, string(text)
}

// again: the very same answer, header by header and byte by byte.
func (s *told) again(t *testing.T, p *place) {
	t.Helper()
	status, header, answer := s.post(t, p, s.command)
	require.Equal(t, s.status, status, "%s: %s", s.name, answer)
	require.Equal(t, s.answer, answer, s.name)
	require.Equal(t, s.header, header, s.name)
	if s.status == http.StatusAccepted {
		isParked(t, p, []*commands.Command{s.command})
	}
}

// conflicts: the id with other data, with another ticket, on another stream.
func (s *told) conflicts(t *testing.T, p *place) {
	t.Helper()
	changed := []commands.Command{*s.command, *s.command, *s.command}
	changed[0].Data = []byte(`{"n":77}`)
	changed[1].Ticket = commands.NewID()
	changed[2].Stream.ID = commands.NewID().String()
	var all sync.WaitGroup
	for _, c := range changed {
		all.Go(func() {
			_, err := newClient(t, p.url()).Send(soon(t), c, client.SendOptions{Wait: patience})
			refused, ok := err.(*client.RefusedError) //nolint:errorlint // it is returned as it is
			if !ok || refused.Problem.Code != commands.IDConflict {
				t.Errorf("%s, changed: %v", s.name, err)
			}
		})
	}
	all.Wait()
}

// sendSomeAgain sends some of each chain again, and expects what it came to.
func sendSomeAgain(t *testing.T, p *place, chains [][]*commands.Command, random *rand.Rand) {
	t.Helper()
	var some []commands.Command
	var versions []uint64
	for _, chain := range chains {
		for _, at := range []int{0, random.IntN(len(chain)), len(chain) - 1} {
			some, versions = append(some, *chain[at]), append(versions, uint64(at+1))
		}
	}
	results := newClient(t, p.url()).SendAll(soon(t), some, client.SendOptions{Wait: client.MaxWait})
	require.Len(t, results, len(some))
	for i, result := range results {
		require.NoError(t, result.Err)
		require.Equal(t, commands.StatusLanded, result.Command.Status)
		require.Equal(t, versions[i], result.Command.Version)
	}
}
