package cli

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// One after the other: a process has one CPU profile at a time.
func TestProfilesOfARunAreKept(t *testing.T) {
	answers := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(answers)
		_, _ = io.WriteString(w, r.URL.String())
	}))
	defer server.Close()
	folder := filepath.Join(t.TempDir(), "profiles", "new")
	for range 2 { // the second replaces the first
		done, err := profile(t.Context(), folder, server.URL, 2500*time.Millisecond)
		require.NoError(t, err)
		require.NoError(t, done())
		kept, err := os.ReadFile(filepath.Join(folder, "server.pprof"))
		require.NoError(t, err)
		require.Equal(t, "/debug/pprof/profile?seconds=2", string(kept))
		kept, err = os.ReadFile(filepath.Join(folder, "generator.pprof"))
		require.NoError(t, err)
		require.Equal(t, "\x1f\x8b", string(kept[:2]), "compressed, as pprof reads it")
	}

	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	done, err := profile(interrupted, folder, server.URL, time.Second)
	require.NoError(t, err)
	require.NoError(t, done())

	answers = http.StatusTeapot
	done, err = profile(t.Context(), folder, server.URL, time.Second)
	require.NoError(t, err)
	require.ErrorContains(t, done(), "status 418")
	server.Close()
	done, err = profile(t.Context(), folder, server.URL, time.Second)
	require.NoError(t, err)
	require.ErrorContains(t, done(), "profiles: ")
	_, err = profile(t.Context(), filepath.Join(folder, "server.pprof"), server.URL, time.Second)
	require.Error(t, err, "a file is no folder")
}
