//go:build unix

package endtoend

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

// seen is what an EventSource says of itself: that it is open, or what it was told.
type seen struct {
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
	ID    string          `json:"id"`
}

// script is the same in a page and in Node: address is what to open, say takes what is seen.
const script = `
const source = new EventSource(address);
source.onopen = () => say({event: 'open'});
source.onerror = () => { if (source.readyState === 2) say({event: 'given up'}); };
for (const event of ['state', 'landed', 'rejected', 'parked', 'reset', 'refused'])
  source.addEventListener(event, m => say({event, data: JSON.parse(m.data), id: m.lastEventId}));
`

// A real browser's EventSource, on a page of another origin, sees a snapshot, a colleague's change, and after the
// server was killed and came back everything that it missed, once.
func TestABrowserFollows(t *testing.T) {
	t.Parallel()
	path := chromium(t)
	told := make(chan seen, 1000)
	p := onSQLite(t)
	stream, session := commands.Stream{Type: "ledger", ID: commands.NewID().String()}, commands.NewID().String()
	page := `<!doctype html><script>const address = ` + addressOf(t, p, stream, session) + `;
let before = Promise.resolve();
const say = what => { before = before.then(() => fetch('/seen', {method: 'POST', body: JSON.stringify(what)})); };` + script + `</script>`
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/page":
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, page)
		case "/seen":
			var s seen
			if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
				t.Errorf("the page said: %s", err)
			}
			told <- s
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(site.Close)
	server := p.start(t, "--cors-origins", site.URL)
	folder, err := os.MkdirTemp("", "doorman-browser-") //nolint:usetesting // it writes there a moment after it was killed
	require.NoError(t, err)
	child := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", //nolint:gosec,noctx // it is ended with all its processes below
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-extensions", "--user-data-dir="+folder, "--remote-debugging-port=0", site.URL+"/page")
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, child.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-child.Process.Pid, syscall.SIGKILL)
		_ = child.Wait()
		for range 10 { // its last processes may still be at it
			if os.RemoveAll(folder) == nil {
				return
			}
		}
	})
	followsOverARestart(t, p, server, stream, session, told, "--cors-origins", site.URL)
}

// Node's stock client does the same.
func TestNodeFollows(t *testing.T) {
	t.Parallel()
	const install = "This test runs a client in Node.js: let deploy/services.sh node install what it needs (as root), " +
		"or apt-get install nodejs npm, and: npm ci --prefix notify/client"
	path, err := exec.LookPath("node")
	require.NoError(t, err, install)
	folder, err := filepath.Abs(filepath.Join("..", "..", "notify", "client"))
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(folder, "node_modules", "eventsource", "package.json"), install)
	p := onSQLite(t)
	stream, session := commands.Stream{Type: "ledger", ID: commands.NewID().String()}, commands.NewID().String()
	server := p.start(t)
	child := exec.CommandContext(t.Context(), path, "--input-type=module", "--eval", //nolint:gosec // the path is Node's
		"import {EventSource} from 'eventsource'; const address = "+addressOf(t, p, stream, session)+
			"; const say = what => console.log(JSON.stringify(what));"+script)
	child.Dir, child.Stderr = folder, os.Stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	told := make(chan seen, 1000)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var s seen
			if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
				t.Errorf("the client said: %s: %s", err, lines.Text())
			}
			told <- s
		}
	}()
	t.Cleanup(func() {
		_ = child.Process.Kill()
		<-read
		_ = child.Wait()
	})
	followsOverARestart(t, p, server, stream, session, told)
}

func addressOf(t *testing.T, p *place, stream commands.Stream, session string) string {
	t.Helper()
	text, err := json.Marshal(p.url() + "/v1/notifications?deliver=events&stream=" + url.QueryEscape(stream.String()) + "&session=" + session)
	require.NoError(t, err)
	return string(text)
}

// followsOverARestart is the story that every client sees.
func followsOverARestart(t *testing.T, p *place, server *process, stream commands.Stream, session string, told <-chan seen, args ...string) {
	t.Helper()
	next := func() seen {
		t.Helper()
		select {
		case s := <-told:
			return s
		case <-time.After(patience):
			require.FailNow(t, "the client says nothing")
			return seen{}
		}
	}
	expect := func(want string) seen {
		t.Helper()
		s := next()
		var view struct {
			Version int
			ID      commands.ID
		}
		if s.Data != nil {
			require.NoError(t, json.Unmarshal(s.Data, &view))
		}
		require.Equal(t, want, strings.TrimSpace(fmt.Sprint(s.Event, " ", view.Version)), "%s", s.Data)
		return s
	}
	ticket := commands.Genesis
	land := func(session string) {
		t.Helper()
		s := newSender(t, p.url(), 1)
		c := command(stream, "add", ticket, added{1})
		c.Session, ticket = session, c.ID
		s.add(alone([]*commands.Command{c}))
		s.sendAll()
		audited(t, p, s)
	}
	require.Equal(t, "open", next().Event)
	expect("state 0")
	land("")
	require.NotEmpty(t, expect("state 1").ID)
	land(session)
	expect("landed 2")
	last := expect("state 2")
	server.kill()
	// The client comes again a second later at the earliest (retry).
	server = p.start(t, args...)
	land("")
	land(session)
	land("")
	require.Equal(t, "open", next().Event)
	for version := 3; version <= 5; version++ {
		if version == 4 {
			expect("landed 4")
		}
		s := expect(fmt.Sprintf("state %d", version))
		require.True(t, version < 5 || s.ID != last.ID, "a new mark")
	}
	land("")
	expect("state 6")
	server.stop()
}
