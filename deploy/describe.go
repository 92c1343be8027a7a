package deploy

import (
	"crypto/sha256"
	"fmt"
	"net/http"

	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/deploy/chains"
	"github.com/ticketed/doorman/deploy/openapi"
	"github.com/ticketed/doorman/deploy/welcome"
)

// describe makes what tells of the program: the OpenAPI document and the page at /.
func (p *Program) describe(routes *http.ServeMux) error {
	tried := chains.All(p.types)
	text, err := openapi.Build(openapi.Config{Types: p.types, Examples: tried, Limits: p.limitsView()})
	if err != nil {
		return fmt.Errorf("describe the API: %w", err)
	}
	plain, demo := publicText, ""
	if p.config.Demo != nil {
		demo = "/demo/"
		plain += "GET  /demo/                            three people at work on one order, to try in a browser\n"
		routes.Handle("GET "+demo, p.config.Demo)
	}
	page, err := welcome.New(p.types, tried, plain, demo)
	if err != nil {
		return err
	}
	routes.Handle("GET /openapi.json", newDescription(text))
	routes.Handle("GET /{$}", page)
	return nil
}

// description answers GET /openapi.json.
type description struct {
	text []byte
	tag  string
}

func newDescription(text []byte) *description {
	return &description{text, fmt.Sprintf("%x", sha256.Sum256(text))[:32]}
}

// ServeHTTP is http.Handler's.
func (d *description) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["Etag"] = []string{`"` + d.tag + `"`}
	if named, _ := headers.NamesTag(r.Header["If-None-Match"], d.tag); named {
		h["Cache-Control"] = headers.Revalidate
		w.WriteHeader(http.StatusNotModified)
		return
	}
	headers.DescribeJSON(h, headers.Revalidate, len(d.text))
	_, _ = w.Write(d.text) // who has gone needs no answer
}
