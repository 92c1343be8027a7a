package query_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// coded is tally with code of the test's own for folding an event.
func coded(x *setting, code func()) {
	t := aggregate.Define[interface{ event() }]("tally", luck(0), aggregate.Settings{})
	aggregate.Handle(t, "add", func(luck, struct{}) ([]interface{ event() }, error) { return nil, nil })
	aggregate.On(t, "added", func(n luck, _ added) luck {
		code()
		return n + 1
	})
	built := t.MustBuild()
	x.Type = func(name string) (aggregate.Type, bool) { return built, name == "tally" }
}

// DESIGN section 5, promise 12: every loop is bounded, so is the code of a type that does not end.
func TestCodeThatDoesNotEndIsLeftBehindAndThenRunNoMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.fill(7, 4)
		x := over(s)
		end := make(chan struct{})
		coded(x, func() { <-end })
		mux := x.mux(t)
		get := func(path string) (*httptest.ResponseRecorder, time.Duration) {
			began := time.Now()
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			return w, time.Since(began)
		}
		for _, path := range []string{"/v1/streams/tally/42", "/v1/streams/tally/42?version=6"} {
			for range 2 {
				w, took := get(path)
				require.Equal(t, 500, w.Code)
				require.Contains(t, w.Body.String(), `"detail":"the code of the type tally did not end within 2s","code":"failed"`)
				require.GreaterOrEqual(t, took, 2*time.Second)
				require.LessOrEqual(t, took, 3*time.Second)
			}
		}
		require.Equal(t, 4, strings.Count(x.lines.String(), "level=ERROR"))
		w, took := get("/v1/streams/tally/42")
		require.Equal(t, 503, w.Code)
		require.Contains(t, w.Body.String(), `"code":"unavailable"`)
		require.Regexp(t, "^[123]$", w.Header().Get("Retry-After"))
		require.Zero(t, took, "at once")
		require.Equal(t, 4, strings.Count(x.lines.String(), "level=ERROR"), "it was told of before")
		w, _ = get("/v1/streams/tally/42/events")
		require.Equal(t, 200, w.Code, "what needs no code of the type goes on")

		close(end)
		synctest.Wait()
		w, _ = get("/v1/streams/tally/42")
		require.Equal(t, 200, w.Code, "they have ended")
	})
}

// What has to be folded may be long, as after a crash; that its code does not end is told of one event.
func TestAHistoryMayTakeLongerThanOneEventMay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.fill(7, 2)
		x := over(s)
		coded(x, func() { <-time.After(1500 * time.Millisecond) })
		w := x.get(t, "/v1/streams/tally/42")
		require.Equal(t, 200, w.Code, w.Body)
	})
}

// However many ask before the first was given up, no more than a bound of them run.
func TestCodeThatDoesNotEndIsRunABoundedNumberOfTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.fill(7, 4)
		x := over(s)
		end := make(chan struct{})
		var running atomic.Int64
		coded(x, func() {
			running.Add(1)
			<-end
		})
		mux := x.mux(t)
		var all sync.WaitGroup
		codes := make(chan int, 100)
		for range 100 {
			all.Go(func() {
				w := httptest.NewRecorder()
				mux.ServeHTTP(w, httptest.NewRequest("GET", "/v1/streams/tally/42", nil))
				codes <- w.Code
			})
		}
		all.Wait()
		require.EqualValues(t, 16, running.Load())
		close(codes)
		count := map[int]int{}
		for code := range codes {
			count[code]++
		}
		require.Equal(t, map[int]int{500: 16, 503: 84}, count)
		close(end)
	})
}

func TestCodeThatEndsItsGoroutineIsAnError(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.fill(7, 4)
	x := over(s)
	coded(x, runtime.Goexit)
	require.Equal(t, 500, x.get(t, "/v1/streams/tally/42").Code)
	require.Contains(t, x.lines.String(), "ended its goroutine")
}

func TestARejectionIsToldThoughTheCodeDoesNotEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		record := s.fill(7, 4)
		x := over(s)
		end := make(chan struct{})
		coded(x, func() { <-end })
		view, err := x.query(t).Tell(t.Context(), stale(commands.Genesis))
		require.NoError(t, err)
		require.Nil(t, view.State)
		require.Equal(t, record.Head.Action, view.Ticket)
		close(end)
	})
}

// DESIGN section 3: cacheable, and RFC 9111 section 5.2.2.4; a restored log has another epoch.
func TestAPageOfTheChangelogIsAskedAboutByItsHistory(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.fill(5, 5)
	x := over(s)
	const full, rest = "/v1/streams/tally/42/events?after=1&limit=2", "/v1/streams/tally/42/events?after=3&limit=9"
	for path, tag := range map[string]string{full: `"e1-1-3"`, rest: `"e1-3-5"`} {
		w := x.get(t, path)
		require.Equal(t, 200, w.Code)
		require.Equal(t, tag, w.Header().Get("ETag"))
		require.Equal(t, "no-cache", w.Header().Get("Cache-Control"))
		s.err, s.headErr = fmt.Errorf("the page is not read"), false
		w = x.get(t, path, "If-None-Match: "+tag)
		require.Equal(t, 304, w.Code)
		require.Equal(t, "no-cache", w.Header().Get("Cache-Control"))
		s.err, s.headErr = nil, true
	}
	x.Epoch = "e2"
	w := x.get(t, full, `If-None-Match: "e1-1-3"`)
	require.Equal(t, 200, w.Code, "what was kept is of another history")
	require.Contains(t, w.Body.String(), `"position":"e2-2"`)
}

func TestWhatIsAnnouncedOrNobodysIsNoError(t *testing.T) {
	t.Parallel()
	require.True(t, errorsAreTold(t, fmt.Errorf("row 7 is no outcome"), false))
	require.False(t, errorsAreTold(t, context.Canceled, true))
	require.False(t, errorsAreTold(t, problem.New(commands.Unavailable, "away"), false))
}

func errorsAreTold(t *testing.T, err error, gone bool) bool {
	t.Helper()
	s := newShelf()
	s.err = err
	x := over(s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if gone {
		cancel()
	}
	x.mux(t).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/v1/streams/tally/42", nil))
	return strings.Contains(x.lines.String(), "level=ERROR")
}
