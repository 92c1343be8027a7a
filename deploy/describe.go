package deploy

import (
	"crypto/sha256"
	"fmt"
	"net/http"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/commands/problem"
	"github.com/ticketed/doorman/deploy/asyncapi"
	"github.com/ticketed/doorman/deploy/chains"
	"github.com/ticketed/doorman/deploy/openapi"
	"github.com/ticketed/doorman/deploy/welcome"
)

// describe makes what tells of the program: the OpenAPI and AsyncAPI documents and the page at /.
func (p *Program) describe(routes *http.ServeMux) error {
	tried := chains.All(p.types)
	broker := p.config.RabbitMQURL != ""
	text, err := openapi.Build(openapi.Config{Types: p.types, Examples: tried, Limits: p.limitsView(), Broker: broker})
	if err != nil {
		return fmt.Errorf("describe the API: %w", err)
	}
	plain, has := publicText, welcome.Links{}
	if broker {
		messages, err := asyncapi.Build(asyncapi.Config{
			Types: p.types, Examples: tried, Prefix: p.config.RabbitMQPrefix, Limits: p.limitsView(),
		})
		if err != nil {
			return fmt.Errorf("describe what goes over RabbitMQ: %w", err)
		}
		has.Messages = "/asyncapi.json"
		routes.Handle("GET "+has.Messages, newDescription(messages))
		plain += "GET  /asyncapi.json                    what other services send and are told over RabbitMQ, as AsyncAPI 3.0\n"
	} else {
		routes.HandleFunc("/asyncapi.json", noBroker)
	}
	if p.config.Demo != nil {
		has.Demo = "/demo/"
		plain += "GET  /demo/                            three people at work on one order, to try in a browser\n"
		routes.Handle("GET "+has.Demo, p.config.Demo)
	}
	page, err := welcome.New(p.types, tried, plain, has)
	if err != nil {
		return err
	}
	routes.Handle("GET /openapi.json", newDescription(text))
	routes.Handle("GET /{$}", page)
	return nil
}

// noBroker answers GET /asyncapi.json where there is nothing to describe: exchanges that are told of and are nowhere
// would be looked for.
func noBroker(w http.ResponseWriter, _ *http.Request) {
	problem.Write(w, problem.New(commands.NotFound, "This program has no broker (it was started without a rabbitmq_url), "+
		"so there is nothing that goes over one. /openapi.json has all there is."))
}

// description answers GET /openapi.json and /asyncapi.json.
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
