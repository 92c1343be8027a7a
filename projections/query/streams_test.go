package query_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/projections/catalog"
	"github.com/ticketed/doorman/projections/runner"
)

// binder is a catalog with what a test puts there.
type binder struct {
	page  catalog.Page
	asked []catalog.Ask
	err   error
	end   uint64 // of the log
}

// ended is a shelf with a log that ends somewhere.
type ended struct {
	*shelf
	at uint64
}

func (e ended) End(context.Context) (uint64, error) { return e.at, e.err }

func (b *binder) Page(_ context.Context, ask catalog.Ask) (*catalog.Page, error) {
	b.asked = append(b.asked, ask)
	page := b.page
	return &page, b.err
}

func listing(t *testing.T, b *binder, query string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	x := over(newShelf())
	if b != nil {
		x.Catalog, x.Reader = b, ended{newShelf(), b.end}
	}
	return x.get(t, "/v1/streams"+query, header...)
}

func TestThePageThatIsAskedForIsRead(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]catalog.Ask{
		"":                                  {Limit: 100},
		"?type=tally":                       {Type: "tally", Limit: 100},
		"?type=tally&after=&limit=1000":     {Type: "tally", Limit: 1000},
		"?limit=1&after=e1-7":               {Limit: 1, Before: 7},
		"?after=e1-9223372036854775807":     {Limit: 100, Before: 9223372036854775807},
		"?after=e1-1&type=tally&limit=0009": {Type: "tally", Limit: 9, Before: 1},
	} {
		b := &binder{page: catalog.Page{At: runner.Checkpoint{Epoch: "e1", Position: 3}}}
		w := listing(t, b, query)
		require.Equal(t, 200, w.Code, "%s: %s", query, w.Body)
		require.Equal(t, []catalog.Ask{want}, b.asked, query)
		require.JSONEq(t, `{"items":[],"after":""}`, w.Body.String())
		require.Equal(t, `"e1-3"`, w.Header().Get("ETag"))
		require.Equal(t, "no-cache", w.Header().Get("Cache-Control"))
	}
}

func TestAPageThatCannotBeAskedForIsRefusedByName(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"?limit=0":                      `limit`,
		"?limit=1001":                   `limit`,
		"?limit=":                       `limit`,
		"?limit=1&limit=1":              `limit`,
		"?after=7":                      `after`,
		"?after=e1-":                    `after`,
		"?after=e1-0":                   `after`,
		"?after=e1-9223372036854775808": `after`,
		"?after=e1-1&after=e1-1":        `after`,
		"?after=e0-7":                   `"after\" is from another history of the log`,
		"?type=":                        `type`,
		"?type=Tally":                   `type`,
		"?type=tally&type=tally":        `type`,
		"?kind=tally":                   `kind`,
	} {
		b := &binder{}
		w := listing(t, b, query)
		require.Equal(t, 400, w.Code, query)
		require.Contains(t, w.Body.String(), `"code":"malformed"`, query)
		require.Contains(t, w.Body.String(), want, query)
		require.Empty(t, b.asked, query)
	}
	w := listing(t, &binder{}, "?type=order")
	require.Equal(t, 404, w.Code)
	require.Contains(t, w.Body.String(), `"code":"unknown_type"`)
	w = listing(t, nil, "")
	require.Equal(t, 404, w.Code)
	require.Contains(t, w.Body.String(), `"code":"not_found"`)
}

// DESIGN section 3: {"items":[{"stream","version","ticket","at","position"}],"after"}.
func TestAPageTellsItsStreamsAndWhereToGoOn(t *testing.T) {
	t.Parallel()
	first, second := commands.NewID(), commands.NewID()
	b := &binder{page: catalog.Page{At: runner.Checkpoint{Epoch: "e1", Position: 12}, More: true, Rows: []catalog.Row{
		{Stream: stream42, Version: 3, Ticket: first, At: time.UnixMicro(1).UTC(), Position: 9},
		{Stream: commands.Stream{Type: "tally", ID: "7"}, Version: 1, Ticket: second, At: time.UnixMicro(2).UTC(), Position: 4},
	}}}
	want := func(after string) string {
		return fmt.Sprintf(`{"items":[`+
			`{"stream":"tally/42","version":3,"ticket":%q,"at":"1970-01-01T00:00:00.000001Z","position":"e1-9"},`+
			`{"stream":"tally/7","version":1,"ticket":%q,"at":"1970-01-01T00:00:00.000002Z","position":"e1-4"}],"after":%q}`, first, second, after)
	}
	w := listing(t, b, "")
	require.Equal(t, 200, w.Code)
	require.Equal(t, want("e1-4"), w.Body.String())
	b.page.More = false
	require.Equal(t, want(""), listing(t, b, "").Body.String(), "the last page")

	w = listing(t, b, "", `If-None-Match: "e1-12"`)
	require.Equal(t, 304, w.Code)
	require.Empty(t, w.Body.String())
	require.Equal(t, 200, listing(t, b, "", `If-None-Match: "e1-11"`).Code)
}

// Rows of a history that is no more are not told under the new one's name.
func TestACatalogOfAnotherHistoryIsEmpty(t *testing.T) {
	t.Parallel()
	for _, epoch := range []string{"", "e0"} {
		b := &binder{page: catalog.Page{At: runner.Checkpoint{Epoch: epoch, Position: 9}, More: true,
			Rows: []catalog.Row{{Stream: stream42, Version: 3, Position: 9}}}}
		w := listing(t, b, "")
		require.Equal(t, 200, w.Code)
		require.JSONEq(t, `{"items":[],"after":""}`, w.Body.String())
		require.Equal(t, `"e1-0"`, w.Header().Get("ETag"))
	}
}

// A list that lacks streams is not told as if it were all.
func TestWhileTheCatalogIsMadeAnewItIsToldHowFarItIs(t *testing.T) {
	t.Parallel()
	rows := []catalog.Row{{Stream: stream42, Version: 3, Position: 9}}
	at := func(epoch string, position uint64) runner.Checkpoint {
		return runner.Checkpoint{Epoch: epoch, Position: position}
	}
	for detail, b := range map[string]*binder{
		"120,000 of 5,000,000 outcomes": {page: catalog.Page{At: at("e1", 120_000), WholeAt: 5_000_000, Rows: rows}},
		"0 of 999 outcomes":             {page: catalog.Page{At: at("e1", 0), WholeAt: 999}},
		"0 of 1,000 outcomes":           {page: catalog.Page{}, end: 1000}, // put aside this moment
		"0 of 1 outcomes":               {page: catalog.Page{At: at("e0", 12), Rows: rows}, end: 1},
	} {
		w := listing(t, b, "", `If-None-Match: "e1-0"`)
		require.Equal(t, 503, w.Code, detail)
		require.Contains(t, w.Body.String(), `"code":"unavailable"`)
		require.Contains(t, w.Body.String(), "the catalogue of streams is being made anew: "+detail)
		require.Regexp(t, "^[123]$", w.Header().Get("Retry-After"))
		require.Empty(t, w.Header().Get("ETag"))
	}
	b := &binder{page: catalog.Page{At: at("e1", 9), WholeAt: 9, Rows: rows}, end: 100}
	require.Equal(t, 200, listing(t, b, "").Code, "whole again, and a little behind")
}

func TestACatalogThatIsAwayIsUnavailable(t *testing.T) {
	t.Parallel()
	w := listing(t, &binder{err: fmt.Errorf("dial: %w", store.ErrUnavailable)}, "")
	require.Equal(t, 503, w.Code)
	require.Contains(t, w.Body.String(), `"code":"unavailable"`)
	require.Contains(t, w.Body.String(), "the catalogue of streams cannot be read now", "the part is named")
	require.NotEmpty(t, w.Header().Get("Retry-After"))
	require.Equal(t, 500, listing(t, &binder{err: errors.New("a fault")}, "").Code)
}
