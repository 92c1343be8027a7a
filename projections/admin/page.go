package admin

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// The bounds of a page, in items.
const (
	usualPage = 100
	maxPage   = 1000
)

// page is which part of a list is asked for.
type page struct {
	after  uint64
	limit  int
	values url.Values // of the other parameters, each given once
}

// pageOf reads the query, which has after, limit and those named, each once.
func pageOf(r *http.Request, names ...string) (p page, err error) {
	if p.values, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return p, problem.New(commands.Malformed, "the query cannot be read: "+err.Error())
	}
	names = append([]string{"after", "limit"}, names...)
	for name, given := range p.values {
		if !slices.Contains(names, name) {
			return p, problem.Newf(commands.Malformed, "there is no query parameter %q here", shorten(name))
		}
		if len(given) > 1 {
			return p, problem.Newf(commands.Malformed, "the query parameter %q is given %d times", name, len(given))
		}
	}
	if p.after, err = number(p.values.Get("after"), "after", 0, 0, 1<<63-1); err != nil {
		return p, err
	}
	limit, err := number(p.values.Get("limit"), "limit", usualPage, 1, maxPage)
	p.limit = int(limit) //nolint:gosec // it is small
	return p, err
}

// noQuery refuses a query where there is nothing to ask for.
func noQuery(r *http.Request) error {
	if r.URL.RawQuery != "" {
		return problem.New(commands.Malformed, "there are no query parameters here")
	}
	return nil
}

// number reads a whole number between the bounds, both inclusive; the fallback when there is none.
func number(text, name string, fallback, least, most uint64) (uint64, error) {
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < least || n > most || text[0] == '+' {
		return 0, problem.Newf(commands.Malformed, "the query parameter %q must be a whole number from %d to %d", name, least, most)
	}
	return n, nil
}

// pageEnd cuts off what was read only to see whether there is more, and tells where to go on then.
func pageEnd[T any](items []T, limit int, number func(*T) uint64) ([]T, *uint64) {
	if len(items) <= limit {
		return items, nil
	}
	after := number(&items[limit-1])
	return items[:limit], &after
}
