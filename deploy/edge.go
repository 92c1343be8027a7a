package deploy

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// edge is what every request passes first and last: it counts, bounds how long a body may take, answers
// for pages of other origins, turns a panic into a problem, and says no in JSON to what no route takes.
type edge struct {
	routes      *http.ServeMux
	requests    *requestMetrics
	cors        *cors // nil: pages of other origins may not call
	bodyTimeout time.Duration
	pieces      pieceTime
	log         *slog.Logger
}

// longestAnswer is how long an answer may take until it has been written, from its request on: more than any that waits
// on purpose. A reader who does not read would otherwise keep its connection, and the answer in memory, for ever.
const longestAnswer = 2 * time.Minute

// pieceTime is how long one large piece of an answer may take to be written, whatever came before it. The zero value
// sets no bound of its own.
type pieceTime struct {
	atLeast time.Duration
	rate    int // bytes a second, of the slowest reader
}

// usualPieces lets a reader with 128 kbit/s have a state of a megabyte.
var usualPieces = pieceTime{atLeast: 30 * time.Second, rate: 16 << 10}

// largePiece is the size from which a piece of an answer is given time of its own. Smaller ones go into buffers.
const largePiece = 32 << 10

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &answer{ResponseWriter: w, pieces: e.pieces}
	started := time.Now()
	defer e.finish(a, r, started)
	if e.cors != nil && e.cors.handled(a, r) {
		return
	}
	if r.Body != http.NoBody && e.bodyTimeout > 0 {
		r.Body = boundBody(w, r.Body, started.Add(e.bodyTimeout))
	}
	if r.Method != http.MethodConnect && !clean(r.URL.EscapedPath()) {
		r.Pattern = anyRoute
		nowhere(a, r)
		return
	}
	e.routes.ServeHTTP(a, r)
}

// clean tells whether a path is one that the router takes as it is. Any other it would answer with a
// redirect to the address that it takes to be meant: 307, with no word that a client of this API reads.
func clean(path string) bool {
	if path == "" || path[0] != '/' {
		return path == "*" // of OPTIONS
	}
	for rest := path[1:]; ; {
		part, after, more := strings.Cut(rest, "/")
		if part == "." || part == ".." || part == "" && more {
			return false
		}
		if !more {
			return true
		}
		rest = after
	}
}

// finish counts an answer; after a panic it gives one first.
func (e *edge) finish(a *answer, r *http.Request, started time.Time) {
	broken := recover()
	if err, ok := broken.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(broken)
	}
	if broken != nil {
		e.log.Error("a request broke its handler", "method", r.Method, "path", r.URL.Path,
			"err", broken, "stack", string(debug.Stack()))
		if a.status != 0 {
			// Half an answer is out; all that is left is to break the connection.
			e.requests.answered(r.Pattern, http.StatusInternalServerError, time.Since(started))
			panic(http.ErrAbortHandler)
		}
		problem.Write(a, problem.New(commands.Internal, ""))
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	e.requests.answered(r.Pattern, a.status, time.Since(started))
}

// answer remembers the status that was written.
type answer struct {
	http.ResponseWriter
	status int
	pieces pieceTime
}

// WriteHeader is http.ResponseWriter's. Informational answers come before the one that counts.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= http.StatusOK {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write is http.ResponseWriter's.
func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if len(b) >= largePiece && a.pieces.rate > 0 {
		a.allow(len(b))
	}
	return a.ResponseWriter.Write(b)
}

// allow gives a piece of an answer its time. It ends with the request: net/http sets another one for the next.
func (a *answer) allow(bytes int) {
	if connection, ok := a.ResponseWriter.(interface{ SetWriteDeadline(t time.Time) error }); ok {
		enough := a.pieces.atLeast + time.Duration(bytes/a.pieces.rate)*time.Second
		_ = connection.SetWriteDeadline(time.Now().Add(enough)) // it fails where writing fails too
	}
}

// Unwrap lets http.ResponseController reach what is underneath, to flush and to take connections over.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// boundedBody is a body that must have come by a deadline. http.Server.ReadTimeout would do the same, but
// goes on counting after the body has come, and so ends every answer that waits longer.
type boundedBody struct {
	io.ReadCloser
	connection deadlines
}

// deadlines is what the server's own http.ResponseWriter can do (see http.ResponseController).
type deadlines interface{ SetReadDeadline(time.Time) error }

func boundBody(w http.ResponseWriter, body io.ReadCloser, until time.Time) io.ReadCloser {
	connection, ok := w.(deadlines)
	if !ok {
		return body
	}
	// It fails on a connection that is gone, where reading fails too.
	_ = connection.SetReadDeadline(until)
	return &boundedBody{body, connection}
}

// Read is io.Reader's.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.connection.SetReadDeadline(time.Time{})
	}
	return n, err
}

// noRoute answers what no route takes: 405 with the methods that would be taken there, else 404.
func noRoute(routes *http.ServeMux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
			probe := &http.Request{Method: method, URL: r.URL, Host: r.Host}
			if _, pattern := routes.Handler(probe); pattern != anyRoute && pattern != "" {
				allowed = append(allowed, method)
			}
		}
		if allowed == nil {
			nowhere(w, r)
			return
		}
		p := problem.Newf(commands.MethodNotAllowed, "%s is not taken at this address.", shortPath(r.Method))
		p.Allowed = allowed
		problem.Write(w, p)
	}
}

func nowhere(w http.ResponseWriter, r *http.Request) {
	problem.Write(w, problem.Newf(commands.NotFound, "There is no address %s here.", shortPath(r.URL.Path)))
}

// anyRoute is the pattern that takes what no other one does.
const anyRoute = "/"

func shortPath(path string) string {
	if len(path) > 200 {
		return path[:200] + "…"
	}
	return path
}
