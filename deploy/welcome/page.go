package welcome

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/chains"
)

//go:embed page.html
var pageText string

//go:embed page.css
var style string

// Page answers GET /.
type Page struct {
	plain  string
	policy string
	ids    int
	// parts are what is the same for everybody. Each but the last is followed by what its mark stands for.
	parts []string
	marks []int // the number of an id; 0 for the address
}

var _ http.Handler = (*Page)(nil)

// Marks stand in the page for what is put in when it is served: made so that no escaping changes them, and so
// that a type's own text has them by intent alone, which then shows an id or the address in their place.
const hostMark = "doorman-address-mark"

func idMark(id int) string { return fmt.Sprintf("doorman-id-mark-%06d", id) }

var mark = regexp.MustCompile(hostMark + `|doorman-id-mark-([0-9]{6})`)

// Links are the paths of what is not served everywhere; empty where it is not.
type Links struct {
	Demo     string // the order desk
	Messages string // what describes the messages over a broker
}

// New makes the page of the types that are served and their examples, by the name of the type; plain is for who
// does not take HTML.
func New(types *aggregate.Registry, tried map[string][]chains.Chain, plain string, has Links) (*Page, error) {
	//nolint:gosec // it is this package's own
	c := content{Style: template.CSS(style), Links: has}
	p := &Page{plain: plain}
	for _, t := range types.Types() {
		c.Types = append(c.Types, describe(t, tried[t.Name()], &p.ids))
	}
	parsed, err := template.New("page").Parse(pageText)
	if err != nil {
		return nil, fmt.Errorf("read the page at /: %w", err)
	}
	var text strings.Builder
	if err := parsed.Execute(&text, c); err != nil {
		return nil, fmt.Errorf("make the page at /: %w", err)
	}
	p.cut(text.String())
	hash := sha256.Sum256([]byte(style))
	p.policy = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return p, nil
}

// cut takes the page apart at its marks.
func (p *Page) cut(text string) {
	done := 0
	for _, at := range mark.FindAllStringSubmatchIndex(text, -1) {
		id := 0
		if at[2] >= 0 {
			if id, _ = strconv.Atoi(text[at[2]:at[3]]); id < 1 || id > p.ids {
				continue // somebody else's text
			}
		}
		p.parts, p.marks = append(p.parts, text[done:at[0]]), append(p.marks, id)
		done = at[1]
	}
	p.parts = append(p.parts, text[done:])
}

// ServeHTTP answers with the page, or with the plain text.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept")
	h.Set("X-Content-Type-Options", "nosniff")
	if !takesHTML(r.Header.Values("Accept")) {
		h.Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(p.plain)) // who has gone needs no answer
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", p.policy)
	_, _ = w.Write(p.text(addressOf(r)))
}

// text is the page for one visit.
func (p *Page) text(address string) []byte {
	ids := make([]string, p.ids+1)
	ids[0] = address
	for i := range ids[1:] {
		ids[i+1] = commands.NewID().String()
	}
	text := make([]byte, 0, 64<<10)
	for i, m := range p.marks {
		text = append(append(text, p.parts[i]...), ids[m]...)
	}
	return append(text, p.parts[len(p.marks)]...)
}

// hostForm is what a host and port look like; nothing in it means anything to HTML or to a shell.
var hostForm = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?$`)

// addressOf is where the program was asked, as far as a request can be trusted with it: what is no host is put
// aside for a name that everybody must replace.
func addressOf(r *http.Request) string {
	scheme, host := "http://", r.Host
	// Said by a proxy that ends TLS. Whoever says it falsely gets a page that does not work for them.
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		scheme = "https://"
	}
	if !hostForm.MatchString(host) {
		host = "localhost:8080"
	}
	// curl reads brackets as ranges.
	if strings.HasPrefix(host, "[") {
		return "-g '" + scheme + host + "'"
	}
	return scheme + host
}

// takesHTML tells whether an Accept header names text/html: a program that takes anything gets plain text.
func takesHTML(accept []string) bool {
	for item := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		kind, parameters, err := mime.ParseMediaType(strings.TrimSpace(item))
		if err == nil && kind == "text/html" {
			weight, err := strconv.ParseFloat(parameters["q"], 64)
			return err != nil || weight > 0
		}
	}
	return false
}
