package endtoend

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

func TestAFolderWithoutPermissionIsTold(t *testing.T) {
	t.Parallel()
	t.Run("it may only be read", func(t *testing.T) {
		t.Parallel()
		p := onSQLite(t)
		require.NoError(t, os.Chmod(p.folder, 0o500)) //nolint:gosec // a folder is entered by its x
		t.Cleanup(func() { _ = os.Chmod(p.folder, 0o700) })
		said := oneLine(t, unprivileged(t, p))
		require.Contains(t, said, p.folder)
		require.Contains(t, said, "permission denied")
	})
	t.Run("its file may only be read", func(t *testing.T) {
		t.Parallel()
		p := onSQLite(t)
		p.start(t).stop()
		files, err := filepath.Glob(filepath.Join(p.folder, "*"))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			require.NoError(t, os.Chmod(file, 0o400))
		}
		require.Contains(t, oneLine(t, unprivileged(t, p)), p.folder)
		for _, file := range files {
			require.NoError(t, os.Chmod(file, 0o600))
		}
		p.start(t)
		landOne(t, p)
	})
}

// unprivileged runs the program so that permissions count, as they do not for root.
func unprivileged(t *testing.T, p *place) *process {
	t.Helper()
	line := []string{executable(t), "serve", "--listen", p.listen, "--admin-listen", p.admin}
	if os.Getuid() == 0 {
		_, err := exec.LookPath("setpriv")
		require.NoError(t, err, "root needs setpriv, of the package util-linux, for this test")
		line = append([]string{"setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"}, line...)
	}
	return run(t, p.environ, append(line, p.args...)...)
}

// A disk that takes no more: nothing is accepted, nothing is lost, and it goes on by itself when there is
// room again.
func TestAFullDiskIsAnOutage(t *testing.T) {
	t.Parallel()
	p := onSQLite(t)
	server := p.start(t)
	load := newPlan(seed(t), 100, 3)
	s := newSender(t, p.url(), 8)
	s.add(load.requests())
	s.resume()
	s.await("commands are accepted", func() bool { return len(s.accepted) >= load.size/4 })
	largest(t, server, sizeOf(t, p)) // of any file, from now on
	s.await("commands are turned away", func() bool { return s.refused["503 unavailable"]+s.refused["503 fate_unknown"] > 20 })
	before := len(s.commands())
	views, err := newClient(t, p.url()).Status(soon(t), s.commands()[0].ID)
	require.NoError(t, err, "what is there can be read all the while")
	require.NotEqual(t, commands.StatusUnknown, views[0].Status)
	s.pause()
	t.Logf("%d accepted, refused %v", before, s.refused)
	largest(t, server, -1)
	s.sendAll()
	isParked(t, p, load.waiting)
	s.add(alone(load.heldBack))
	s.sendAll()
	require.Len(t, s.commands(), load.size)
	audit(t, p.url(), s.commands())
	server.kill()
	p.start(t)
	audit(t, p.url(), s.commands())
}

// sizeOf is that of the largest file in the folder.
func sizeOf(t *testing.T, p *place) int64 {
	t.Helper()
	entries, err := os.ReadDir(p.folder)
	require.NoError(t, err)
	var most int64
	for _, entry := range entries {
		info, err := entry.Info()
		require.NoError(t, err)
		most = max(most, info.Size())
	}
	require.Positive(t, most)
	return most
}

// largest sets how large files may become that a process writes; -1 for any size.
func largest(t *testing.T, s *process, bytes int64) {
	t.Helper()
	limit := "unlimited"
	if bytes >= 0 {
		limit = strconv.FormatInt(bytes, 10)
	}
	out, err := exec.CommandContext(soon(t), "prlimit", "--pid", strconv.Itoa(s.child.Process.Pid), "--fsize="+limit+":").CombinedOutput()
	require.NoError(t, err, "prlimit, of the package util-linux: %s", out)
}
