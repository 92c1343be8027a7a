package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/cmd/cli/load"
)

// benchServer is a server started to be measured: this same binary in a process of its own, on an empty
// store.
type benchServer struct {
	url      string
	adminURL string
	remove   func() error // its data, in the end
	child    *exec.Cmd
	log      *tail
	exited   chan struct{}
	err      error                // once exited
	events   *rabbitmq.EventQueue // nil: none is bound
	broker   rabbitmq.Config      // of a server over RabbitMQ
}

// startBenchServer returns once the server is ready. Its data is beside that of 'doorman serve', since a
// temporary folder is often memory, where nothing needs to reach a disk.
func (a *app) startBenchServer(ctx context.Context, o *benchOptions, store string) (*benchServer, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addresses, err := freeAddresses(ctx, 2)
	if err != nil {
		return nil, err
	}
	args := []string{"serve", "--listen", addresses[0], "--admin-listen", addresses[1], "--log-level", "warn"}
	environ := without(a.environ, "DOORMAN_POSTGRES_URL", "DOORMAN_POSTGRES_URL_FILE", "DOORMAN_RABBITMQ_URL", "DOORMAN_RABBITMQ_URL_FILE")
	s := &benchServer{log: &tail{limit: 4 << 10}, exited: make(chan struct{})}
	switch store {
	case "sqlite":
		folder, err := benchFolder()
		if err != nil {
			return nil, err
		}
		s.remove = func() error { return os.RemoveAll(folder) }
		args = append(args, "--data-dir", folder)
	case "postgres", "rabbitmq":
		if o.postgresURL == "" {
			return nil, usagef("--serve %s needs --postgres-url or DOORMAN_POSTGRES_URL", store)
		}
		name := fmt.Sprintf("doorman_bench_%08x", rand.Uint32())
		s.remove = func() error {
			return postgres.Drop(context.WithoutCancel(ctx), postgres.Config{URL: o.postgresURL, Schema: name})
		}
		args = append(args, "--postgres-schema", name)
		environ = append(environ, "DOORMAN_POSTGRES_URL="+o.postgresURL)
		if store == "postgres" {
			break
		}
		if o.rabbitmqURL == "" {
			return nil, usagef("--serve rabbitmq needs --rabbitmq-url or DOORMAN_RABBITMQ_URL")
		}
		s.onBroker(ctx, rabbitmq.Config{URL: o.rabbitmqURL, Prefix: name, Logger: slog.New(slog.DiscardHandler)})
		if o.bindEvents {
			if s.events, err = rabbitmq.NewEventQueue(ctx, s.broker, "bench"); err != nil {
				return nil, err
			}
		}
		args = append(args, "--rabbitmq-prefix", name, "--lanes", strconv.Itoa(benchLanes))
		environ = append(environ, "DOORMAN_RABBITMQ_URL="+o.rabbitmqURL)
	default:
		return nil, usagef("--serve: %q is none of sqlite, postgres and rabbitmq", store)
	}
	s.url, s.adminURL = "http://"+addresses[0], "http://"+addresses[1]
	s.child = exec.Command(binary, args...) //nolint:gosec,noctx // this binary; it outlives the context, so that stop can ask it politely
	s.child.Env, s.child.Stdout, s.child.Stderr = environ, s.log, s.log
	detach(s.child)
	if err := s.child.Start(); err != nil {
		return nil, errors.Join(err, s.remove())
	}
	go func() {
		s.err = s.child.Wait()
		close(s.exited)
	}()
	if err := s.ready(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the server: %w\n%s", err, s.words()), s.stop())
	}
	return s, nil
}

// benchLanes is how many lanes a server over RabbitMQ is started with, as by default.
const benchLanes = 16

// onBroker has what the server makes on the broker removed in the end.
func (s *benchServer) onBroker(ctx context.Context, config rabbitmq.Config) {
	for lane := range benchLanes {
		config.Topics = append(config.Topics, bus.LaneTopic(lane))
	}
	s.broker = config
	before := s.remove
	s.remove = func() error {
		var queue error
		if s.events != nil {
			queue = s.events.Remove()
		}
		return errors.Join(before(), queue, rabbitmq.Drop(context.WithoutCancel(ctx), config))
	}
}

// countEvents has a queue that was bound to all events counted: one for each landing, however late it comes,
// and none that did not land.
func (s *benchServer) countEvents(ctx context.Context, report *load.Report) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		n, err := s.events.Count()
		switch {
		case err != nil:
			return err
		case n == report.Landed:
			return nil
		case n > report.Landed:
			return fmt.Errorf("%d events were published of %d commands that landed", n, report.Landed)
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("%d events were published of %d commands that landed", n, report.Landed)
		}
	}
}

func benchFolder() (string, error) {
	const beside = ".doorman"
	if err := os.MkdirAll(beside, 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(beside, "bench-")
}

func freeAddresses(ctx context.Context, n int) ([]string, error) {
	addresses := make([]string, n)
	for i := range addresses {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close() // all are held until all are known
		addresses[i] = listener.Addr().String()
	}
	return addresses, nil
}

func without(environ []string, names ...string) []string {
	kept := make([]string, 0, len(environ)+1)
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		drop := false
		for _, unwanted := range names {
			drop = drop || name == unwanted
		}
		if !drop {
			kept = append(kept, pair)
		}
	}
	return kept
}

func (s *benchServer) pid() int { return s.child.Process.Pid }

// words are the last ones that the server said.
func (s *benchServer) words() string { return s.log.String() }

func (s *benchServer) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		if answer, err := http.DefaultClient.Do(request); err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.exited:
			return fmt.Errorf("it ended: %w", s.err)
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
		}
	}
}

// stop ends the server and removes its data.
func (s *benchServer) stop() error {
	_ = s.child.Process.Signal(syscall.SIGTERM)
	patience := time.AfterFunc(time.Minute, func() { _ = s.child.Process.Kill() })
	<-s.exited
	patience.Stop()
	err := s.err
	if err != nil {
		err = fmt.Errorf("the server's end: %w", err)
	}
	return errors.Join(err, s.remove())
}

// tail keeps the end of what is written to it.
type tail struct {
	limit int
	mu    sync.Mutex
	kept  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - t.limit; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimLeft(t.kept, "\n"))
}
