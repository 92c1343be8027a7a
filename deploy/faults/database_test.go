//go:build unix

package faults

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// database is a Postgres of the test's own, as durable as one is by default.
type database struct {
	address, folder string
}

func databaseURL(address string) string {
	return "postgres://postgres@" + address + "/postgres?sslmode=disable"
}

// newDatabase makes one and starts it. The end of the test stops and removes it.
func newDatabase(t *testing.T) *database {
	t.Helper()
	folder, err := os.MkdirTemp("", "doorman-postgres-") //nolint:usetesting // a test's own folder is closed to the user of Postgres
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(folder)) })
	d := &database{address: freeAddress(t), folder: filepath.Join(folder, "data")}
	if os.Getuid() == 0 {
		owner, err := user.Lookup("postgres")
		require.NoError(t, err, "Postgres does not run as root: this test needs the user of the distribution's package")
		uid, err := strconv.Atoi(owner.Uid)
		require.NoError(t, err)
		require.NoError(t, os.Chown(folder, uid, -1))
	}
	d.run(t, "initdb", "--pgdata", d.folder, "--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--no-sync")
	t.Cleanup(func() {
		if _, err := os.Stat(filepath.Join(d.folder, "postmaster.pid")); err == nil {
			d.stop(t)
		}
	})
	d.start(t)
	return d
}

// start returns once Postgres takes connections.
func (d *database) start(t *testing.T) {
	t.Helper()
	_, port, err := net.SplitHostPort(d.address)
	require.NoError(t, err)
	d.run(t, "pg_ctl", "start", "--pgdata", d.folder, "--wait", "--timeout", "60", "--log", d.folder+".log",
		"--options", "-p "+port+" -c listen_addresses=127.0.0.1 -c unix_socket_directories=''")
}

// stop is a crash: no transaction ends, nothing is tidied up.
func (d *database) stop(t *testing.T) {
	t.Helper()
	d.run(t, "pg_ctl", "stop", "--pgdata", d.folder, "--mode", "immediate", "--wait", "--timeout", "60")
}

// run runs one of Postgres's own programs to its end, as its user.
func (d *database) run(t *testing.T, program string, args ...string) {
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
	// What stays running holds on to where it says things, so this is a file.
	said, err := os.CreateTemp("", "doorman-postgres-*.log") //nolint:usetesting // it is removed below
	require.NoError(t, err)
	defer os.Remove(said.Name())
	defer said.Close()
	command := exec.Command(line[0], line[1:]...) //nolint:gosec,noctx // it ends by itself
	command.Dir = os.TempDir()
	command.Stdout, command.Stderr = said, said
	if err := command.Run(); err != nil {
		text, _ := os.ReadFile(said.Name())
		require.FailNow(t, program+" failed", "%v: %s", err, bytes.TrimSpace(text))
	}
}
