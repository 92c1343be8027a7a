package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
	"github.com/ticketed/doorman/commands/problem"
)

// catalog is a server whose catalog and changelogs a test writes page by page.
type catalog struct {
	limits int                              // status
	page   func(after string) (string, int) // of the catalog, and its status
	log    map[string]string                // changelogs
}

func (c *catalog) serve(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, status := "{}", c.limits
		switch {
		case r.URL.Path == "/v1/streams":
			text, status = c.page(r.FormValue("after"))
		case strings.HasSuffix(r.URL.Path, "/events"):
			text, status = c.log[strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/v1/streams/"), "/events")], http.StatusOK
		case r.URL.Path == "/v1/notifications":
			status = http.StatusInternalServerError
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func item(stream string, version, position int) string {
	s, _ := commands.ParseStream(stream)
	view := commands.StreamView{Stream: s, Version: uint64(version), Ticket: actionAt(position), //nolint:gosec // small
		Position: commands.Position{Epoch: "e", N: uint64(position)}} //nolint:gosec // small
	return string(view.AppendTo(nil))
}

func change(version, position int) string {
	return fmt.Sprintf(`{"version":%d,"position":"e-%d","type":"patched","data":{},"command":{"id":%q,"type":"patch"},"at":"2026-11-22T08:00:00Z"}`,
		version, position, actionAt(position))
}

func actionAt(n int) commands.ID {
	id, _ := commands.ParseID(fmt.Sprintf("0197a000-0000-7000-8000-%012d", n))
	return id
}

// DESIGN section 3: a mark is sent only once everything up to it has been, and nothing up to it is told
// again: also when a stream moves to the front of the catalog while that is walked.
func TestTheMarkOfEverythingIsThatOfTheLastLine(t *testing.T) {
	t.Parallel()
	asked := 0
	c := &catalog{limits: http.StatusOK, log: map[string]string{
		"document/a": "[" + change(1, 2) + "," + change(2, 5) + "]", "document/b": "[" + change(1, 3) + "," + change(2, 6) + "]",
		"document/c": "[" + change(1, 4) + "]",
	}}
	c.page = func(after string) (string, int) {
		asked++
		switch {
		case asked == 1: // a and b are further back when it is asked for
			return `{"items":[` + item("document/c", 1, 4) + `],"after":"e-4"}`, http.StatusOK
		case after != "": // a has moved to the front meanwhile
			return `{"items":[` + item("document/b", 1, 3) + `]}`, http.StatusOK
		}
		return `{"items":[` + item("document/a", 2, 5) + "," + item("document/c", 1, 4) + `],"after":"e-4"}`, http.StatusOK
	}
	tail := startTail(t, c.serve(t), "--after", "e-1")
	tail.out.line(t, "document/a                  v2")
	got := tail.stop(t)
	require.Equal(t, []string{"document/a v1 patch: patched {}", "document/b v1 patch: patched {}",
		"document/c v1 patch: patched {}", "document/a v2 patch: patched {}"}, got, "and b's second is yet to be listed")
	require.Equal(t, "To go on from here: --after e-5\n", tail.notes.text.String())
}

// The mark that an interrupted tail tells leaves nothing out and repeats nothing.
func TestResumingTellsNothingAgain(t *testing.T) {
	t.Parallel()
	url := server(t)
	lines := chain(3)
	require.Equal(t, ExitOK, send(t, url, lines[:1]).code)
	first := startTail(t, url, "--after", mark(t, url))
	require.Equal(t, ExitOK, send(t, url, lines[1:2]).code)
	first.out.line(t, " v2 ")
	first.stop(t)
	_, place, _ := strings.Cut(strings.TrimSpace(first.notes.text.String()), "--after ")
	require.Equal(t, mark(t, url), place)
	require.Equal(t, ExitOK, send(t, url, lines[2:]).code)
	second := startTail(t, url, "--after", place)
	second.out.line(t, " v3 ")
	require.Equal(t, []string{`document/1 v3 patch: patched {"n":3}`}, second.stop(t))
}

// Of a mark of another epoch nothing can be gone on from: what comes from now on is told, and its own marks.
func TestAMarkOfAnotherEpochBeginsAtTheEnd(t *testing.T) {
	t.Parallel()
	url := server(t)
	lines := chain(2)
	require.Equal(t, ExitOK, send(t, url, lines[:1]).code)
	require.Eventually(t, func() bool { return listed(t, url) }, time.Minute, 10*time.Millisecond, "the catalog follows the log")
	tail := startTail(t, url, "--after", "ZZZ-1")
	said := tail.notes.line(t, "The mark ZZZ-1 is of another log")
	require.Contains(t, said, "beginning anew at "+mark(t, url))
	require.Equal(t, ExitOK, send(t, url, lines[1:]).code)
	tail.out.line(t, " v2 ")
	require.Equal(t, []string{`document/1 v2 patch: patched {"n":2}`}, tail.stop(t))
	require.Contains(t, tail.notes.text.String(), "--after "+mark(t, url)+"\n")
}

func listed(t *testing.T, url string) bool {
	t.Helper()
	c, err := client.New(client.Config{BaseURL: url})
	require.NoError(t, err)
	page, err := c.Streams(t.Context(), "", "", 1)
	require.NoError(t, err)
	return len(page.Items) == 1
}

func TestTailEndsWhenNothingIsLeftToFollow(t *testing.T) {
	t.Parallel()
	got := run(t, nil, "", "tail", "--url", server(t), "nosuch/1", "nosuch/2")
	require.Equal(t, ExitError, got.code)
	require.Contains(t, got.err, "nothing is left to follow, the server does not watch nosuch/1 (unknown_type), nosuch/2 (unknown_type)\n")
	require.Contains(t, got.out, "is not watched: unknown_type\n", "no blank in the end")
}

// The help promises exit code 1 where the server will not tell; what passes is waited out.
func TestTailEndsWhenTheServerKeepsFailing(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusInternalServerError, http.StatusForbidden} {
		c := &catalog{limits: http.StatusOK, page: func(string) (string, int) { return "no", status }}
		for _, stream := range []string{"", "document/1"} {
			got := run(t, nil, "", append([]string{"tail", "--url", c.serve(t)}, strings.Fields(stream)...)...)
			require.Equal(t, ExitError, got.code, got.err)
			require.NotContains(t, got.err, "The connection was lost")
		}
	}
}

func TestWhatPassesIsNoEnd(t *testing.T) {
	t.Parallel()
	ctx, end := context.WithCancelCause(t.Context())
	var notes strings.Builder
	c := &contact{notes: &notes, end: end}
	fault := func(status int) error {
		refused := &client.RefusedError{Problem: &problem.Problem{Status: status}}
		return fmt.Errorf("get: %w", refused)
	}
	for range 3 * mostFailed {
		c.lost(fault(http.StatusServiceUnavailable))
	}
	require.Equal(t, 1, strings.Count(notes.String(), "trying again"), "said once")
	for range 3 {
		for range mostFailed - 1 {
			c.lost(fault(http.StatusInternalServerError))
		}
		c.back()
	}
	require.NoError(t, ctx.Err())
	for range mostFailed {
		c.lost(fault(http.StatusInternalServerError))
	}
	require.Error(t, c.over)
	require.Equal(t, c.over, context.Cause(ctx))
}
