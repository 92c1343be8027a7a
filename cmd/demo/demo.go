// Package demo is the order desk: a page on which two clerks and their manager work on one order at the same time,
// each with a browser client of their own, against the server that serves it.
//
//	routes.Handle("GET /demo/", demo.Handler()) // where [Type] is served
//
// Everything on it is real: commands travel over HTTP, outcomes are pushed, and the timeline shows what became of
// each. What a visitor can mistreat is the network of one clerk, by a transport that is handed to the client
// (src/network.ts). The page is of TypeScript in src; web is what is served, of which bundler makes desk.js and
// copies the fonts. It loads nothing from elsewhere, which its Content-Security-Policy holds it to.
package demo

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

//go:generate go run ./bundler

//go:embed web
var web embed.FS

// policy lets the page load what is its own, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Type is the name of the aggregate type that the page works with: package aggregate/order.
const Type = "order"

// file is one that is served.
type file struct {
	kind string
	tag  string
	text []byte
}

// Handler answers GET /demo/ and what is below it.
func Handler() http.Handler {
	files := map[string]file{}
	err := fs.WalkDir(web, "web", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := web.ReadFile(name)
		files[strings.TrimPrefix(name, "web")] = file{kindOf(name), fmt.Sprintf(`"%x"`, sha256.Sum256(text))[:33] + `"`, text}
		return err
	})
	if err != nil {
		panic(err) // they are part of the program
	}
	files["/"] = files["/index.html"]
	return http.StripPrefix("/demo", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		serve(w, r, &f)
	}))
}

// kindOf is the media type of a file, whatever the machine's own table says.
func kindOf(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".woff2":
		return "font/woff2"
	}
	return mime.TypeByExtension(path.Ext(name))
}

func serve(w http.ResponseWriter, r *http.Request, f *file) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache") // asked again each time: the program may have been replaced
	h.Set("ETag", f.tag)
	if r.Header.Get("If-None-Match") == f.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(f.text) // who has gone needs no answer
}
