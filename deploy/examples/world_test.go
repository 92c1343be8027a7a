//go:build unix

package examples

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/document"
	"github.com/ticketed/doorman/aggregate/order"
	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
	"github.com/ticketed/doorman/deploy"
)

// patience is how long is waited for anything. go run builds first, and others have the processor too.
const patience = 2 * time.Minute

// doorman is a gateway and a worker on a schema and a prefix of their own.
type doorman struct {
	schema, prefix, url string
	client              *client.Client
}

func newDoorman(t *testing.T) *doorman {
	t.Helper()
	queues := rabbitmqtest.Config(t)
	d := &doorman{schema: postgrestest.Schema(t), prefix: queues.Prefix}
	for _, roles := range [][]string{{deploy.RoleWorker}, {deploy.RoleGateway, deploy.RoleProjector}} {
		c := deploy.Defaults()
		c.Listen, c.AdminListen, c.Roles = "127.0.0.1:0", "127.0.0.1:0", roles
		c.PostgresURL, c.PostgresSchema = postgrestest.URL(), d.schema
		c.RabbitMQURL, c.RabbitMQPrefix = queues.URL, queues.Prefix
		c.Log = slog.New(slog.DiscardHandler)
		p, err := deploy.New(c, []aggregate.Type{order.Type(), document.Type()})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, p.Stop()) })
		require.NoError(t, p.Start(t.Context()))
		d.url = p.URL()
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	var err error
	d.client, err = client.New(client.Config{BaseURL: d.url, HTTP: &http.Client{Transport: transport, Timeout: patience}})
	require.NoError(t, err)
	return d
}

// catalog are all streams there are.
func (d *doorman) catalog(t *testing.T) (all []commands.Stream) {
	t.Helper()
	seen := map[commands.Stream]bool{}
	for _, o := range d.log(t) {
		if o.Landed() && !seen[o.Stream] {
			seen[o.Stream] = true
			all = append(all, o.Stream)
		}
	}
	return all
}

// log is what committed.
func (d *doorman) log(t *testing.T) (all []*commands.Outcome) {
	t.Helper()
	s, err := postgres.Open(t.Context(), postgres.Config{URL: postgrestest.URL(), Schema: d.schema})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	for {
		page, err := s.Log(t.Context(), uint64(len(all)), 1000)
		require.NoError(t, err)
		if all = append(all, page...); len(page) == 0 {
			return all
		}
	}
}

// eachOnce: what the senders did landed once for each order, and was stale once for each.
func (d *doorman) eachOnce(t *testing.T, before commands.Stream) {
	t.Helper()
	counts := map[commands.Stream]map[string]int{}
	for _, o := range d.log(t) {
		if o.Stream == before {
			continue
		}
		of := counts[o.Stream]
		if of == nil {
			of = map[string]int{}
			counts[o.Stream] = of
		}
		of[cmp.Or(string(o.Reason), o.Type)]++
	}
	require.Len(t, counts, orders)
	for stream, of := range counts {
		require.Equal(t, map[string]int{"add_line": 2, "change_line": 1, "submit": 1, "stale_ticket": 1}, of, stream)
	}
}

// shop is where the processes of a service are at home.
type shop struct {
	name, folder string // of its queues, and where its files are
	code         string
	environ      []string
}

func newShop(t *testing.T, d *doorman, code string) *shop {
	t.Helper()
	s := &shop{name: "shop_" + d.prefix, folder: t.TempDir(), code: code}
	s.environ = append(os.Environ(), "PATH="+withPython(t)+":"+os.Getenv("PATH"), "AMQP_URL="+rabbitmqtest.URL(), "DOORMAN_RABBITMQ_PREFIX="+d.prefix, "DOORMAN_URL="+d.url,
		"SHOP="+s.name, "SHOP_FOLDER="+s.folder)
	_, err := deploy.Load(nil, s.environ)
	require.NoError(t, err, "whoever exports that for the programs can start a server, too")
	t.Cleanup(func() { rabbitmqtest.DeleteQueues(t, s.name, "events", "replies") })
	return s
}

// withPython is a folder in which python3 is the Python that has pika.
func withPython(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if python := os.Getenv("DOORMAN_TEST_PYTHON"); python != "" {
		script := fmt.Sprintf("#!/bin/sh\nexec %q \"$@\"\n", python)
		require.NoError(t, os.WriteFile(filepath.Join(folder, "python3"), []byte(script), 0o700)) //nolint:gosec // it is to be run
	}
	return folder
}

// await waits until something holds.
func (s *shop) await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	require.Eventually(t, holds, patience, 50*time.Millisecond, what)
}

// process is a command of the page that runs, in a process group of its own: it may start others.
type process struct {
	t       *testing.T
	command *exec.Cmd
	ended   chan struct{}

	mu    sync.Mutex
	out   bytes.Buffer
	grown chan struct{}
}

var _ io.Writer = (*process)(nil)

func (s *shop) run(t *testing.T, line string) *process {
	t.Helper()
	p := &process{t: t, ended: make(chan struct{}), grown: make(chan struct{})}
	p.command = exec.Command("bash", "-c", line) //nolint:gosec,noctx // it is the page's, and is ended in several ways
	p.command.Dir, p.command.Env = s.code, s.environ
	p.command.Stdout, p.command.Stderr = p, p
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, p.command.Start())
	go func() {
		_ = p.command.Wait() // the state says it
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.ended
		if t.Failed() {
			t.Logf("%s: %s\n%s", line, p.command.ProcessState, p.text())
		}
	})
	return p
}

// Write is io.Writer's.
func (p *process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out.Write(text)
	close(p.grown)
	p.grown = make(chan struct{})
	return len(text), nil
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// says waits until it has said something.
func (p *process) says(text string) {
	p.t.Helper()
	late := time.After(patience)
	for {
		p.mu.Lock()
		said, grown := strings.Contains(p.out.String(), text), p.grown
		p.mu.Unlock()
		if said {
			return
		}
		select {
		case <-grown:
		case <-p.ended:
			require.Contains(p.t, p.text(), text, "it ended: %s", p.command.ProcessState)
			return
		case <-late:
			require.FailNow(p.t, "in vain: "+text, "%s", p.text())
		}
	}
}

// ends waits until it has ended by itself, well, and has said something.
func (p *process) ends(text string) {
	p.t.Helper()
	p.says(text)
	p.awaitEnd()
	require.True(p.t, p.command.ProcessState.Success(), "%s: %s", p.command.ProcessState, p.text())
}

// fails waits until it has ended with exit code 1, and a line that holds a text but no secret: the only one, beside those of
// a program that was well first, and of go run.
func (p *process) fails(text string) {
	p.t.Helper()
	p.awaitEnd()
	said := strings.TrimSuffix(strings.TrimPrefix(p.text(), "following\n"), "exit status 1\n")
	require.Equal(p.t, 1, p.command.ProcessState.ExitCode(), said)
	require.Contains(p.t, said, text)
	require.Equal(p.t, 1, strings.Count(said, "\n"), said)
	require.NotContains(p.t, said, "secret")
}

func (p *process) awaitEnd() {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		require.FailNow(p.t, "it does not end", "%s", p.text())
	}
}

func (p *process) signal(signal syscall.Signal) {
	_ = syscall.Kill(-p.command.Process.Pid, signal) // who has ended takes none
}

func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	p.awaitEnd()
}

func (p *process) terminate() {
	p.signal(syscall.SIGTERM)
	p.awaitEnd()
}

// commandsOf are the commands of the page for a language: to follow, and to send.
func commandsOf(t *testing.T, title string) (follow, send string) {
	t.Helper()
	page, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, part, found := strings.Cut(string(page), "\n### "+title+"\n")
	require.True(t, found, title)
	lines := regexp.MustCompile(`(?m)^    (.+)$`).FindAllStringSubmatch(part, 2)
	require.Len(t, lines, 2)
	follow, send = lines[0][1], lines[1][1]
	require.True(t, slices.Contains(strings.Fields(strings.ReplaceAll(send, "=", " ")), "10"), send)
	return follow, send
}
