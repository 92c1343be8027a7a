package admin

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/commands/problem"
)

// guarded makes a handler of a function that writes an answer or returns why it cannot, behind what keeps pages of
// the web out. Somebody's browser can reach a listener on 127.0.0.1, and any page can make it send requests:
//
//   - A page of another origin is told by Origin or Sec-Fetch-Site, and refused. What changes something takes JSON
//     alone, which no page may send to another origin without asking first, and nobody answers that (CORS).
//   - A page whose own name was made to point here (DNS rebinding) is of this origin to the browser. But its name is
//     in Host, and it is none of those by which the listener may be asked; see [API.knows].
func (a *API) guarded(do func(w http.ResponseWriter, r *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := a.admit(r)
		if err == nil {
			err = do(w, r)
		}
		if err != nil {
			a.refuse(w, r, err)
		}
	}
}

func (a *API) admit(r *http.Request) error {
	if !a.knows(r.Host) {
		return problem.Newf(commands.Forbidden, "nothing is answered here to who asks for the host %q: "+
			"ask for an IP address, localhost, or a name that is configured (admin_hosts)", shorten(r.Host))
	}
	for _, origin := range r.Header["Origin"] {
		if origin != "http://"+r.Host && origin != "https://"+r.Host {
			return problem.Newf(commands.Forbidden, "nothing is answered here to pages of other origins, as %q", shorten(origin))
		}
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return problem.New(commands.Forbidden, "nothing is answered here to pages of other origins")
	}
	if !headers.TakesJSON(r.Header["Accept"]) {
		return problem.New(commands.NotAcceptable, "this address answers with application/json")
	}
	return nil
}

// knows tells whether a request may be for a host: one that cannot be the name of somebody's page. That is an IP
// address, localhost, a name without a dot, as that of a container beside this one, and what is configured.
func (a *API) knows(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	return host != "" && !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost") || slices.Contains(a.config.Hosts, host)
}

func shorten(text string) string {
	const most = 100
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
