//go:build unix

package endtoend

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// inNode compiles the browser client and its tests, and returns what runs one of them.
func inNode(t *testing.T) func(script string, args ...string) string {
	t.Helper()
	const install = "This test runs the browser client in Node.js: let deploy/services.sh node install what it needs (as root), " +
		"or apt-get install nodejs npm, and: npm ci --prefix notify/client"
	node, err := exec.LookPath("node")
	require.NoError(t, err, install)
	client, err := filepath.Abs(filepath.Join("..", "..", "notify", "client"))
	require.NoError(t, err)
	compiler := filepath.Join(client, "node_modules", "typescript", "bin", "tsc")
	require.FileExists(t, compiler, install)
	require.NoError(t, os.MkdirAll(filepath.Join(client, "build"), 0o755))
	folder, err := os.MkdirTemp(filepath.Join(client, "build"), "real-") //nolint:usetesting // Node finds the packages of the folder above
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	run := func(args ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, node, args...) //nolint:gosec // the path is Node's
		cmd.Dir, cmd.WaitDelay = client, 10*time.Second
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it ends its browser then
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	run(compiler, "-p", ".", "--outDir", folder)
	return func(script string, args ...string) string {
		return run(append([]string{"--enable-source-maps", filepath.Join(folder, "test", "real", script+".js")}, args...)...)
	}
}

// The browser client, in Node on the real network made worse, loses nothing on the real server and does nothing
// twice. notify/client's model test plays thousands of such stories on a simulated one.
func TestTheBrowserClientOnARealServer(t *testing.T) {
	t.Parallel()
	run := inNode(t)
	p := onSQLite(t)
	p.start(t)
	for seed := range 3 {
		t.Log(run("users", p.url(), strconv.Itoa(seed)))
	}
}

// chromium is where the browser is that these tests drive.
func chromium(t *testing.T) string {
	t.Helper()
	browser := os.Getenv("DOORMAN_TEST_CHROMIUM")
	if browser == "" {
		browser = "chromium"
	}
	path, err := exec.LookPath(browser)
	require.NoError(t, err, "This test drives a browser: let deploy/services.sh chromium install it (as root), or apt-get install chromium, "+
		"or name one in DOORMAN_TEST_CHROMIUM.")
	return path
}

// Two people in real browsers change one document: a conflict, tabs that share a connection, and a reload.
func TestTheBrowserClientInBrowsers(t *testing.T) {
	t.Parallel()
	path := chromium(t)
	run := inNode(t)
	p := onSQLite(t)
	p.start(t, "--cors-origins", "*") // one of the pages is another site's
	t.Log(run("browsers", p.url(), path))
}

// Much at once in a real browser: a burst lands in order, all tabs have one connection, and three users in two tabs
// each do not take all connections that a browser has to a host. DOORMAN_FIGURES=browser (make bench-browser) makes
// it as much as the goals in notify/client/README.md speak of, and prints what was measured beside them.
func TestTheBrowserClientUnderLoad(t *testing.T) {
	figures := os.Getenv("DOORMAN_FIGURES") == "browser"
	if !figures {
		t.Parallel()
	}
	path := chromium(t)
	run := inNode(t)
	p := onSQLite(t)
	p.start(t)
	args := []string{p.url(), "http://" + p.admin, path}
	if figures {
		args = append(args, "figures")
	}
	t.Log("\n" + run("load", args...))
}
