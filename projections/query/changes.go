package query

import (
	"fmt"
	"math"
	"net/http"
	"strconv"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

// pace is how many changes are read at once: few while it is not known how large they are, and as many as have about
// so many bytes then, so that large ones are not all in memory together.
type pace uint64

const (
	fewChanges  pace = 32
	mostChanges pace = 512
	paceBytes        = 1 << 20
)

// next is the pace after these were read.
func (p pace) next(changes []store.Change) pace {
	bytes := 0
	for i := range changes {
		bytes += len(changes[i].Event.Data)
	}
	switch {
	case bytes > 2*paceBytes:
		return max(p/4, 4)
	case bytes < paceBytes/4:
		return min(4*p, mostChanges)
	}
	return p
}

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
	last := min(after+limit, record.Head.Version)
	// What a page holds hangs on the versions in it, within one history. It has to be asked about each
	// time, since its address does not name the history: a log that was restored goes on with another one.
	tag := fmt.Sprintf("%s-%d-%d", q.config.Epoch, after, last)
	if unchanged(w, r, tag) {
		return nil
	}
	return q.sendChanges(w, r, stream, after, last)
}

// sendChanges sends the changes with versions above after, up to last.
func (q *Query) sendChanges(w http.ResponseWriter, r *http.Request, stream commands.Stream, after, last uint64) error {
	answer := parts{w: w, cache: headers.Revalidate}
	body := q.body()
	text := append((*body)[:0], '[')
	batch := fewChanges
	for at := after; at < last; {
		n := min(uint64(batch), last-at)
		changes, err := q.changes(r.Context(), stream, at, n)
		if err != nil {
			return answer.failed(err)
		}
		for i := range changes {
			if at > after || i > 0 {
				text = append(text, ',')
			}
			view := changes[i].View(q.config.Epoch)
			text = answer.sent(view.AppendTo(text))
		}
		at, batch = at+n, batch.next(changes)
	}
	text = append(text, ']')
	answer.end(text)
	q.giveBack(body, text)
	return nil
}
