//go:build unix

package endtoend

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The browser client, in Node on the real network made worse, loses nothing on the real server and does nothing
// twice. notify/client's model test plays thousands of such stories on a simulated one.
func TestTheBrowserClientOnARealServer(t *testing.T) {
	t.Parallel()
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
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, node, args...) //nolint:gosec // the path is Node's
		cmd.Dir = client
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	run(compiler, "-p", ".", "--outDir", folder)
	p := onSQLite(t)
	p.start(t)
	for seed := range 3 {
		t.Log(run("--enable-source-maps", filepath.Join(folder, "test", "real", "users.js"), p.url(), strconv.Itoa(seed)))
	}
}
