package deploy

import (
	"net/http"
	"slices"
	"strings"
)

// cors lets pages of other origins call (https://fetch.spec.whatwg.org/#http-cors-protocol).
type cors struct {
	all     bool
	origins []string
}

// newCORS is nil when no origin may call.
func newCORS(origins []string) *cors {
	if len(origins) == 0 {
		return nil
	}
	return &cors{all: slices.Contains(origins, "*"), origins: origins}
}

const (
	// The headers of DESIGN section 3, beyond those that every page may send and read, and the credential that
	// something in front of this program may ask for.
	corsSent    = "Authorization, Content-Type, Prefer, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, Traceparent"
	corsExposed = "Location, ETag, Retry-After, Preference-Applied"
	corsMethods = "GET, HEAD, POST"
	corsMaxAge  = "7200" // seconds; the most that Chromium remembers
)

// handled adds what a page of another origin needs to see the answer, and answers the question that a
// browser asks before a request. It reports whether that was it.
func (c *cors) handled(w http.ResponseWriter, r *http.Request) bool {
	header := w.Header()
	if !c.all {
		// Also where there is no origin: a cache must not hand that answer to one that has.
		header.Add("Vary", "Origin")
	}
	origin := r.Header.Get("Origin")
	if origin == "" || !c.allows(origin) {
		return false
	}
	if c.all {
		origin = "*"
	}
	header.Set("Access-Control-Allow-Origin", origin)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		header.Set("Access-Control-Expose-Headers", corsExposed)
		return false
	}
	header.Set("Access-Control-Allow-Methods", corsMethods)
	header.Set("Access-Control-Allow-Headers", corsSent)
	header.Set("Access-Control-Max-Age", corsMaxAge)
	w.WriteHeader(http.StatusNoContent)
	return true
}

func (c *cors) allows(origin string) bool {
	return c.all || slices.Contains(c.origins, strings.ToLower(origin))
}
