package cli

import (
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/deploy"
)

// watched is a log whose lines can be waited for.
type watched struct {
	mu    sync.Mutex
	text  strings.Builder
	wrote chan struct{}
}

func newWatched() *watched { return &watched{wrote: make(chan struct{}, 1)} }

func (w *watched) Write(line []byte) (int, error) {
	w.mu.Lock()
	w.text.Write(line)
	w.mu.Unlock()
	select {
	case w.wrote <- struct{}{}:
	default:
	}
	return len(line), nil
}

// line waits for a line that holds the text.
func (w *watched) line(t *testing.T, text string) string {
	t.Helper()
	for {
		w.mu.Lock()
		all := w.text.String()
		w.mu.Unlock()
		for line := range strings.Lines(all) {
			if strings.Contains(line, text) {
				return line
			}
		}
		select {
		case <-w.wrote:
		case <-t.Context().Done():
			t.Fatalf("no line with %q in\n%s", text, all)
		}
	}
}

// serving runs serve until it returns; signals are sent by the test.
func serving(t *testing.T) (log *watched, signals chan os.Signal, done chan error) {
	t.Helper()
	log, signals, done = newWatched(), make(chan os.Signal, 2), make(chan error, 1)
	config := deploy.Defaults()
	config.Listen, config.AdminListen, config.DataDir = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	config.Log = slog.New(slog.NewTextHandler(log, nil))
	a := &app{types: builtIn(), stdout: io.Discard, stderr: io.Discard}
	go func() { done <- a.serve(t.Context(), config, signals) }()
	return log, signals, done
}

func TestASignalStopsServingGently(t *testing.T) {
	t.Parallel()
	log, signals, done := serving(t)
	log.line(t, "msg=ready")
	signals <- syscall.SIGTERM
	require.NoError(t, <-done)
	log.line(t, "msg=stopped")
}

func TestASecondSignalStopsAtOnce(t *testing.T) {
	t.Parallel()
	log, signals, done := serving(t)
	_, address, _ := strings.Cut(log.line(t, "msg=ready"), "url=http://")
	address, _, _ = strings.Cut(address, " ")
	// A request whose body does not come holds up the gentle stop.
	slow, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	_, err = io.WriteString(slow, "POST /v1/commands HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+
		"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n")
	require.NoError(t, err)
	_, err = io.ReadFull(slow, make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n")))
	require.NoError(t, err, "the server reads the body now")

	signals <- syscall.SIGTERM
	log.line(t, "stopping: answering the requests under way")
	signals <- syscall.SIGINT
	require.EqualError(t, <-done, "stopped at once by a second signal (interrupt)")
	require.NoError(t, slow.Close())
	log.line(t, "msg=stopped") // the process would be gone by now; the test must leave nothing behind
}

func TestAServerThatCannotStartSaysWhyInOneLine(t *testing.T) {
	t.Parallel()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	got := run(t, nil, "", "serve", "--data-dir", t.TempDir(), "--admin-listen", "127.0.0.1:0", "--listen", taken.Addr().String())
	require.Equal(t, ExitError, got.code)
	require.Equal(t, "doorman: listen: the address "+taken.Addr().String()+
		" is in use; stop the other program, or set listen to another one\n", got.err)
}

func TestMigrating(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "data")
	before := run(t, nil, "", "migrate", "status", "--data-dir", folder)
	require.Equal(t, ExitOK, before.code, before.err)
	require.Equal(t, "There is no database yet: none of these steps was taken.\n", before.err)
	require.NoDirExists(t, folder, "asking makes nothing")
	require.Regexp(t, `(?m)^1 +00001_\w+\.sql +no$`, before.out)
	refused := run(t, nil, "", "serve", "--data-dir", folder, "--migrate=false", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	require.Equal(t, ExitError, refused.code)
	require.Contains(t, refused.err, "doorman migrate up")
	up := run(t, nil, "", "migrate", "up", "--data-dir", folder)
	require.Equal(t, ExitOK, up.code, up.err)
	require.Regexp(t, `(?m)^1 +00001_\w+\.sql +20\d\d-`, up.out)
	require.NotRegexp(t, `(?m) no$`, up.out)
}
