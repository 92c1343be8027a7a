package deploy

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/commands/problem"
)

// stage is where a program stands in its life.
type stage int32

const (
	stageStarting stage = iota
	stageServing
	stageStopping
)

// health answers /livez and /readyz, on both listeners.
type health struct {
	stage  atomic.Int32
	checks []check
	// aside are the parts that the program is ready without, since commands are taken and come to their
	// outcomes: what is wrong with one is told, and turns nobody away.
	aside []check
}

// check tells what is wrong with one part; nil when nothing is. It answers when the context ends, at the
// latest.
type check struct {
	part string
	ask  func(context.Context) error
}

// checks are the parts that this program needs to be ready (DESIGN section 3): another role adds its own
// here.
func (p *Program) checks() []check {
	return []check{
		{"store", p.store.Ping},
		{"worker", func(context.Context) error { return p.workerReady() }},
	}
}

// workerReady tells, without asking anybody, why the worker judges nothing at the moment; nil when it does.
func (p *Program) workerReady() error { return p.worker.Ready() }

// Lacking is one part that a program is not ready for, or has trouble with.
type Lacking struct {
	Part   string `json:"part"` // store, worker, …
	Detail string `json:"detail"`
}

func (h *health) enter(s stage) { h.stage.Store(int32(s)) }

func (h *health) routes(routes *http.ServeMux) {
	routes.HandleFunc("GET /livez", h.live)
	routes.HandleFunc("GET /readyz", h.ready)
}

// live: as long as it answers, it lives. What a restart would not mend is not asked here.
func (h *health) live(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, []byte(`{"status":"live"}`))
}

// probeTime bounds what the parts may take to answer; probes are asked every few seconds.
const probeTime = 2 * time.Second

func (h *health) ready(w http.ResponseWriter, r *http.Request) {
	missing := h.missing(r.Context())
	if len(missing) == 0 {
		h.writeReady(r.Context(), w)
		return
	}
	p := problem.New(commands.Unavailable, missing[0].Part+": "+missing[0].Detail)
	p.RetryAfter = time.Second
	writeUnready(w, p, missing)
}

func (h *health) missing(ctx context.Context) []Lacking {
	switch stage(h.stage.Load()) {
	case stageStarting:
		return []Lacking{{"program", "it is starting"}}
	case stageStopping:
		return []Lacking{{"program", "it is stopping"}}
	}
	return askAll(ctx, h.checks)
}

// askAll gives the parts that something is wrong with.
func askAll(ctx context.Context, checks []check) (wrong []Lacking) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	for _, c := range checks {
		if err := c.ask(ctx); err != nil {
			wrong = append(wrong, Lacking{c.part, err.Error()})
		}
	}
	return wrong
}

// writeReady answers that commands are taken, and names what is not as it should be besides.
func (h *health) writeReady(ctx context.Context, w http.ResponseWriter) {
	body, err := json.Marshal(struct {
		Status   string    `json:"status"`
		Degraded []Lacking `json:"degraded,omitempty"`
	}{"ready", askAll(ctx, h.aside)})
	if err != nil {
		body = []byte(`{"status":"ready"}`)
	}
	writeJSON(w, body)
}

// writeUnready answers with a problem that names what is missing, a member of its own (RFC 9457
// section 3.2).
func writeUnready(w http.ResponseWriter, p *problem.Problem, missing []Lacking) {
	list, err := json.Marshal(missing)
	if err != nil {
		problem.Write(w, p)
		return
	}
	body := p.AppendTo(nil)
	body = append(append(append(body[:len(body)-1], `,"missing":`...), list...), '}')
	header := w.Header()
	header.Set("Content-Type", problem.ContentType)
	header.Set("Cache-Control", "no-store")
	header.Set("Retry-After", "1")
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // who has gone needs no answer
}

func writeJSON(w http.ResponseWriter, body []byte) {
	headers.DescribeJSON(w.Header(), headers.NoStore, len(body))
	_, _ = w.Write(body) // who has gone needs no answer
}
