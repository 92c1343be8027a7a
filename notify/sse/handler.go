package sse

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/commands/problem"
	"github.com/ticketed/doorman/notify/hub"
)

// Config is what the endpoint needs. Hub is required.
type Config struct {
	Hub *hub.Hub
	// WriteTime is how long a reader may leave what was sent to it unread; 20 s by default.
	WriteTime time.Duration
	// MaxHeld bounds, in bytes, what all connections together hold for readers who have not taken it yet; 256 MiB by
	// default. Who would need more is disconnected, and resumes.
	MaxHeld int64
	Log     *slog.Logger
}

// Handler is the endpoint.
type Handler struct {
	config Config
	room   room
}

// room is what is held for readers, by all connections together.
type room struct {
	most int64 // 0: no bound
	held atomic.Int64
}

// take reports false when there is not so much.
func (r *room) take(bytes int) bool {
	if r.held.Add(int64(bytes)) > r.most && r.most > 0 {
		r.give(bytes)
		return false
	}
	return true
}

func (r *room) give(bytes int) { r.held.Add(-int64(bytes)) }

// New makes the endpoint.
func New(config Config) (*Handler, error) {
	if config.Hub == nil {
		return nil, errors.New("sse: Hub is not given")
	}
	if config.WriteTime <= 0 {
		config.WriteTime = 20 * time.Second
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.MaxHeld <= 0 {
		config.MaxHeld = 256 << 20
	}
	return &Handler{config: config, room: room{most: config.MaxHeld}}, nil
}

// Mount adds the endpoint to a router.
func (h *Handler) Mount(mux *http.ServeMux) {
	mux.Handle("GET /v1/notifications", h)
	mux.Handle("POST /v1/notifications", h)
}

const eventStream = "text/event-stream"

// ServeHTTP is http.Handler's.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request, err := parse(r)
	if err == nil {
		err = request.Validate()
	}
	if err != nil {
		refuse(w, err)
		return
	}
	streamed := takesStream(r.Header["Accept"])
	switch {
	case !streamed && !headers.TakesJSON(r.Header["Accept"]):
		refuse(w, problem.New(commands.NotAcceptable, "this is told as "+eventStream+" or as application/json"))
	case r.Method == http.MethodHead:
		head(w, streamed)
	case streamed:
		err = h.stream(w, r, request)
	default:
		err = h.poll(w, r, request)
	}
	if err != nil {
		h.fail(w, r, err)
	}
}

func head(w http.ResponseWriter, streamed bool) {
	header := w.Header()
	header["Cache-Control"] = headers.NoStore
	if streamed {
		header.Set("Content-Type", eventStream)
	} else {
		header.Set("Content-Type", "application/json")
	}
}

// takesStream tells whether an Accept header asks for server-sent events: it names them, or takes anything
// without naming JSON.
func takesStream(accept []string) bool {
	if len(accept) == 0 {
		return true
	}
	anything, json := false, false
	for item := range strings.SplitSeq(strings.ToLower(strings.Join(accept, ",")), ",") {
		kind, parameters, _ := strings.Cut(strings.TrimSpace(item), ";")
		if unwanted(parameters) {
			continue
		}
		switch strings.TrimSpace(kind) {
		case eventStream, "text/*":
			return true
		case "application/json":
			json = true
		case "*/*":
			anything = true
		}
	}
	return anything && !json
}

// unwanted: the weight 0 says "not this" (RFC 9110 section 12.4.2).
func unwanted(parameters string) bool {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(parameter, "=")
		if strings.TrimSpace(name) == "q" {
			weight, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return err == nil && weight == 0
		}
	}
	return false
}

// refuse answers before anything was told.
func refuse(w http.ResponseWriter, err error) {
	if invalid, ok := errors.AsType[*hub.RequestError](err); ok {
		err = problem.New(invalid.Code, invalid.Detail)
	}
	problem.Write(w, problem.From(err))
}

// fail answers a request that could not be opened, and was told nothing yet.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case r.Context().Err() != nil: // it has gone
		return
	case errors.Is(err, hub.ErrFull), errors.Is(err, hub.ErrBusy), errors.Is(err, hub.ErrStopped), errors.Is(err, hub.ErrNoRoom):
	case errors.Is(err, store.ErrUnavailable):
		err = errors.New("the store does not answer")
	default:
		h.config.Log.Error("a connection could not be opened", "err", err)
		problem.Write(w, problem.New(commands.Internal, ""))
		return
	}
	refused := problem.New(commands.Unavailable, err.Error())
	refused.RetryAfter = spread(time.Second, 10*time.Second)
	problem.Write(w, refused)
}

// spread is a time between two, so that those who come back do not come at once.
func spread(least, most time.Duration) time.Duration {
	return least + rand.N(most-least) //nolint:gosec // nothing secret hangs on it
}

// appendRetry tells a browser when to come back once the connection is cut.
func appendRetry(b []byte, least, most time.Duration) []byte {
	b = append(b, "retry: "...)
	b = strconv.AppendInt(b, spread(least, most).Milliseconds(), 10)
	return append(b, '\n')
}
