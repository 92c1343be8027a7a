package load

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

// watcher is one that has been let in, of three streams on each of which two commands were sent.
func watcher(t *testing.T, deliver string) *watching {
	t.Helper()
	cfg := &Config{Watchers: 1, Streams: 3, WatchDeliver: deliver, WatchParked: 1}
	cfg.setDefaults()
	base, err := url.Parse("http://127.0.0.1:1")
	require.NoError(t, err)
	e := newEngine(cfg, nil, newRequest(cfg, base, "run"))
	e.began = time.Now()
	e.now = e.began.Add(time.Second)
	w := e.watch
	for stream := range 3 {
		items := []item{e.plan.next(stream, e.now, true), e.plan.next(stream, e.now, true)}
		w.sent(items, e.began)
	}
	w.readers[0].up, w.readers[0].headed = true, true
	return w
}

func pushed(stream, version int) string {
	return fmt.Sprintf("event: state\ndata: {\"stream\":\"document/run-%d\",\"version\":%d,\"ticket\":\"x\"}\n\n", stream, version)
}

const everything = "id: e-9\n\n"

// Promise 8: per stream in order, nothing skipped in events, and the newest state in the end.
func TestWhatWatchersAreToldIsChecked(t *testing.T) {
	t.Parallel()
	all := pushed(0, 1) + pushed(1, 1) + pushed(0, 2) + pushed(2, 1) + pushed(1, 2) + pushed(2, 2) + everything
	cases := []struct{ name, deliver, text, want string }{
		{"all in order", "events", pushed(0, 0) + everything + all, ""},
		{"the newest only", "state", pushed(2, 2) + pushed(1, 2) + pushed(0, 2) + everything, ""},
		{"a hole", "events", pushed(0, 2) + all, "1 pushes left versions out, e.g. document/run-0 version 2 after 0"},
		{"again", "events", all + pushed(1, 2), "1 pushes told a version again, or an older one, on the same connection, e.g. document/run-1 version 2 after 2"},
		{"backwards", "state", pushed(1, 2) + all, "document/run-1 version 1 after 2"},
		{"from nowhere", "state", all + pushed(0, 3), "1 pushes told a version that nobody sent, e.g. document/run-0 version 3"},
		{"another stream", "state", all + pushed(7, 1), "about something else"},
		{"nothing in the end", "state", pushed(0, 2) + pushed(1, 2) + pushed(2, 1), "1 watched streams whose newest version was not told, e.g. document/run-2"},
		{"a reset", "state", "event: reset\ndata: {\"reason\":\"too_far\"}\n\n" + all, "(reset), e.g. {\"reason\":\"too_far\"}"},
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, size := range []int{1, 7, 4096} {
				w := watcher(t, tt.deliver)
				for rest := tt.text; rest != ""; {
					part := rest[:min(size, len(rest))]
					rest = rest[len(part):]
					w.got(0, []byte(part), nil)
				}
				require.NoError(t, w.e.fatal)
				failures := strings.Join(w.failures(), "\n")
				if tt.want == "" {
					require.Empty(t, failures)
					require.EqualValues(t, 6, w.toTold.TotalCount(), "each landing is told, also several at once")
					require.InDelta(t, 1000, latency(w.toTold).P50, 1)
					require.EqualValues(t, 9, w.newest)
				}
				require.Contains(t, failures, tt.want)
			}
		})
	}
}

// After a reconnect what came since the mark may be told again; a version left out may not be.
func TestARepeatAfterAReconnectIsNoFault(t *testing.T) {
	t.Parallel()
	w := watcher(t, "events")
	w.got(0, []byte(everything+pushed(0, 1)+pushed(0, 2)+pushed(1, 1)), nil)
	w.got(0, nil, io.EOF)
	require.Equal(t, 1, w.reconnects)
	require.Contains(t, string(w.e.req.appendWatch(nil, &w.readers[0], w)),
		"\r\n\r\n"+`{"streams":["document/run-0","document/run-1","document/run-2"],"after":"e-9","deliver":"events"}`)
	w.readers[0].up, w.readers[0].partial = true, nil
	w.got(0, []byte(pushed(0, 1)+pushed(0, 2)+pushed(1, 1)+pushed(1, 2)+pushed(2, 1)+pushed(2, 2)), nil)
	require.Empty(t, w.failures())
	require.EqualValues(t, 6, w.toTold.TotalCount())
}

func TestAParkedCommandCountsFromItsPredecessors202(t *testing.T) {
	t.Parallel()
	w := watcher(t, "state")
	w.got(0, []byte(pushed(0, 2)+pushed(1, 2)+pushed(2, 2)), nil)
	early := item{id: newID(w.e.now, 1, 0, chained), place: 1, watched: true}
	held := item{id: newID(w.e.now, 2, 0, chained), place: 2, frees: early.id}
	w.sent([]item{early}, w.e.began)
	w.sent([]item{held}, w.e.began)
	require.Contains(t, strings.Join(w.failures(), "\n"), "1 own commands whose landing was not told, e.g. "+early.id.String())
	w.accepted([]item{held})
	w.e.now = w.e.now.Add(3 * time.Millisecond)
	view := commands.LandedView{ID: early.id, Stream: commands.Stream{Type: "document", ID: "run-0"}, Version: 1, Ticket: early.id}
	w.got(1, []byte("ignored while it is down"), nil)
	w.readers[1].up, w.readers[1].headed = true, true
	w.got(1, []byte("event: landed\ndata: "+string(view.AppendTo(nil))+"\n\n"), nil)
	require.Empty(t, w.waiting)
	require.InDelta(t, 3, latency(w.freedTold).P50, 0.01)
}

func TestARefusalToWatchIsObeyedOrTold(t *testing.T) {
	t.Parallel()
	w := watcher(t, "state")
	w.readers[0].headed = false
	w.got(0, []byte("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\n\r\n{}"), nil)
	require.NoError(t, w.e.fatal)
	require.Equal(t, w.e.now.Add(3*time.Second), w.readers[0].retryAt)
	require.Equal(t, map[int]int{503: 1}, w.refused)

	w.readers[0].up = true
	w.got(0, []byte("HTTP/1.1 404 Not Found\r\n\r\n{}"), nil)
	require.ErrorContains(t, w.e.fatal, "watching was answered 404")

	w = watcher(t, "state")
	w.readers[0].headed = false
	w.got(0, []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), nil)
	require.ErrorContains(t, w.e.fatal, "proxy")
	w = watcher(t, "state")
	w.readers[0].headed = false
	w.got(0, []byte("SSH-2.0\r\n\r\n"), nil)
	require.ErrorIs(t, w.e.fatal, errProtocol)
}

func TestTooFewOpenFilesAreNamed(t *testing.T) {
	t.Parallel()
	const noLimit = 0
	limit := openFiles()
	err := (&Config{Idle: max(limit, 1)}).Validate()
	if limit == noLimit {
		if err != nil {
			require.NotContains(t, err.Error(), "ulimit -n")
		}
		return
	}
	require.ErrorContains(t, err, "ulimit -n")
	require.ErrorContains(t, err, fmt.Sprint("the limit is ", limit))
}

func TestWatchersAreSpreadOverAllStreams(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ streams, watchers, each int }{{2000, 500, 4}, {2000, 3, 256}, {10, 100, 1}, {7, 2, 4}, {1, 1, 1}} {
		cfg := &Config{Streams: c.streams, Watchers: c.watchers}
		cfg.setDefaults()
		w := newEngine(cfg, nil, newRequest(cfg, &url.URL{}, "run")).watch
		seen := map[int]bool{}
		for i := range w.readers {
			require.Len(t, w.readers[i].versions, c.each)
			for slot := range w.readers[i].versions {
				seen[w.streamAt(&w.readers[i], slot)] = true
			}
		}
		require.Len(t, seen, min(c.streams, c.each*c.watchers))
	}
}
