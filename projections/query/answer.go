package query

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/commands/problem"
)

// errGone says that the answer broke off after its beginning was out.
var errGone = errors.New("the answer broke off")

// answerTo makes a handler of a function that writes an answer or returns why it cannot.
func (q *Query) answerTo(get func(w http.ResponseWriter, r *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var err error = problem.New(commands.NotAcceptable, "this address answers with application/json")
		if headers.TakesJSON(r.Header["Accept"]) {
			err = get(w, r)
		}
		if err != nil {
			q.refuse(w, r, err)
		}
	}
}

func (q *Query) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p, told := errors.AsType[*problem.Problem](err)
	switch {
	case told:
	case r.Context().Err() != nil:
		return // nobody is there to be told
	case errors.Is(err, store.ErrUnavailable):
		p = problem.New(commands.Unavailable, "the store cannot be read now")
	default:
		p = problem.New(commands.Internal, "")
	}
	if !told || p.Status >= http.StatusInternalServerError {
		q.config.Log.Log(r.Context(), levelOf(err), "cannot answer", "path", r.URL.Path, "err", err)
	}
	if errors.Is(err, errGone) {
		panic(http.ErrAbortHandler) // the only way to tell that what was sent is not all
	}
	p.ComeLater()
	problem.Write(w, p)
}

// levelOf says how loudly a failed read is told of. What is away is told of by /readyz, and would be told of
// here once a request.
func levelOf(err error) slog.Level {
	p, told := errors.AsType[*problem.Problem](err)
	if errors.Is(err, store.ErrUnavailable) || told && p.Code == commands.Unavailable {
		return slog.LevelDebug
	}
	return slog.LevelError
}

// write sends a whole answer.
func write(w http.ResponseWriter, cache []string, body []byte) {
	headers.DescribeJSON(w.Header(), cache, len(body))
	_, _ = w.Write(body) // who has gone needs no answer
}

// parts sends an answer piece by piece, since all of it may be much to hold.
type parts struct {
	w     http.ResponseWriter
	cache []string
	begun bool
}

const partSize = 256 << 10

// sent takes what has come together so far, and sends it once it is worth it. It gives the buffer to go on with.
func (p *parts) sent(text []byte) []byte {
	if len(text) < partSize {
		return text
	}
	if !p.begun {
		headers.DescribeJSON(p.w.Header(), p.cache, headers.Unmeasured)
		p.begun = true
	}
	_, _ = p.w.Write(text) // who has gone needs no answer
	return text[:0]
}

// end sends the rest.
func (p *parts) end(text []byte) {
	if p.begun {
		_, _ = p.w.Write(text) // as above
		return
	}
	write(p.w, p.cache, text)
}

// failed is the error of an answer that cannot be sent to its end.
func (p *parts) failed(err error) error {
	if p.begun {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return err
}

// body lends a buffer to fill; give it back once it has been written.
func (q *Query) body() *[]byte { return q.bodies.Get().(*[]byte) }

const keptBytes = 256 << 10

func (q *Query) giveBack(body *[]byte, used []byte) {
	if cap(used) <= keptBytes {
		*body = used[:0]
		q.bodies.Put(body)
	}
}

// unchanged answers that the client has what it would get. It reports whether that was so.
func unchanged(w http.ResponseWriter, r *http.Request, tag string) bool {
	h := w.Header()
	h["Etag"] = []string{`"` + tag + `"`}
	if named, _ := headers.NamesTag(r.Header["If-None-Match"], tag); !named {
		return false
	}
	h["Cache-Control"] = headers.Revalidate
	w.WriteHeader(http.StatusNotModified)
	return true
}

func (q *Query) getLimits(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	write(w, headers.Revalidate, q.limits)
	return nil
}
