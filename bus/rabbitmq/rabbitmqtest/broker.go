package rabbitmqtest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus/rabbitmq"
)

// Broker is a RabbitMQ of a test's own, on ports and in a folder of its own, that may be stopped and
// blocked. It needs the program rabbitmq-server on this machine, which takes some seconds to start.
type Broker struct {
	t    testing.TB
	env  []string
	port int

	pidFile string
	log     string
}

// NewBroker starts a broker. The end of the test stops it.
func NewBroker(t testing.TB) *Broker {
	t.Helper()
	if _, err := exec.LookPath("rabbitmq-server"); err != nil {
		t.Fatalf("This test stops and starts a RabbitMQ of its own, for which it needs the program rabbitmq-server: "+
			"as root on Debian or Ubuntu, apt-get install rabbitmq-server. %v", err)
	}
	folder, err := os.MkdirTemp("", "doorman-rabbitmq-") //nolint:usetesting // other users cannot get into t.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	// The program gives up its rights as root for those of a user who must get in there.
	if err := os.Chmod(folder, 0o777); err != nil { //nolint:gosec // as said
		t.Fatal(err)
	}
	logs := filepath.Join(folder, "log")
	b := &Broker{t: t, port: freePort(t), pidFile: filepath.Join(folder, "pid"), log: filepath.Join(logs, "broker.log")}
	config := fmt.Sprintf("listeners.tcp.1 = 127.0.0.1:%d\nloopback_users = none\nheartbeat = 10\n", b.port)
	configFile := filepath.Join(folder, "rabbitmq.conf")
	if err := os.WriteFile(configFile, []byte(config), 0o644); err != nil { //nolint:gosec // as above
		t.Fatal(err)
	}
	plugins := filepath.Join(folder, "enabled_plugins")
	if err := os.WriteFile(plugins, []byte("[].\n"), 0o666); err != nil { //nolint:gosec // as above
		t.Fatal(err)
	}
	b.env = append(os.Environ(),
		fmt.Sprintf("RABBITMQ_NODENAME=doorman_test_%d@localhost", b.port),
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		"RABBITMQ_NODE_PORT="+strconv.Itoa(b.port),
		"RABBITMQ_DIST_PORT="+strconv.Itoa(freePort(t)),
		"RABBITMQ_MNESIA_BASE="+filepath.Join(folder, "data"),
		"RABBITMQ_LOG_BASE="+logs,
		"RABBITMQ_LOGS="+b.log,
		"RABBITMQ_PID_FILE="+b.pidFile,
		"RABBITMQ_CONFIG_FILE="+configFile,
		"RABBITMQ_ENABLED_PLUGINS_FILE="+plugins,
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S 1",
	)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	t.Cleanup(b.Kill) // for nobody needs what it has, and rabbitmqctl takes seconds
	b.Start()
	return b
}

// URL is this broker's.
func (b *Broker) URL() string { return fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d", b.port) }

// Log is the file that it writes to. The end of the test takes it away.
func (b *Broker) Log() string { return b.log }

// Config names this broker.
func (b *Broker) Config() rabbitmq.Config {
	return rabbitmq.Config{URL: b.URL(), Name: b.t.Name(), Logger: slog.New(slog.DiscardHandler)}
}

// Start starts the broker and waits until it answers.
func (b *Broker) Start() {
	b.t.Helper()
	b.run("rabbitmq-server", "-detached")
	deadline := time.Now().Add(time.Minute)
	for {
		conn, err := amqp.Dial(b.URL())
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("the RabbitMQ that was started does not answer at port %d: %v", b.port, err)
		}
		time.Sleep(50 * time.Millisecond) // nothing tells from outside
	}
}

// Stop ends the broker in good order. What is confirmed is on its disk.
func (b *Broker) Stop() { b.run("rabbitmqctl", "shutdown", "--timeout", "60") }

// Kill ends the broker from one instant to the next, as the machine's loss of power would but for what the
// operating system has yet to write. What is confirmed is on its disk.
func (b *Broker) Kill() {
	b.t.Helper()
	text, err := os.ReadFile(b.pidFile)
	if err != nil {
		b.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		b.t.Fatalf("the process id of RabbitMQ is %q: %v", text, err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		b.t.Fatalf("killing RabbitMQ: %v", err)
	}
	for syscall.Kill(pid, 0) == nil && !zombie(pid) {
		time.Sleep(time.Millisecond) // nothing tells of the end of somebody else's child
	}
}

// zombie tells whether a process has ended and nobody has asked how.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z")
}

// Tell gives what rabbitmqctl answers, for the eyes of whoever reads why a test failed.
func (b *Broker) Tell(args ...string) string {
	said, err := b.command("rabbitmqctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s%v", said, err)
	}
	return string(said)
}

// Starve has the broker believe that it has used up its memory, or lets it recover.
func (b *Broker) Starve(starve bool) {
	b.t.Helper()
	share := "0.4"
	if starve {
		share = "0.00001"
	}
	b.run("rabbitmqctl", "set_vm_memory_high_watermark", share)
}

func (b *Broker) command(name string, args ...string) *exec.Cmd {
	command := exec.CommandContext(context.Background(), name, args...) //nolint:gosec // a test's own
	command.Env = b.env
	return command
}

func (b *Broker) run(name string, args ...string) {
	b.t.Helper()
	var said bytes.Buffer
	command := b.command(name, args...)
	command.Stdout, command.Stderr = &said, &said
	// What it leaves running holds its output open; the command itself is over before.
	command.WaitDelay = time.Second
	if err := command.Run(); err != nil && command.ProcessState != nil && !command.ProcessState.Success() {
		b.t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, said.String())
	}
}
