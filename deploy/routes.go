package deploy

import (
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ticketed/doorman/commands/problem"
)

const publicText = `Doorman: commands with tickets, let in in order.

POST /v1/commands                      send a command, or an array of them
GET  /v1/commands/{id}                 where a command stands
GET  /v1/commands?id=…&id=…            where several stand
GET  /v1/streams?type=…                the streams, by last change
GET  /v1/streams/{type}/{id}           a stream's state and the ticket to send next
GET  /v1/streams/{type}/{id}/events    its changelog
GET  /v1/notifications?stream=…        what happens to streams, pushed (text/event-stream), or by long poll
GET  /v1/limits                        the bounds that are kept here
GET  /client.js                        the browser client, a JavaScript module
GET  /livez, /readyz                   health
GET  /openapi.json                     all of this, as OpenAPI 3.1
`

const adminText = `Doorman's operators' door. Commands are taken at the other address.

GET /metrics         for Prometheus
GET /debug/pprof/    profiles
GET /livez, /readyz  health
`

// mount completes the public routes and puts them to service.
func (p *Program) mount(routes *http.ServeMux) error {
	p.health.routes(routes)
	if p.config.has(RoleGateway) { // on every other process there is nothing to describe
		routes.HandleFunc("GET "+problem.TypePrefix+"{code}", problem.Explain)
		browser(routes)
		if err := p.describe(routes); err != nil {
			return err
		}
	}
	routes.HandleFunc(anyRoute, noRoute(routes))
	p.public.handler.set(&edge{
		routes: routes, requests: &p.metrics.requests, cors: newCORS(p.config.CORSOrigins),
		bodyTimeout: p.config.HTTPReadBodyTimeout, pieces: usualPieces, log: p.log,
	})
	return nil
}

// adminRoutes are those of the operators' listener, with what answers for the admin API.
func (p *Program) adminRoutes(text string, operators http.Handler) http.Handler {
	routes := http.NewServeMux()
	p.health.routes(routes)
	routes.Handle("GET /metrics", promhttp.HandlerFor(p.metrics.registry, promhttp.HandlerOpts{}))
	routes.HandleFunc("GET /debug/pprof/", pprof.Index)
	routes.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	routes.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	routes.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	routes.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	routes.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	routes.Handle(operatorsRoute, operators)
	routes.HandleFunc("GET "+problem.TypePrefix+"{code}", problem.Explain)
	routes.HandleFunc("GET /{$}", plainText(text))
	routes.HandleFunc(anyRoute, noRoute(routes))
	return routes
}

func plainText(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(text)) // who has gone needs no answer
	}
}
