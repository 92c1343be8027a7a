//go:build unix

package endtoend

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

// place is where a program is at home: its addresses and its store. They outlive its processes.
type place struct {
	listen, admin string
	args, environ []string
	folder        string       // of SQLite, else empty
	operator      *http.Client // for the other address
}

// each runs a test on each store.
func each(t *testing.T, test func(t *testing.T, p *place)) {
	t.Helper()
	for _, store := range []struct {
		name string
		make func(*testing.T) *place
	}{{"sqlite", onSQLite}, {"postgres", onPostgres}} {
		t.Run(store.name, func(t *testing.T) {
			t.Parallel()
			test(t, store.make(t))
		})
	}
}

func onSQLite(t *testing.T) *place {
	t.Helper()
	p := newPlace(t)
	p.folder = t.TempDir()
	p.args = []string{"--data-dir", p.folder}
	return p
}

func onPostgres(t *testing.T) *place {
	t.Helper()
	return onPostgresAt(t, postgrestest.URL(), postgrestest.Schema(t))
}

func onPostgresAt(t *testing.T, url, schema string) *place {
	t.Helper()
	p := newPlace(t)
	p.args = []string{"--postgres-schema", schema}
	p.environ = []string{"DOORMAN_POSTGRES_URL=" + url}
	return p
}

func newPlace(t *testing.T) *place {
	t.Helper()
	return &place{listen: rabbitmqtest.FreeAddress(t), admin: rabbitmqtest.FreeAddress(t), operator: newHTTP(t, 1)}
}

func (p *place) url() string { return "http://" + p.listen }

// process is a doorman of its own.
type process struct {
	t     *testing.T
	child *exec.Cmd
	out   bytes.Buffer
	log   *lines
	ended chan struct{}
}

// start runs a server and returns once it is ready.
func (p *place) start(t *testing.T, more ...string) *process {
	t.Helper()
	s := p.spawn(t, more...)
	if !s.says("msg=ready") {
		require.FailNow(t, "the server did not become ready", "%s", s.log)
	}
	return s
}

// spawn runs a server, ready or not.
func (p *place) spawn(t *testing.T, more ...string) *process {
	t.Helper()
	args := append([]string{"serve", "--listen", p.listen, "--admin-listen", p.admin}, p.args...)
	return doorman(t, p.environ, append(args, more...)...)
}

// doorman runs the program with a command line. It ends with the test at the latest.
func doorman(t *testing.T, environ []string, args ...string) *process {
	t.Helper()
	return run(t, environ, append([]string{executable(t)}, args...)...)
}

func executable(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	return path
}

func run(t *testing.T, environ []string, line ...string) *process {
	t.Helper()
	s := &process{t: t, log: newLines(), ended: make(chan struct{})}
	s.child = exec.Command(line[0], line[1:]...) //nolint:gosec,noctx // it is to be ended in many ways, none of them the context's
	s.child.Env = append(append(plainEnvironment(), actAsDoorman+"=1"), environ...)
	s.child.Stdout, s.child.Stderr = &s.out, s.log
	s.child.WaitDelay = patience // a child of its own may have its output open still
	stdin, err := s.child.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, s.child.Start())
	go func() {
		_ = s.child.Wait() // the state says it
		close(s.ended)
	}()
	t.Cleanup(func() {
		_ = s.child.Process.Kill()
		<-s.ended
		_ = stdin.Close()
		if t.Failed() {
			t.Logf("process %d: %s; the end of its log:\n%s", s.child.Process.Pid, s.child.ProcessState, s.log.tail())
		}
		if strings.Contains(s.log.String(), "WARNING: DATA RACE") {
			t.Errorf("process %d has a data race:\n%s", s.child.Process.Pid, s.log)
		}
	})
	return s
}

// plainEnvironment is that of the test without settings of doorman's.
func plainEnvironment() []string {
	var kept []string
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "DOORMAN_") {
			kept = append(kept, pair)
		}
	}
	return kept
}

// says waits until the log has a line that holds the text; false when the process ended without one.
func (s *process) says(text string) bool {
	s.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		grown, line := s.log.find(text)
		if line != "" {
			return true
		}
		select {
		case <-grown:
		case <-s.ended:
			_, line = s.log.find(text)
			return line != ""
		case <-limit.C:
			require.FailNow(s.t, "not said in time: "+text, "%s", s.log)
		}
	}
}

// kill is kill -9.
func (s *process) kill() {
	s.t.Helper()
	require.NoError(s.t, s.child.Process.Kill())
	<-s.ended
}

// signal sends one. A process that has ended takes none.
func (s *process) signal(signal syscall.Signal) {
	s.t.Helper()
	if err := s.child.Process.Signal(signal); !errors.Is(err, os.ErrProcessDone) {
		require.NoError(s.t, err)
	}
}

// exit waits for the process to end by itself, and tells its exit code.
func (s *process) exit() int {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(2 * patience):
		require.FailNow(s.t, "the process does not end", "%s", s.log)
	}
	return s.child.ProcessState.ExitCode()
}

// stop ends the process gently.
func (s *process) stop() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	require.Equal(s.t, 0, s.exit(), "%s", s.log)
}

// lines are what a process has written.
type lines struct {
	mu    sync.Mutex
	text  []byte
	grown chan struct{} // closed when there is more
}

var _ io.Writer = (*lines)(nil)

func newLines() *lines { return &lines{grown: make(chan struct{})} }

// Write is io.Writer's.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	close(l.grown)
	l.grown = make(chan struct{})
	return len(p), nil
}

// find gives the first whole line that holds the text, and what to wait for when there is none.
func (l *lines) find(text string) (grown <-chan struct{}, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for each := range bytes.Lines(l.text) {
		if bytes.HasSuffix(each, []byte("\n")) && bytes.Contains(each, []byte(text)) {
			return l.grown, string(each)
		}
	}
	return l.grown, ""
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// tail is the end of it.
func (l *lines) tail() string {
	const most = 4 << 10
	text := l.String()
	return text[max(0, len(text)-most):]
}
