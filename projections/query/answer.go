package query

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/commands/problem"
)

var (
	jsonContent = []string{"application/json"}
	noStore     = []string{"no-store"} // it may be another one the next moment
	revalidate  = []string{"no-cache"} // it may be kept, and asked about by its tag
	immutable   = []string{"max-age=31536000, immutable"}
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
		p.RetryAfter = time.Duration(1+rand.IntN(3)) * time.Second //nolint:gosec // not a secret
	default:
		p = problem.New(commands.Internal, "")
	}
	if !told {
		q.config.Log.Error("cannot answer", "path", r.URL.Path, "err", err)
	}
	if errors.Is(err, errGone) {
		panic(http.ErrAbortHandler) // the only way to tell that what was sent is not all
	}
	problem.Write(w, p)
}

// write sends a whole answer.
func write(w http.ResponseWriter, cache []string, body []byte) {
	h := w.Header()
	h["Content-Type"] = jsonContent
	h["Cache-Control"] = cache
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body) // who has gone needs no answer
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
func unchanged(w http.ResponseWriter, r *http.Request, cache []string, tag string) bool {
	h := w.Header()
	h["Etag"] = []string{`"` + tag + `"`}
	if named, _ := headers.NamesTag(r.Header["If-None-Match"], tag); !named {
		return false
	}
	h["Cache-Control"] = cache
	w.WriteHeader(http.StatusNotModified)
	return true
}

func (q *Query) getLimits(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	write(w, revalidate, q.limits)
	return nil
}
