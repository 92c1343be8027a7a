package postgrestest

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

// Server is a Postgres of a test's own, as durable as one is by default, that may crash. It needs Postgres's programs on
// this machine.
type Server struct {
	t               testing.TB
	address, folder string
}

// NewServer makes one that will be at an address. The end of the test removes it.
func NewServer(t testing.TB, address string) *Server {
	t.Helper()
	folder, err := os.MkdirTemp("", "doorman-postgres-") //nolint:usetesting // a test's own folder is closed to the user of Postgres
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(folder)) })
	s := &Server{t, address, filepath.Join(folder, "data")}
	if os.Getuid() == 0 {
		owner, err := user.Lookup("postgres")
		require.NoError(t, err, "Postgres does not run as root: this test needs the user of the distribution's package")
		uid, err := strconv.Atoi(owner.Uid)
		require.NoError(t, err)
		require.NoError(t, os.Chown(folder, uid, -1))
	}
	s.run("initdb", "--pgdata", s.folder, "--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--no-sync")
	t.Cleanup(s.Crash)
	return s
}

// Address is where it is.
func (s *Server) Address() string { return s.address }

// URL is this server's.
func (s *Server) URL() string {
	return "postgres://postgres@" + s.address + "/postgres?sslmode=disable"
}

// Log is the file to which it tells what happens.
func (s *Server) Log() string { return s.folder + ".log" }

// Start returns once Postgres takes connections.
func (s *Server) Start() {
	s.t.Helper()
	_, port, err := net.SplitHostPort(s.address)
	require.NoError(s.t, err)
	s.run("pg_ctl", "start", "--pgdata", s.folder, "--wait", "--timeout", "60", "--log", s.Log(),
		"--options", "-p "+port+" -c listen_addresses=127.0.0.1 -c unix_socket_directories=''")
}

// Crash ends it, if it runs: no transaction ends, nothing is tidied up.
func (s *Server) Crash() {
	s.t.Helper()
	if _, err := os.Stat(filepath.Join(s.folder, "postmaster.pid")); err == nil {
		s.run("pg_ctl", "stop", "--pgdata", s.folder, "--mode", "immediate", "--wait", "--timeout", "60")
	}
}

// run runs one of Postgres's own programs to its end, as its user.
func (s *Server) run(program string, args ...string) {
	s.t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + program) // where Debian has it
		require.NotEmpty(s.t, found, "This test crashes a Postgres of its own and needs Postgres's programs: "+
			"apt-get install postgresql, or put the folder that %s is in on the PATH.", program)
		path = slices.Max(found)
	}
	line := append([]string{path}, args...)
	if os.Getuid() == 0 {
		line = append([]string{"setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"}, line...)
	}
	// What stays running holds on to where it says things, so this is a file.
	said, err := os.CreateTemp("", "doorman-postgres-*.log") //nolint:usetesting // it is removed below
	require.NoError(s.t, err)
	defer func() { _ = os.Remove(said.Name()) }()
	defer said.Close()
	command := exec.Command(line[0], line[1:]...) //nolint:gosec,noctx // it ends by itself
	command.Dir = os.TempDir()
	command.Stdout, command.Stderr = said, said
	if err := command.Run(); err != nil {
		text, _ := os.ReadFile(said.Name())
		require.FailNow(s.t, program+" failed", "%v: %s", err, bytes.TrimSpace(text))
	}
}
