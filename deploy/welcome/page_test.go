package welcome

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/document"
	"github.com/ticketed/doorman/aggregate/order"
	"github.com/ticketed/doorman/deploy/chains"
)

func newPage(t *testing.T, types ...aggregate.Type) *Page {
	t.Helper()
	registry, err := aggregate.NewRegistry(types...)
	require.NoError(t, err)
	p, err := New(registry, chains.All(registry), "plain\n", Links{})
	require.NoError(t, err)
	return p
}

// visit asks as a browser does.
func visit(p *Page, host string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	r.Host = host
	r.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

func TestThePageListsEveryCommandOfEveryType(t *testing.T) {
	t.Parallel()
	types := []aggregate.Type{document.Type(), order.Type()}
	text := visit(newPage(t, types...), "localhost:8080").Body.String()
	for _, typ := range types {
		require.Contains(t, text, `<section id="`+typ.Name()+`">`)
		require.Contains(t, text, `href="/v1/streams?type=`+typ.Name()+`"`)
		for _, c := range typ.Commands() {
			require.Contains(t, text, `<dt id="`+typ.Name()+"."+c.Name+`">`)
			require.Contains(t, text, html.EscapeString(c.Doc))
			require.Contains(t, text, "/openapi.json#/components/schemas/"+typ.Name()+"."+c.Name)
			require.Contains(t, html.UnescapeString(text), `"type":"`+c.Name+`","ticket":"`, "a request to try")
			require.Contains(t, html.UnescapeString(text), `"data":`+string(c.Example))
		}
	}
	for _, link := range []string{"/openapi.json", "/v1/limits"} {
		require.Contains(t, text, `href="`+link+`"`)
	}
	require.Contains(t, text, "curl -sS http://localhost:8080/v1/commands")
	require.Contains(t, text, `name="viewport"`)
	require.NotContains(t, text, "-mark", "nothing is left to be put in")
}

func TestIDsAreNewWithEachVisit(t *testing.T) {
	t.Parallel()
	p := newPage(t, order.Type())
	id := regexp.MustCompile(`"id":"([0-9a-f-]{36})"`)
	seen := map[string]bool{}
	for range 2 {
		found := id.FindAllStringSubmatch(html.UnescapeString(visit(p, "x").Body.String()), -1)
		require.Len(t, found, 10, "5, 2 and 3 commands")
		for _, f := range found {
			require.False(t, seen[f[1]], "%s is there twice", f[1])
			seen[f[1]] = true
		}
	}
}

func TestPlainTextForWhoDoesNotAskForHTML(t *testing.T) {
	t.Parallel()
	p := newPage(t, order.Type())
	for accept, takes := range map[string]bool{
		"": false, "*/*": false, "application/json": false, "text/plain": false, "text/*": false, "text/html;q=0": false,
		"text/html;q=0, */*": false, "text/html": true, "TEXT/HTML;level=1": true, "application/json, text/html;q=0.1": true,
	} {
		w := visit(p, "x", "Accept", accept)
		require.Equal(t, takes, strings.HasPrefix(w.Header().Get("Content-Type"), "text/html"), "%q", accept)
		require.Equal(t, !takes, w.Body.String() == "plain\n", "%q", accept)
		require.Equal(t, "Accept", w.Header().Get("Vary"))
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	}
}

// The policy lets nothing be loaded, and nothing but the page's own style be used.
func TestThePolicyFitsThePage(t *testing.T) {
	t.Parallel()
	w := visit(newPage(t, order.Type()), "x")
	text, policy := w.Body.String(), w.Header().Get("Content-Security-Policy")
	styles := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindAllStringSubmatch(text, -1)
	require.Len(t, styles, 1)
	hash := sha256.Sum256([]byte(styles[0][1]))
	require.Equal(t, "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(hash[:])+
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", policy)
	for _, forbidden := range []string{"<script", "<link", "<img", " style=", " onclick", "src=", "@import", "url(", `href="http`, `href="//`} {
		require.NotContains(t, text, forbidden)
	}
}

func TestAHostThatIsNoneIsNotShown(t *testing.T) {
	t.Parallel()
	p := newPage(t, order.Type())
	for _, host := range []string{"orders.example.org", "127.0.0.1:8080", "X-1.local:80"} {
		require.Contains(t, visit(p, host).Body.String(), "curl -sS http://"+host+"/v1/commands")
	}
	require.Contains(t, visit(p, "[::1]:8080").Body.String(), "curl -sS -g 'http://[::1]:8080'/v1/commands")
	for _, host := range []string{
		"x<script>alert(1)</script>", `x";id;"`, "x'", "x$(id)", "x`id`", "x;id", "x id", "x&y", "x/../y", "x:99999999", "-x.example",
		"[::1];id", strings.Repeat("y", 300), "xn\n--z",
	} {
		text := visit(p, host).Body.String()
		require.Contains(t, text, "curl -sS http://localhost:8080/v1/commands", "%q", host)
		require.NotContains(t, text, host)
		require.NotContains(t, text, html.EscapeString(host))
	}
	require.Contains(t, visit(p, "").Body.String(), "curl -sS http://localhost:8080/v1/commands")
	require.Contains(t, visit(p, "x", "X-Forwarded-Proto", "https").Body.String(), "curl -sS https://x/v1/commands")
	require.Contains(t, visit(p, "x", "X-Forwarded-Proto", "javascript").Body.String(), "curl -sS http://x/v1/commands")
}

type happened interface{ happened() }

// What types say of themselves is text, whatever it looks like: to HTML, to a shell, and to the page's own marks.
func TestEverythingIsEscaped(t *testing.T) {
	t.Parallel()
	hostile := "</pre><script>alert('1')</script> " + idMark(999_999) + " " + idMark(0)
	example, err := json.Marshal(hostile + "'; id; '")
	require.NoError(t, err)
	d := aggregate.Define[happened]("odd", struct{}{}, aggregate.Settings{})
	aggregate.Handle(d, "say", func(struct{}, string) ([]happened, error) { return nil, nil },
		aggregate.Doc(hostile), aggregate.Example(string(example)), aggregate.Schema(`{"type":"string","title":`+string(example)+`}`))
	aggregate.Handle(d, "never", func(struct{}, struct{}) ([]happened, error) { return nil, aggregate.Refuse("no", "%s", hostile) })
	text := visit(newPage(t, d.MustBuild()), "x").Body.String()
	require.NotContains(t, text, "<script")
	require.Contains(t, text, html.EscapeString(hostile))
	require.Contains(t, html.UnescapeString(text), `'\''; id; '\''`)
	require.Contains(t, text, "To see refused")
}

func TestTheOrderDeskIsFoundWhereItIsServed(t *testing.T) {
	t.Parallel()
	registry, err := aggregate.NewRegistry(order.Type())
	require.NoError(t, err)
	with, err := New(registry, chains.All(registry), "plain\n", Links{Demo: "/demo/"})
	require.NoError(t, err)
	require.Contains(t, visit(with, "localhost:8080").Body.String(), `<a href="/demo/">`)
	require.NotContains(t, visit(newPage(t, order.Type()), "localhost:8080").Body.String(), "demo")
}

func TestTheMessagesDescriptionIsFoundWhereItIsServed(t *testing.T) {
	t.Parallel()
	registry, err := aggregate.NewRegistry(order.Type())
	require.NoError(t, err)
	with, err := New(registry, chains.All(registry), "plain\n", Links{Messages: "/asyncapi.json"})
	require.NoError(t, err)
	require.Contains(t, visit(with, "localhost:8080").Body.String(), `<a href="/asyncapi.json">`)
	require.NotContains(t, visit(newPage(t, order.Type()), "localhost:8080").Body.String(), "asyncapi")
}
