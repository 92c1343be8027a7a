package deploy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
	"github.com/ticketed/doorman/deploy/openapi"
	"github.com/ticketed/doorman/notify"
	"github.com/ticketed/doorman/projections/admin"
	"github.com/ticketed/doorman/projections/query"
)

// operatorsRoute is what the admin API is below, on the listener of its own.
const operatorsRoute = "/admin/v1/"

const operatorsText = `
GET  /admin/v1/dead                what could not be carried out and is open; ?decision=all for what was decided too
GET  /admin/v1/dead/{n}            one of it, whole: the original and the cause
POST /admin/v1/dead/{n}/retry      send it again: {"by":"…","why":"…"}
POST /admin/v1/dead/{n}/discard    nothing is to become of it: {"by":"…","why":"…"}
GET  /admin/v1/parked              commands that wait; ?stream=order/42 for those of one stream
GET  /admin/v1/parked/{id}         one of them, whole, and what waits on it
POST /admin/v1/parked/{id}/reject  reject it, and what waits on it: {"by":"…","why":"…"}
GET  /admin/v1/openapi.json        all of this, as OpenAPI 3.1

With 'doorman dead' and 'doorman parked' all of this is easier.
`

// serveOperators puts the admin API to service, until the requests under way are answered at the end.
func (p *Program) serveOperators(c clients, queries *query.Query) error {
	again, err := p.newSubmitting(c)
	if err != nil {
		return err
	}
	api, err := admin.New(admin.Config{
		Store: p.store, Epoch: p.store.Identity().Epoch,
		Send: c.sender.Send, Refusal: refusal,
		Register: func(id commands.ID) (admin.Waiter, bool) { return c.waiters.Register(id, notify.AnyPayload) },
		Tell:     queries.Tell,
		Submit:   again.submit,
		Hosts:    p.config.AdminHosts, Log: p.log,
	})
	if err != nil {
		return err
	}
	document, err := openapi.BuildOperators()
	if err != nil {
		return fmt.Errorf("describe the operators' API: %w", err)
	}
	routes := http.NewServeMux()
	api.Mount(routes)
	routes.Handle("GET "+operatorsRoute+"openapi.json", newDescription(document))
	routes.HandleFunc(anyRoute, noRoute(routes))
	counted := &counted{handler: &edge{
		routes: routes, requests: &p.metrics.requests, bodyTimeout: p.config.HTTPReadBodyTimeout, log: p.log,
	}}
	p.admin.handler.set(p.adminRoutes(adminText+operatorsText, counted))
	p.onStop("answering operators", counted.drain)
	return nil
}

// noOperators answers for the admin API where it is not, or not yet.
func (p *Program) noOperators(w http.ResponseWriter, _ *http.Request) {
	if p.config.has(RoleGateway) {
		refused := problem.New(commands.Unavailable, "the program is starting")
		refused.ComeLater()
		problem.Write(w, refused)
		return
	}
	problem.Write(w, problem.Newf(commands.NotFound, "Operators are served by processes with the role %s; this one has %s.",
		RoleGateway, strings.Join(p.config.Roles, ", ")))
}

// counted knows how many requests are under way, so that the last of them can be waited for.
type counted struct {
	handler http.Handler

	mu       sync.Mutex
	underWay int
	closed   bool
	idle     chan struct{} // made by drain, closed when nothing is under way any more
}

var errCutOff = errors.New("requests under way were cut off")

// ServeHTTP is http.Handler's.
func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		refused := problem.New(commands.Unavailable, "the program is stopping")
		refused.ComeLater()
		problem.Write(w, refused)
		return
	}
	c.underWay++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.underWay--; c.closed && c.underWay == 0 {
			close(c.idle)
		}
	}()
	c.handler.ServeHTTP(w, r)
}

// drain takes no more requests and waits for those under way.
func (c *counted) drain(ctx context.Context) error {
	c.mu.Lock()
	c.closed, c.idle = true, make(chan struct{})
	if c.underWay == 0 {
		close(c.idle)
	}
	c.mu.Unlock()
	select {
	case <-c.idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("operators: %w: %w", errCutOff, context.Cause(ctx))
	}
}
