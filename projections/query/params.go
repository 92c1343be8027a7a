package query

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// parameters reads the query and refuses what is not among the names.
func parameters(r *http.Request, names ...string) (url.Values, error) {
	if r.URL.RawQuery == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, problem.New(commands.Malformed, "the query cannot be read: "+err.Error())
	}
	for name := range values {
		if !slices.Contains(names, name) {
			return nil, problem.Newf(commands.Malformed, "there is no query parameter %q here", shorten(name))
		}
	}
	return values, nil
}

func shorten(text string) string {
	if len(text) > 100 {
		return text[:100] + "…"
	}
	return text
}

// number reads a whole number between the bounds, both inclusive. given is false when there is none.
func number(values url.Values, name string, least, most uint64) (n uint64, given bool, err error) {
	texts := values[name]
	if len(texts) == 0 {
		return 0, false, nil
	}
	if len(texts) == 1 && digits(texts[0]) {
		if n, err := strconv.ParseUint(texts[0], 10, 64); err == nil && n >= least && n <= most {
			return n, true, nil
		}
	}
	return 0, false, problem.Newf(commands.Malformed,
		"the query parameter %q must be given once, a whole number from %d to %d", name, least, most)
}

func digits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return text != ""
}

// stream reads the stream that a path names, and finds its type.
func (q *Query) stream(r *http.Request) (commands.Stream, aggregate.Type, error) {
	kind, id := r.PathValue("type"), r.PathValue("id")
	stream, err := commands.ParseStream(kind + "/" + id)
	if err != nil {
		return commands.Stream{}, nil, problem.New(commands.Malformed, err.Error())
	}
	t, served := q.config.Type(stream.Type)
	if !served {
		p := problem.New(commands.UnknownType, "no streams of the type "+stream.Type+" are kept here")
		p.Stream = stream
		return commands.Stream{}, nil, p
	}
	return stream, t, nil
}
