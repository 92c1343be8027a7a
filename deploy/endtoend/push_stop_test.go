//go:build unix

package endtoend

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/contracttest"
)

// watchAt opens a connection that watches, and reads until it has been told what it is owed at first.
func watchAt(t *testing.T, p *place, query string, header ...string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience) // nothing is read for longer
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url()+"/v1/notifications?"+query, http.NoBody)
	require.NoError(t, err)
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		request.Header.Set(name, value)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	require.NoError(t, err)
	t.Cleanup(func() {
		cancel()
		_ = response.Body.Close()
	})
	require.Equal(t, http.StatusOK, response.StatusCode)
	return response
}

func untilMark(t *testing.T, blocks *contracttest.Blocks) string {
	t.Helper()
	for {
		b, err := blocks.Next()
		require.NoError(t, err)
		if b.ID != "" {
			return b.ID
		}
	}
}

// A program that is asked to stop keeps nobody who watches waiting, and is kept waiting by none.
func TestStoppingWhileManyWatch(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *place) {
		server := p.start(t, "--shutdown-grace", "20s")
		stream := commands.Stream{Type: "document", ID: commands.NewID().String()}
		const watchers, polls = 200, 10
		hints := make(chan error, watchers)
		for range watchers {
			blocks := contracttest.NewBlocks(watchAt(t, p, "stream=ledger/"+stream.ID).Body, 4<<10)
			untilMark(t, blocks)
			go func() { hints <- lastHint(blocks) }()
		}
		answered := make(chan error, polls)
		asking := make(chan struct{}, polls)
		for range polls {
			go func() { answered <- pollOnce(t.Context(), p.url(), asking) }()
		}
		for range polls {
			<-asking
		}
		require.Eventually(t, func() bool { return metric(t, p, "doorman_notify_connections") == watchers+polls }, patience, time.Millisecond)
		stalled := stalledReaders(t, p, stream, 5)
		began := time.Now()
		server.signal(syscall.SIGTERM)
		require.Equal(t, 0, server.exit(), "%s", server.log)
		require.Less(t, time.Since(began), 3*time.Second, "it takes a second or two\n%s", server.log)
		for range watchers {
			require.NoError(t, <-hints)
		}
		for range polls {
			require.NoError(t, <-answered)
		}
		for _, conn := range stalled {
			rest, _ := io.ReadAll(conn)
			require.False(t, strings.HasSuffix(string(rest), "\n\n"), "what broke off is not made whole")
		}
	})
}

// lastHint: a stream ends whole, and its last block tells when to come back.
func lastHint(blocks *contracttest.Blocks) error {
	var last *contracttest.Block
	for {
		b, err := blocks.Next()
		if err == io.EOF { //nolint:errorlint // it is returned as it is
			break
		}
		if err != nil {
			return err
		}
		last = b
	}
	if last == nil || last.Retry <= 0 || last.Retry > 30*time.Second {
		return fmt.Errorf("the last block is %+v", last)
	}
	return nil
}

// pollOnce is a long poll for what does not come.
func pollOnce(ctx context.Context, url string, asking chan<- struct{}) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/notifications?session="+commands.NewID().String(), http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Prefer", "wait=30")
	asking <- struct{}{}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(text), `"items":[]`) {
		return fmt.Errorf("%d %s: %w", response.StatusCode, text, err)
	}
	return nil
}

// stalledReaders are told more than they read: each has begun to watch, and then reads nothing, while the stream
// changes until the server waits for them.
func stalledReaders(t *testing.T, p *place, stream commands.Stream, n int) []net.Conn {
	t.Helper()
	var all []net.Conn
	for range n {
		dialer := &net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2048) })
		}}
		conn, err := dialer.DialContext(t.Context(), "tcp", p.listen)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		require.NoError(t, conn.SetDeadline(time.Now().Add(2*patience)))
		_, err = fmt.Fprintf(conn, "GET /v1/notifications?stream=%s HTTP/1.1\r\nHost: doorman\r\n\r\n", stream)
		require.NoError(t, err)
		line, err := bufio.NewReaderSize(conn, 16).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 200 OK\r\n", line)
		all = append(all, conn)
	}
	s := newSender(t, p.url(), 1)
	s.add(alone(largeDocument(stream, 80)))
	s.sendAll()
	return all
}

// Pages of other origins see the headers that they need on a connection that was taken over, and may ask again
// with what they had last (https://fetch.spec.whatwg.org/#http-cors-protocol).
func TestPagesOfOtherOriginsWatch(t *testing.T) {
	t.Parallel()
	p := onSQLite(t)
	p.start(t, "--cors-origins", "https://app.example.org")
	got := watchAt(t, p, "stream=ledger/1", "Origin: https://app.example.org").Header
	require.Equal(t, "https://app.example.org", got.Get("Access-Control-Allow-Origin"))
	require.Contains(t, got.Values("Vary"), "Origin")
	require.NotEmpty(t, got.Get("Access-Control-Expose-Headers"))
	require.Equal(t, "text/event-stream", got.Get("Content-Type"))
	got = watchAt(t, p, "stream=ledger/1", "Origin: https://elsewhere.example.org").Header
	require.Empty(t, got.Get("Access-Control-Allow-Origin"))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, p.url()+"/v1/notifications", http.NoBody)
	require.NoError(t, err)
	request.Header.Set("Origin", "https://app.example.org")
	request.Header.Set("Access-Control-Request-Method", "GET")
	request.Header.Set("Access-Control-Request-Headers", "last-event-id")
	response, err := newHTTP(t, 1).Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Contains(t, response.Header.Get("Access-Control-Allow-Headers"), "Last-Event-ID")
}

// A log that was restored is another history: with another epoch, or with a lower head than a reader has seen.
func TestARestoredLogIsToldAsAReset(t *testing.T) {
	t.Parallel()
	p := onSQLite(t)
	server := p.start(t)
	stream := commands.Stream{Type: "ledger", ID: "one"}
	chain := []*commands.Command{command(stream, "add", commands.Genesis, added{1})}
	chain = append(chain, command(stream, "add", chain[0].ID, added{2}))
	land := func(c *commands.Command) {
		s := newSender(t, p.url(), 1)
		s.add(alone([]*commands.Command{c}))
		s.sendAll()
		audited(t, p, s)
	}
	land(chain[0])
	server.stop()
	saved := copyFolder(t, p.folder)
	server = p.start(t)
	land(chain[1])
	mark := untilMark(t, contracttest.NewBlocks(watchAt(t, p, "stream=ledger/one").Body, 4<<10))
	server.stop()

	for _, restored := range []struct{ folder, reason string }{{saved, "ahead"}, {t.TempDir(), "epoch"}} {
		p.args = []string{"--data-dir", restored.folder}
		server = p.start(t)
		for _, query := range []string{"stream=ledger/one", "stream=ledger/one@2", "stream=ledger/one&deliver=events", "stream=ledger/one&session=mine"} {
			blocks := contracttest.NewBlocks(watchAt(t, p, query, "Last-Event-ID: "+mark).Body, 4<<10)
			require.Equal(t, []string{`reset {"reason":"` + restored.reason + `"}`, "state"}, toldAtFirst(t, blocks), query)
		}
		server.stop()
	}
}

// toldAtFirst are the messages up to the first mark; of states the name alone.
func toldAtFirst(t *testing.T, blocks *contracttest.Blocks) (all []string) {
	t.Helper()
	for {
		b, err := blocks.Next()
		require.NoError(t, err)
		switch b.Event {
		case "":
		case commands.PushState:
			all = append(all, b.Event)
		default:
			all = append(all, b.Event+" "+string(b.Data))
		}
		if b.ID != "" {
			return all
		}
	}
}

// copyFolder is a copy of a store that nobody has open.
func copyFolder(t *testing.T, folder string) string {
	t.Helper()
	to := t.TempDir()
	require.NoError(t, os.CopyFS(to, os.DirFS(folder)))
	return to
}
