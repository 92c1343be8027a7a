package deploy

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strconv"

	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/notify/client"
)

// browser serves the browser client: /client.js, and beside it the modules that not every page needs.
func browser(routes *http.ServeMux) {
	for _, name := range client.Modules() {
		path := "/client/" + name + ".js"
		if name == client.Main {
			path = "/client.js"
		}
		text := client.Module(name)
		routes.Handle("GET "+path, &script{text, fmt.Sprintf("%x", sha256.Sum256(text))[:32]})
	}
}

// script answers with a JavaScript module.
type script struct {
	text []byte
	tag  string
}

// ServeHTTP is http.Handler's.
func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["Etag"] = []string{`"` + s.tag + `"`}
	h["Cache-Control"] = headers.Revalidate
	// A module of another origin is loaded by its rules alone.
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	if named, _ := headers.NamesTag(r.Header["If-None-Match"], s.tag); named {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(s.text)))
	_, _ = w.Write(s.text) // who has gone needs no answer
}
