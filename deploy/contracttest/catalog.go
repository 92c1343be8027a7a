package contracttest

import (
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

// DESIGN section 3, GET /v1/streams. What it tells changes with every landing, so that it is looked at in a
// story.
var readingCatalog = []row{
	get("no limit", "/v1/streams?limit=0", nil, 400, refusal(commands.Malformed)),
	get("too large a limit", "/v1/streams?limit=1001", nil, 400, refusal(commands.Malformed)),
	get("a limit that is none", "/v1/streams?limit=ten", nil, 400, refusal(commands.Malformed)),
	get("after what is no place", "/v1/streams?type=tally&after=7", nil, 400, refusal(commands.Malformed)),
	get("after a place of another history", "/v1/streams?type=tally&after=elsewhere-7", nil, 400, refusal(commands.Malformed)),
	get("after two places", "/v1/streams?after=elsewhere-7&after=elsewhere-7", nil, 400, refusal(commands.Malformed)),
	get("an unknown type", "/v1/streams?type=ghost", nil, 404, refusal(commands.UnknownType)),
	get("a type that is no name", "/v1/streams?type=Ghost", nil, 400, refusal(commands.Malformed)),
	get("two types", "/v1/streams?type=tally&type=tally", nil, 400, refusal(commands.Malformed)),
	get("another parameter", "/v1/streams?kind=tally", nil, 400, refusal(commands.Malformed)),
	with(get("no JSON taken", "/v1/streams", nil, 406, refusal(commands.NotAcceptable)), "Accept: text/html"),
	{name: "POST", path: "/v1/streams", status: 405, tells: []string{"Allow: GET, HEAD"},
		answer: refusal(commands.MethodNotAllowed, `"allowed":["GET","HEAD"]`)},
}

func listed(v *visit) {
	other := "tally/" + commands.NewID().String()
	quiet := `{"id":"$d","stream":"tally/$e","type":"note","ticket":"genesis"}`
	v.give("200 " + add("$a", "genesis", 1))
	v.give(`200 {"id":"$b","stream":"` + other + `","type":"add","ticket":"genesis","data":{"n":1}}`)
	v.give("200 " + quiet)
	v.give("409 " + add("$f", "genesis", 1))
	var last commands.CommandView
	v.learn(&row{body: plain("$c", "note", "$a"), header: []string{waiting}}, 200, &last)
	for _, kind := range []string{"", "tally"} {
		items := v.catalog(kind, last.Position)
		mine, theirs := at(items, v.names["$s"]), at(items, other)
		require.GreaterOrEqual(v, mine, 0)
		require.Less(v, mine, theirs, "what changed later comes first")
		row := items[mine]
		require.False(v, row.At.IsZero())
		require.Equal(v, commands.StreamView{Stream: last.Stream, Version: 1, Ticket: last.ID, At: row.At, Position: last.Position}, row)
		require.Equal(v, -1, at(items, "tally/"+v.names["$e"]), "nothing has happened on it yet")
	}
}

func at(items []commands.StreamView, stream string) int {
	return slices.IndexFunc(items, func(view commands.StreamView) bool { return view.Stream.String() == stream })
}

// catalog walks over all pages once the catalog holds what landed at a position, which its entity tag tells.
func (v *visit) catalog(kind string, upTo commands.Position) (all []commands.StreamView) {
	v.Helper()
	const limit = 25
	values := url.Values{"limit": {strconv.Itoa(limit)}}
	if kind != "" {
		values.Set("type", kind)
	}
	patience, tick := time.After(20*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		var page commands.StreamsView
		header := v.learn(&row{method: "GET", path: "/v1/streams?" + values.Encode()}, 200, &page)
		require.Equal(v, "no-cache", header.Get("Cache-Control"))
		tag, err := strconv.Unquote(header.Get("ETag"))
		require.NoError(v, err)
		holds, err := commands.ParsePosition(tag)
		require.NoError(v, err)
		require.Equal(v, upTo.Epoch, holds.Epoch)
		if holds.N < upTo.N {
			select {
			case <-tick.C:
				continue
			case <-patience:
				require.Fail(v, "the catalog lags", "it holds the log up to %s, not to %s", holds, upTo)
			}
		}
		for _, item := range page.Items {
			require.Nil(v, item.State)
			require.LessOrEqual(v, item.Position.N, holds.N)
			if len(all) > 0 {
				require.Less(v, item.Position.N, all[len(all)-1].Position.N, "newest change first")
			}
			all = append(all, item)
		}
		if page.After == "" {
			return all
		}
		require.Len(v, page.Items, limit, "only the last page is short")
		values.Set("after", page.After)
	}
}
