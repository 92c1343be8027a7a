package deploy

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPagesLoadTheClientFromHere(t *testing.T) {
	t.Parallel()
	p, _ := start(t, local(t))
	fetch := func(path, tag string) (*http.Response, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.URL()+path, http.NoBody)
		require.NoError(t, err)
		if tag != "" {
			r.Header.Set("If-None-Match", tag)
		}
		answer, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return answer, string(text)
	}
	for path, says := range map[string]string{
		"/client.js": "connect", "/client/persist.js": "persist", "/client/share.js": "share", "/client/react.js": "useStream",
	} {
		answer, text := fetch(path, "")
		require.Equal(t, http.StatusOK, answer.StatusCode, path)
		require.Equal(t, "text/javascript; charset=utf-8", answer.Header.Get("Content-Type"))
		require.Contains(t, text, says)
		again, text := fetch(path, answer.Header.Get("ETag"))
		require.Equal(t, http.StatusNotModified, again.StatusCode)
		require.Empty(t, text)
	}
	answer, _ := fetch("/client/none.js", "")
	require.Equal(t, http.StatusNotFound, answer.StatusCode)
}
