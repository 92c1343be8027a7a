package query

import (
	"fmt"
	"math"
	"net/http"
	"strconv"

	"github.com/ticketed/doorman/commands"
)

const (
	defaultPage = 100
	maxPage     = 1000
	// changesBatch is how many changes are read and sent at once, so that a page of large ones does not
	// have to be held as a whole.
	changesBatch = 100
)

func (q *Query) getChanges(w http.ResponseWriter, r *http.Request) error {
	stream, _, err := q.stream(r)
	if err != nil {
		return err
	}
	values, err := parameters(r, "after", "limit")
	if err != nil {
		return err
	}
	after, _, err := number(values, "after", 0, math.MaxInt64)
	if err != nil {
		return err
	}
	limit, given, err := number(values, "limit", 1, maxPage)
	if err != nil {
		return err
	}
	if !given {
		limit = defaultPage
	}
	record, err := q.read(r.Context(), stream)
	if err != nil {
		return err
	}
	if after > record.Head.Version {
		return nothing(record, "the stream is at version "+strconv.FormatUint(record.Head.Version, 10)+" only")
	}
	last, cache := after+limit, immutable
	if last > record.Head.Version {
		last, cache = record.Head.Version, revalidate
	}
	// What a page holds hangs on its address and on its last version, within one history.
	if unchanged(w, r, cache, q.config.Epoch+"-"+strconv.FormatUint(last, 10)) {
		return nil
	}
	return q.sendChanges(w, r, stream, after, last, cache)
}

// sendChanges sends the changes with versions above after, up to last.
func (q *Query) sendChanges(w http.ResponseWriter, r *http.Request, stream commands.Stream, after, last uint64, cache []string) error {
	body := q.body()
	text := append((*body)[:0], '[')
	for at := after; at < last; {
		n := min(changesBatch, last-at)
		changes, err := q.changes(r.Context(), stream, at, n)
		if err != nil {
			if at > after {
				err = fmt.Errorf("%w: %w", errGone, err)
			}
			return err
		}
		for i := range changes {
			if at > after || i > 0 {
				text = append(text, ',')
			}
			view := q.viewChange(&changes[i])
			text = view.AppendTo(text)
		}
		if at += n; at < last {
			start(w, cache)
			_, _ = w.Write(text)
			text = text[:0]
		}
	}
	text = append(text, ']')
	if last-after <= changesBatch {
		write(w, cache, text)
	} else {
		_, _ = w.Write(text)
	}
	q.giveBack(body, text)
	return nil
}

// start prepares an answer whose length is not known yet.
func start(w http.ResponseWriter, cache []string) {
	h := w.Header()
	h["Content-Type"] = jsonContent
	h["Cache-Control"] = cache
}
