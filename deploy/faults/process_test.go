//go:build unix

package faults

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

// process is a doorman of its own, which is started again and again at the same addresses. What it says is
// in a file.
type process struct {
	name     string // gateway1, …
	listen   string
	args     []string
	environ  []string
	database *link
	bus      *link
	log      string

	child *exec.Cmd
	stdin io.Closer
	ended chan struct{}
}

func (p *process) url() string { return "http://" + p.listen }

// start runs the program, which is not ready yet.
func (p *process) start(t *testing.T) {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	log, err := os.OpenFile(p.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer log.Close()
	p.child = exec.Command(path, p.args...) //nolint:gosec,noctx // it is to be ended in many ways, none of them the context's
	p.child.Env = append(append(plainEnvironment(), actAsDoorman+"=1"), p.environ...)
	p.child.Stdout, p.child.Stderr = log, log
	p.stdin, err = p.child.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, p.child.Start())
	child, ended := p.child, make(chan struct{})
	p.ended = ended
	go func() {
		_ = child.Wait() // the state says it
		close(ended)
	}()
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

// kill is kill -9.
func (p *process) kill() {
	if p.child == nil {
		return
	}
	_ = p.child.Process.Kill() // it may have ended
	<-p.ended
	_ = p.stdin.Close()
}

func (p *process) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	require.NoError(t, p.child.Process.Signal(signal))
}

// runs tells whether the process has not ended.
func (p *process) runs() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// owns is how the process's name as an owner of lanes ends.
func (p *process) owns() string { return fmt.Sprintf(" pid %d", p.child.Process.Pid) }

// newProcess is one of a role, behind links of its own to the database and the broker.
func (c *cluster) newProcess(t *testing.T, name, roles string) *process {
	t.Helper()
	p := &process{name: name, listen: rabbitmqtest.FreeAddress(t), log: filepath.Join(c.folder, name+".log")}
	p.database = c.newLink(t, name+" to the database", c.database.Address())
	p.bus = c.newLink(t, name+" to the broker", strings.TrimPrefix(c.broker.URL(), brokerLogin))
	p.args = []string{"serve", "--listen", p.listen, "--admin-listen", rabbitmqtest.FreeAddress(t), "--roles", roles}
	p.environ = []string{
		"DOORMAN_POSTGRES_URL=" + strings.Replace(c.database.URL(), c.database.Address(), p.database.address(), 1),
		"DOORMAN_RABBITMQ_URL=" + brokerLogin + p.bus.address(),
	}
	return p
}

const brokerLogin = "amqp://guest:guest@" //nolint:gosec // every RabbitMQ comes with it
