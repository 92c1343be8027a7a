package client_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/notify/client"
)

// What a page loads, in bytes as they go over the wire.
func TestModulesAreSmall(t *testing.T) {
	t.Parallel()
	limits := map[string]int{"client": 8 << 10, "persist": 1536, "share": 2560, "react": 512}
	require.Len(t, client.Modules(), len(limits))
	for _, name := range client.Modules() {
		var packed bytes.Buffer
		w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		require.NoError(t, err)
		_, err = w.Write(client.Module(name))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		t.Logf("%s: %d bytes of %d", name, packed.Len(), limits[name])
		require.LessOrEqual(t, packed.Len(), limits[name], name)
	}
	require.Nil(t, client.Module("none"))
}

// The client's own tests, in Node: types, scenarios, races, the model and its planted mistakes.
func TestInNode(t *testing.T) {
	t.Parallel()
	const install = "These tests run in Node.js: let deploy/services.sh node install what they need (as root), " +
		"or apt-get install nodejs npm, and: npm ci --prefix notify/client"
	node, err := exec.LookPath("node")
	require.NoError(t, err, install)
	compiler := filepath.Join("node_modules", "typescript", "bin", "tsc")
	require.FileExists(t, compiler, install)
	require.NoError(t, os.MkdirAll("build", 0o755))
	folder, err := os.MkdirTemp("build", "go-") //nolint:usetesting // Node finds the packages of the folder above
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	run := func(args ...string) {
		out, err := exec.CommandContext(t.Context(), node, args...).CombinedOutput() //nolint:gosec // the path is Node's
		require.NoError(t, err, "%s", out)
	}
	run(compiler, "-p", ".", "--outDir", folder)
	// What is published as types holds by itself, without what is the package's own.
	types := filepath.Join(folder, "types")
	run(compiler, "-p", "tsconfig.types.json", "--outDir", types)
	declared, err := filepath.Glob(filepath.Join(types, "*.d.ts"))
	require.NoError(t, err)
	run(append([]string{compiler, "--ignoreConfig", "--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2023,dom,dom.iterable",
		"--types", "react"}, declared...)...)
	tests, err := filepath.Glob(filepath.Join(folder, "test", "*.test.js"))
	require.NoError(t, err)
	for _, part := range []string{"unit", "model"} {
		more, err := filepath.Glob(filepath.Join(folder, "test", part, "*.test.js"))
		require.NoError(t, err)
		require.NotEmpty(t, more, part)
		tests = append(tests, more...)
	}
	run(append([]string{"--enable-source-maps", "--test"}, tests...)...)
}
