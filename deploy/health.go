package deploy

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/commands"
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
}

// check tells what is wrong with one part; nil when nothing is.
type check struct {
	part string
	ask  func(context.Context) error
}

// Lacking is one part that a program is not ready for.
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
		writeJSON(w, []byte(`{"status":"ready"}`))
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
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	var missing []Lacking
	for _, c := range h.checks {
		if err := c.ask(ctx); err != nil {
			missing = append(missing, Lacking{c.part, err.Error()})
		}
	}
	return missing
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
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // who has gone needs no answer
}
