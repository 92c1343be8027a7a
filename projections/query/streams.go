package query

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/commands/problem"
	"github.com/ticketed/doorman/projections/catalog"
	"github.com/ticketed/doorman/projections/runner"
)

// Catalog finds streams by their last change.
type Catalog interface {
	Page(ctx context.Context, ask catalog.Ask) (*catalog.Page, error)
}

// getStreams answers with a page of the catalog of streams, the one that changed last first.
//
// Unlike all other answers this one comes from a read model, which follows the log and may lag behind it,
// mostly by less than a tenth of a second, and by half a second or so while much lands. The entity tag tells
// the position up to which the answer is true: who has been told of a landing at position 7 finds it in an answer
// with the tag "<epoch>-7" or above.
//
// While the catalog is made anew, or has been found far behind, it is 503 and told how far it is: a list that
// lacks streams is not told as if it were all.
//
// Without type the streams of all types are listed. A stream is listed from its first event on. The page's
// after is the position of its last stream, and the next page goes on below it. So a walk over all pages tells
// of each stream once at most, and of all that do not change meanwhile; those that do have moved to the front,
// where the first page is.
func (q *Query) getStreams(w http.ResponseWriter, r *http.Request) error {
	ask, err := q.asksFor(r)
	if err != nil {
		return err
	}
	page, err := q.config.Catalog.Page(r.Context(), ask)
	if err != nil {
		return catalogAway(err)
	}
	if err := q.whole(r.Context(), page); err != nil {
		return err
	}
	if page.At.Epoch != q.config.Epoch { // it was never filled, and nothing has happened
		page = &catalog.Page{At: runner.Checkpoint{Epoch: q.config.Epoch}}
	}
	upTo := commands.Position{Epoch: page.At.Epoch, N: page.At.Position}
	if unchanged(w, r, upTo.String()) {
		return nil
	}
	view := commands.StreamsView{Items: make([]commands.StreamView, len(page.Rows))}
	for i := range page.Rows {
		row := &page.Rows[i]
		view.Items[i] = commands.StreamView{Stream: row.Stream, Version: row.Version, Ticket: row.Ticket, At: row.At,
			Position: commands.Position{Epoch: page.At.Epoch, N: row.Position}}
	}
	if page.More {
		view.After = view.Items[len(view.Items)-1].Position.String()
	}
	body := q.body()
	text := view.AppendTo((*body)[:0])
	write(w, headers.Revalidate, text)
	q.giveBack(body, text)
	return nil
}

// catalogAway says which part is away: commands are taken and streams are read all the same.
func catalogAway(err error) error {
	err = fmt.Errorf("read the catalog of streams: %w", err)
	if !errors.Is(err, store.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", problem.New(commands.Unavailable,
		"the catalogue of streams cannot be read now; all else goes on"), err)
}

// whole refuses to tell of a catalog that is being made anew as if it were all.
func (q *Query) whole(ctx context.Context, page *catalog.Page) error {
	done, of := page.At.Position, page.WholeAt
	if page.At.Epoch != q.config.Epoch { // of a history that is no more, or just begun: it is about to be emptied
		end, err := q.config.Reader.End(ctx)
		if err != nil {
			return fmt.Errorf("read the end of the log: %w", err)
		}
		done, of = 0, end
	}
	if done >= of {
		return nil
	}
	return problem.New(commands.Unavailable, fmt.Sprintf("the catalogue of streams is being made anew: %s of %s outcomes",
		grouped(done), grouped(of)))
}

// grouped writes a number for people, e.g. 5,000,000.
func grouped(n uint64) string {
	text := strconv.FormatUint(n, 10)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// asksFor reads which page is wanted.
func (q *Query) asksFor(r *http.Request) (ask catalog.Ask, err error) {
	if q.config.Catalog == nil {
		return ask, problem.New(commands.NotFound, "no catalog of streams is kept here")
	}
	values, err := parameters(r, "type", "after", "limit")
	if err != nil {
		return ask, err
	}
	limit, given, err := number(values, "limit", 1, maxPage)
	if err != nil {
		return ask, err
	}
	if ask.Limit = defaultPage; given {
		ask.Limit = int(limit) //nolint:gosec // maxPage at most
	}
	if ask.Before, err = q.cursor(values); err != nil {
		return ask, err
	}
	if kinds := values["type"]; len(kinds) > 0 {
		if len(kinds) > 1 || !commands.ValidType(kinds[0]) {
			return ask, problem.New(commands.Malformed, `the query parameter "type" must be given once, the name of a stream type`)
		}
		if _, served := q.config.Type(kinds[0]); !served {
			return ask, problem.New(commands.UnknownType, "no streams of the type "+kinds[0]+" are kept here")
		}
		ask.Type = kinds[0]
	}
	return ask, nil
}

// cursor reads what a page before gave as its after; 0 when there is none.
func (q *Query) cursor(values url.Values) (before uint64, err error) {
	texts := values["after"]
	if len(texts) == 0 || len(texts) == 1 && texts[0] == "" {
		return 0, nil
	}
	if len(texts) == 1 {
		switch at, err := commands.ParsePosition(texts[0]); {
		case err != nil || at.N == 0 || at.N > math.MaxInt64:
		case at.Epoch != q.config.Epoch:
			return 0, problem.New(commands.Malformed,
				`the query parameter "after" is from another history of the log, which was restored or reset since: `+
					`begin with the first page`)
		default:
			return at.N, nil
		}
	}
	return 0, problem.New(commands.Malformed, `the query parameter "after" must be given once, as the page before told it`)
}
