//go:build unix

package endtoend

import (
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
)

// supply is a Postgres that can be taken away and given back. It is away at first.
type supply interface {
	url() string
	on(t *testing.T)
	off(t *testing.T)
}

// cable is the way to the Postgres of all tests: it can be cut, which ends every connection in the middle of
// whatever is said.
type cable struct {
	address, target string
	listener        net.Listener
	mu              sync.Mutex
	ends            []net.Conn
	carrying        sync.WaitGroup
}

func newCable(t *testing.T) *cable {
	t.Helper()
	target, err := url.Parse(postgrestest.URL())
	require.NoError(t, err)
	c := &cable{address: freeAddress(t), target: target.Host}
	if target.Port() == "" {
		c.target = net.JoinHostPort(target.Hostname(), "5432")
	}
	t.Cleanup(func() { c.off(t) })
	return c
}

func (c *cable) url() string {
	u, _ := url.Parse(postgrestest.URL()) // newCable has parsed it
	u.Host = c.address
	return u.String()
}

func (c *cable) on(t *testing.T) {
	t.Helper()
	var err error
	c.listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", c.address)
	require.NoError(t, err)
	c.carrying.Go(func() { c.carry(c.listener) })
}

func (c *cable) carry(l net.Listener) {
	for {
		near, err := l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", c.target) //nolint:noctx // it ends with the connection
		if err != nil {
			_ = near.Close()
			continue
		}
		c.mu.Lock()
		c.ends = append(c.ends, near, far)
		c.mu.Unlock()
		c.carrying.Go(func() { pipe(near, far) })
		c.carrying.Go(func() { pipe(far, near) })
	}
}

func pipe(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
	_ = from.Close()
}

func (c *cable) off(t *testing.T) {
	t.Helper()
	if c.listener == nil {
		return
	}
	_ = c.listener.Close()
	c.listener = nil
	c.mu.Lock()
	for _, end := range c.ends {
		_ = end.Close()
	}
	c.ends = nil
	c.mu.Unlock()
	c.carrying.Wait()
}

// cluster is a Postgres of the test's own, that crashes.
type cluster struct {
	address, folder string
	server          *process
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	folder, err := os.MkdirTemp("", "doorman-postgres-") //nolint:usetesting // a test's own folder is closed to the user of Postgres
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(folder)) })
	c := &cluster{address: freeAddress(t), folder: filepath.Join(folder, "data")}
	if os.Getuid() == 0 {
		owner, err := user.Lookup("postgres")
		require.NoError(t, err, "Postgres does not run as root: this test needs the user of the distribution's package")
		uid, err := strconv.Atoi(owner.Uid)
		require.NoError(t, err)
		require.NoError(t, os.Chown(folder, uid, -1))
	}
	made := c.run(t, "initdb", "--pgdata", c.folder, "--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--no-sync")
	require.Equal(t, 0, made.exit(), "%s", made.log)
	t.Cleanup(func() { c.off(t) })
	return c
}

// run runs one of Postgres's own programs.
func (c *cluster) run(t *testing.T, program string, args ...string) *process {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + program) // where Debian has it
		require.NotEmpty(t, found, "This test crashes a Postgres of its own and needs Postgres's programs: "+
			"apt-get install postgresql, or put the folder that %s is in on the PATH.", program)
		path = slices.Max(found)
	}
	line := append([]string{path}, args...)
	if os.Getuid() == 0 {
		line = append([]string{"setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"}, line...)
	}
	return run(t, nil, line...)
}

func (c *cluster) url() string {
	return "postgres://postgres@" + c.address + "/postgres?sslmode=disable"
}

func (c *cluster) on(t *testing.T) {
	t.Helper()
	_, port, err := net.SplitHostPort(c.address)
	require.NoError(t, err)
	c.server = c.run(t, "postgres", "-D", c.folder, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=")
	require.True(t, c.server.says("database system is ready to accept connections"), "%s", c.server.log)
}

// off is a crash: no transaction ends, nothing is tidied up.
func (c *cluster) off(t *testing.T) {
	t.Helper()
	if c.server != nil {
		c.server.signal(syscall.SIGQUIT)
		c.server.exit()
		c.server = nil
	}
}

var (
	_ supply = (*cable)(nil)
	_ supply = (*cluster)(nil)
)
