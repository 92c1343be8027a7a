package deploy

import (
	"encoding/json"
	"html"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/deploy/openapi/openapitest"
)

// described is a checker of the document that a program tells of itself.
func described(t *testing.T, url string) *openapitest.Checker {
	t.Helper()
	return describedAt(t, url+"/openapi.json")
}

func describedAt(t *testing.T, url string) *openapitest.Checker {
	t.Helper()
	got := newCaller(t, url).do(http.MethodGet, "", "")
	require.Equal(t, http.StatusOK, got.status)
	checker, err := openapitest.New([]byte(got.body))
	require.NoError(t, err)
	return checker
}

// unseen are the answers that the document tells of and no test here can bring about, with the reason. What is
// said of an operation "*" is said of all.
var unseen = map[string]string{
	"* 500 application/problem+json":    "what breaks inside is told so; brought about in commands/intake and projections/query",
	"* 503 application/problem+json":    "bus or store are away; brought about in commands/intake, projections/query, notify/sse and away_test.go",
	"send 408 application/problem+json": "a body that does not come in time; brought about in commands/intake",
	"send 429 application/problem+json": "more under way than there is room for; brought about in commands/intake",
	"send 429 application/json":         "as above, for an array",
	"send 503 application/json":         "as above, bus or store away",
}

// requireMet: every answer that the document tells of has been seen, but for those that cannot be, and none of
// these has.
func requireMet(t *testing.T, checker *openapitest.Checker, unseen map[string]string) {
	t.Helper()
	unmet := checker.Unmet()
	left := maps.Clone(unseen)
	for _, answer := range unmet {
		_, rest, _ := strings.Cut(answer, " ")
		_, known := unseen[answer]
		_, general := unseen["* "+rest]
		if !known && !general {
			t.Errorf("the document tells of %q, which never came", answer)
		}
		delete(left, answer)
		delete(left, "* "+rest)
	}
	for answer := range left {
		t.Errorf("%q has come: it is no exception", answer)
	}
}

// more asks for the answers that the contract's table does not: each is a request's method, path, body and headers.
var more = []struct{ method, path, body, header string }{
	{"GET", "/", "", ""},
	{"GET", "/", "", "Accept: text/html"},
	{"GET", "/openapi.json", "", ""},
	{"GET", "/livez", "", ""},
	{"GET", "/readyz", "", ""},
	{"GET", "/problems/stale_ticket", "", ""},
	{"GET", "/problems/none", "", ""},
	{"GET", "/v1/limits", "", "Accept: text/html"},
	{"GET", "/v1/streams", "", "If-None-Match: *"},
	{"GET", "/v1/commands?id=01900000-0000-7000-8000-000000000001", "", "Accept: text/html"},
	{"GET", "/v1/commands/01900000-0000-7000-8000-000000000001", "", "Accept: text/html"},
	{"GET", "/v1/streams/tally/x/events", "", "Accept: text/html"},
	{"POST", "/v1/commands", `[{"stream":"guarded/x","type":"add","ticket":"genesis","policy":"any"}]`, "Content-Type: application/json"},
	{"POST", "/v1/commands", `[{"stream":"tally/x","type":"add"}]`, "Content-Type: application/json"},
	{"POST", "/v1/commands", `[{"stream":"tally/x","type":"add","ticket":"head"}]`, "Content-Type: application/json"},
	{"POST", "/v1/commands", `[{"id":"01900000-0000-7000-8000-000000000002","stream":"tally/x","type":"add","ticket":"01900000-0000-7000-8000-000000000003"},
		{"id":"01900000-0000-7000-8000-000000000003","stream":"tally/x","type":"add"}]`, "Content-Type: application/json"},
}

// askMore makes those requests.
func askMore(t *testing.T, c *http.Client, url string) {
	t.Helper()
	var tag string
	for _, m := range more {
		answer := ask(t, c, m.method, url+m.path, m.body, m.header)
		if m.path == "/openapi.json" {
			tag = answer.Get("ETag")
		}
	}
	ask(t, c, http.MethodGet, url+"/openapi.json", "", "If-None-Match: "+tag)
}

func ask(t *testing.T, c *http.Client, method, url, body, header string) http.Header {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	if name, value, given := strings.Cut(header, ": "); given {
		r.Header.Set(name, value)
	}
	response, err := c.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	return response.Header
}

// The document names no address that the program does not have: each is answered by a route of its own.
func TestEveryDescribedAddressIsServed(t *testing.T) {
	t.Parallel()
	_, call := start(t, local(t))
	var doc struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	require.NoError(t, json.Unmarshal([]byte(call.do(http.MethodGet, "/openapi.json", "").body), &doc))
	require.NotEmpty(t, doc.Paths)
	for path, methods := range doc.Paths {
		path = strings.NewReplacer("{type}", "order", "{id}", commands.NewID().String(), "{code}", "malformed").Replace(path)
		allowed := call.do(http.MethodPut, path, "").header.Get("Allow")
		var want []string
		for _, method := range slices.Sorted(maps.Keys(methods)) {
			want = append(want, strings.ToUpper(method))
			if method == "get" {
				want = append(want, http.MethodHead)
			}
		}
		require.Equal(t, strings.Join(want, ", "), allowed, path)
	}
}

func TestTheDocumentIsAskedAboutByItsTag(t *testing.T) {
	t.Parallel()
	_, call := start(t, local(t))
	first := call.do(http.MethodGet, "/openapi.json", "")
	require.Equal(t, headers.Revalidate, first.header["Cache-Control"])
	again := ask(t, call.http, http.MethodGet, call.url+"/openapi.json", "", "If-None-Match: "+first.header.Get("ETag"))
	require.Empty(t, again.Get("Content-Type"), "304 tells nothing anew")
	require.Equal(t, first.header.Get("ETag"), again.Get("ETag"))
}

var (
	shown = regexp.MustCompile(`(?s)<li><p><code>[^<]*</code>(.*?)</p>\s*<pre class="curl"[^>]*>(.*?)</pre>`)
	words = regexp.MustCompile(`(?s)(?:'[^']*'|\\'|[^\s'\\])+`)
)

// typedIn takes a request apart as a shell does.
func typedIn(t *testing.T, line string) *http.Request {
	t.Helper()
	var args []string
	for _, word := range words.FindAllString(strings.ReplaceAll(line, "\\\n", " "), -1) {
		word = strings.ReplaceAll(word, `\'`, "\x00")
		args = append(args, strings.ReplaceAll(strings.ReplaceAll(word, "'", ""), "\x00", "'"))
	}
	require.Equal(t, []string{"curl", "-sS"}, args[:2])
	header, url, body := http.Header{}, "", ""
	for i := 2; i < len(args); i++ {
		switch args[i] {
		case "-H":
			i++
			name, value, _ := strings.Cut(args[i], ": ")
			header.Set(name, value)
		case "-d":
			i++
			body = args[i]
		default:
			require.Empty(t, url, "one address")
			url = args[i]
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	r.Header = header
	return r
}

// Each request that the page shows lands, in the order of the page; sent once more it is told the same.
func TestRequestsOfThePageWork(t *testing.T) {
	t.Parallel()
	p, call := start(t, local(t))
	checker := described(t, p.URL())
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c := &http.Client{Transport: checker.Watch(transport)}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.URL()+"/", http.NoBody)
	require.NoError(t, err)
	r.Header.Set("Accept", "text/html")
	page := send(t, c, r)
	require.Contains(t, page.header.Get("Content-Security-Policy"), "default-src 'none'")
	steps := shown.FindAllStringSubmatch(page.body, -1)
	require.Len(t, steps, 4+10, "of document and order")
	for range 2 {
		for _, step := range steps {
			require.NotContains(t, step[1], "turned away", "the built-in types have an example of each command that lands")
			got := send(t, c, typedIn(t, html.UnescapeString(step[2])))
			require.Equal(t, http.StatusOK, got.status, got.body)
			require.Contains(t, got.body, `"status":"landed"`)
		}
	}
	require.Empty(t, checker.Complaints())
	_ = call
}

func send(t *testing.T, c *http.Client, r *http.Request) got {
	t.Helper()
	response, err := c.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return got{response.StatusCode, response.Header, string(text)}
}
