package demo_test

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/order"
	"github.com/ticketed/doorman/cmd/demo"
	"github.com/ticketed/doorman/deploy"
)

// The page does what it promises in a real browser: test/desk.test.mjs has the stories.
func TestTheDeskInABrowser(t *testing.T) {
	t.Parallel()
	run(t, "--test", "--test-timeout=300000", "desk.test.mjs")
}

// Types are checked with the compiler that the browser client is made with.
func TestTheTypesFit(t *testing.T) {
	t.Parallel()
	compiler := filepath.Join("..", "..", "notify", "client", "node_modules", "typescript", "bin", "tsc")
	require.FileExists(t, compiler, "let deploy/services.sh node install it, or: npm ci --prefix notify/client")
	said, err := exec.CommandContext(t.Context(), "node", compiler, "-p", ".").CombinedOutput()
	require.NoError(t, err, "%s", said)
}

// The pictures in the README are small; when DOORMAN_SCREENSHOTS is set (make screenshots) they are made anew first.
func TestScreenshots(t *testing.T) {
	t.Parallel()
	folder, err := filepath.Abs("screenshots")
	require.NoError(t, err)
	if os.Getenv("DOORMAN_SCREENSHOTS") != "" {
		run(t, "screenshots.mjs", folder)
	}
	pictures, err := filepath.Glob(filepath.Join(folder, "*.webp"))
	require.NoError(t, err)
	require.Len(t, pictures, 4)
	for _, picture := range pictures {
		info, err := os.Stat(picture)
		require.NoError(t, err)
		require.Less(t, info.Size(), int64(150<<10), "%s is too large for a README", picture)
	}
}

// run lets Node drive the browser on a server of its own.
func run(t *testing.T, args ...string) {
	t.Helper()
	const install = "This test drives Chromium by Node.js: let deploy/services.sh chromium node install what it needs (as root), " +
		"or apt-get install chromium nodejs npm, and: npm ci --prefix cmd/demo. DOORMAN_TEST_CHROMIUM names another browser."
	node, err := exec.LookPath("node")
	require.NoError(t, err, install)
	name := os.Getenv("DOORMAN_TEST_CHROMIUM")
	if name == "" {
		name = "chromium"
	}
	browser, err := exec.LookPath(name)
	require.NoError(t, err, install)
	require.FileExists(t, filepath.Join("node_modules", "playwright-core", "package.json"), install)
	child := exec.CommandContext(t.Context(), node, args...) //nolint:gosec // the path is Node's
	child.Dir = "test"
	child.Env = append(os.Environ(), "DESK_URL="+serve(t), "DOORMAN_TEST_CHROMIUM="+browser)
	said, err := child.CombinedOutput()
	require.NoError(t, err, "%s", said)
}

// serve starts a program and returns its address.
func serve(t *testing.T) string {
	t.Helper()
	config := deploy.Defaults()
	config.Listen, config.AdminListen, config.DataDir = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	config.Log, config.Demo = slog.New(slog.DiscardHandler), demo.Handler()
	program, err := deploy.New(config, []aggregate.Type{order.Type()})
	require.NoError(t, err)
	require.NoError(t, program.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, program.Stop()) })
	return program.URL()
}
