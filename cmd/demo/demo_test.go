package demo

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/order"
)

func get(path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w
}

func TestThePageAndWhatItLoads(t *testing.T) {
	t.Parallel()
	page := get("/demo/")
	require.Equal(t, http.StatusOK, page.Code)
	require.Equal(t, "text/html; charset=utf-8", page.Header().Get("Content-Type"))
	links := regexp.MustCompile(`(?:href|src)="([^"]+)"`).FindAllStringSubmatch(page.Body.String(), -1)
	require.Len(t, links, 5)
	for _, link := range links {
		require.Equal(t, http.StatusOK, get("/demo/"+link[1]).Code, "%s, which is its own", link[1])
	}
	for path, kind := range map[string]string{
		"desk.js": "text/javascript; charset=utf-8", "desk.css": "text/css; charset=utf-8", "inter.woff2": "font/woff2", "icon.svg": "image/svg+xml",
	} {
		require.Equal(t, kind, get("/demo/"+path).Header().Get("Content-Type"))
	}
	require.Equal(t, http.StatusNotFound, get("/demo/demo.go").Code)
}

func TestWhatABrowserHasIsNotSentAgain(t *testing.T) {
	t.Parallel()
	tag := get("/demo/desk.js").Header().Get("ETag")
	require.Regexp(t, `^"[0-9a-f]{32}"$`, tag)
	again := get("/demo/desk.js", "If-None-Match", tag)
	require.Equal(t, http.StatusNotModified, again.Code)
	require.Empty(t, again.Body.String())
	require.Equal(t, "no-cache", again.Header().Get("Cache-Control"))
}

// Nothing is loaded from elsewhere, and no text becomes code.
func TestThePolicyFitsThePage(t *testing.T) {
	t.Parallel()
	page := get("/demo/")
	require.Equal(t, policy, page.Header().Get("Content-Security-Policy"))
	require.NotContains(t, policy, "unsafe")
	for _, forbidden := range []string{"<style", " style=", " onclick", "https://", "http://"} {
		require.NotContains(t, page.Body.String(), forbidden)
	}
	require.NotRegexp(t, `\beval\(|new Function\b`, get("/demo/desk.js").Body.String())
}

func TestItWorksWithTheTypeThatItNames(t *testing.T) {
	t.Parallel()
	require.Equal(t, Type, order.Type().Name())
}
