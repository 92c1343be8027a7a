//go:build unix

package endtoend

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

// steps are what a program says that it does when it is asked to stop.
func steps(p *place) []string {
	return []string{
		"stopping; a second signal stops at once", "stopping: answering the requests under way",
		"stopping: committing what was accepted", "stopping: stopping the worker", "stopping: closing the bus",
		"stopping: ending the watch over the log", "stopping: closing the store", "stopping: closing " + p.listen,
		"stopping: closing " + p.admin, "msg=stopped",
	}
}

// A program that is asked to stop while it is busy answers everybody, and what it accepted is there when it
// comes back.
func TestStoppingUnderLoad(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *place) {
		load := newPlan(seed(t), 100, 3)
		server := p.start(t)
		s := newSender(t, p.url(), 16)
		s.add(load.requests())
		s.resume()
		s.await("commands are accepted", func() bool { return len(s.accepted) >= load.size/4 })
		slow := newSlow(t, p)
		began := time.Now()
		server.signal(syscall.SIGTERM)
		require.True(t, server.says("stopping: answering the requests under way"))
		s.await("nobody takes connections any more", func() bool { return s.unheard > 0 })
		s.change(func() { s.open = false })
		notReady(t, p)
		// The answer to the slow request is the last thing the process waits for.
		slow.finish()
		require.Equal(t, 0, server.exit(), "%s", server.log)
		require.Less(t, time.Since(began), 30*time.Second, "the grace")
		s.pause()
		t.Logf("%d accepted; refused %v, without an answer %d", len(s.commands()), s.refused, s.cut)
		require.Zero(t, s.torn, "answers that broke off")
		for told := range s.refused {
			require.Equal(t, "503 unavailable", told)
		}
		said := server.log.String()
		for _, step := range steps(p) {
			_, after, ok := strings.Cut(said, step)
			require.True(t, ok, "%q is not said, or out of order, in\n%s", step, server.log)
			said = after
		}
		p.start(t)
		remembers(t, p, s, load, map[commands.ID]commands.CommandView{})
		s.add(alone(load.heldBack))
		s.sendAll()
		require.Len(t, s.commands(), load.size)
		audit(t, p.url(), append(s.commands(), slow.command))
	})
}

// Who does not want to wait does not have to, and loses nothing.
func TestStoppingAtOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, grace, says string
		hurry             func(*process)
	}{
		{
			"a second signal", "1h", "doorman: stopped at once by a second signal (terminated)\n",
			func(s *process) { s.signal(syscall.SIGTERM) },
		},
		{"the end of the grace", "200ms", "were cut off", func(*process) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := onSQLite(t)
			load := newPlan(seed(t), 50, 3)
			server := p.start(t, "--shutdown-grace", tt.grace)
			s := newSender(t, p.url(), 8)
			s.add(load.requests())
			s.resume()
			s.await("commands are accepted", func() bool { return len(s.accepted) >= load.size/4 })
			newSlow(t, p)
			server.signal(syscall.SIGTERM)
			require.True(t, server.says("stopping: answering the requests under way"))
			began := time.Now()
			tt.hurry(server)
			require.Equal(t, 1, server.exit(), "%s", server.log)
			require.Less(t, time.Since(began), 10*time.Second)
			require.Contains(t, server.log.String(), tt.says)
			s.pause()
			p.start(t)
			remembers(t, p, s, load, map[commands.ID]commands.CommandView{})
			s.add(alone(load.heldBack))
			s.sendAll()
			audit(t, p.url(), s.commands())
		})
	}
}

// notReady: who asks whether it is ready is told no, and why.
func notReady(t *testing.T, p *place) {
	t.Helper()
	response, err := p.operator.Get("http://" + p.admin + "/readyz") //nolint:noctx // the client has its time
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.Contains(t, string(text), `"missing":[{"part":"program","detail":"it is stopping"}]`)
	require.NotEmpty(t, response.Header.Get("Retry-After"))
}

// slow is a request whose body is slow to come.
type slow struct {
	t       *testing.T
	command *commands.Command
	body    []byte
	conn    net.Conn
	answer  *bufio.Reader
}

// newSlow returns once the server waits for the body.
func newSlow(t *testing.T, p *place) *slow {
	t.Helper()
	s := &slow{t: t, command: command(commands.Stream{Type: "ledger", ID: "slow"}, "add", commands.Genesis, added{1})}
	s.body = s.command.AppendTo(nil)
	var err error
	s.conn, err = new(net.Dialer).DialContext(t.Context(), "tcp", p.listen)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.conn.Close() })
	require.NoError(t, s.conn.SetDeadline(time.Now().Add(patience)))
	_, err = fmt.Fprintf(s.conn, "POST /v1/commands HTTP/1.1\r\nHost: doorman\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n", len(s.body))
	require.NoError(t, err)
	s.answer = bufio.NewReader(s.conn)
	line, err := s.answer.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
	_, err = s.answer.ReadString('\n')
	require.NoError(t, err)
	return s
}

// finish sends the body and expects a whole answer.
func (s *slow) finish() {
	s.t.Helper()
	_, err := s.conn.Write(s.body)
	require.NoError(s.t, err)
	response, err := http.ReadResponse(s.answer, nil)
	require.NoError(s.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	require.Equal(s.t, http.StatusAccepted, response.StatusCode, string(text))
}
