package problem

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ticketed/doorman/commands"
)

// Write answers with the problem and its status. It sets Retry-After where that is told and Allow
// for a method that is not allowed (RFC 9110 section 15.5.6), and keeps caches from remembering the
// answer.
func Write(w http.ResponseWriter, p *Problem) {
	header := w.Header()
	body := p.AppendTo(make([]byte, 0, 512))
	header.Set("Content-Type", ContentType)
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if seconds := p.retrySeconds(); seconds > 0 {
		header.Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	if p.Code == commands.MethodNotAllowed && p.Allowed != nil {
		header.Set("Allow", strings.Join(p.Allowed, ", "))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // who has gone needs no answer
}

// ComeLater tells when to try again, where that may help: in one to three seconds, at random, so that those
// who were turned away together do not come back together.
func (p *Problem) ComeLater() {
	switch p.Code {
	case commands.RateLimited, commands.Unavailable, commands.FateUnknown:
		p.RetryAfter = time.Duration(1+rand.IntN(3)) * time.Second //nolint:gosec // not a secret
	}
}

// Explain answers GET /problems/{code}, where a problem's type leads: what the code means, as plain
// text.
func Explain(w http.ResponseWriter, r *http.Request) {
	code := commands.Reason(r.PathValue("code"))
	if code.Title() == "" {
		Write(w, New(commands.NotFound, "There is no problem of this code."))
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=86400")
	//nolint:gosec // one of our own codes, as plain text
	_, _ = w.Write([]byte(string(code) + "\n\n" + code.Title() + ".\nAnswered with HTTP status " +
		strconv.Itoa(code.Status()) + " (" + http.StatusText(code.Status()) + ").\n"))
}
