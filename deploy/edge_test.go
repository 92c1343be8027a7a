package deploy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands/problem"
)

// anEdge is an edge with routes of the test's own.
func anEdge(origins ...string) *edge {
	e := &edge{routes: http.NewServeMux(), requests: &newMetrics().requests, cors: newCORS(origins),
		log: slog.New(slog.DiscardHandler)}
	e.routes.HandleFunc(anyRoute, noRoute(e.routes))
	return e
}

func (e *edge) ask(method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, http.NoBody)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

// The protocol of https://fetch.spec.whatwg.org/#http-cors-protocol.
func TestPagesOfOtherOrigins(t *testing.T) {
	t.Parallel()
	const app, other = "https://app.example.org", "https://other.example.org"
	preflight := func(e *edge, origin string) *httptest.ResponseRecorder {
		return e.ask("OPTIONS", "/v1/x", "Origin", origin, "Access-Control-Request-Method", "POST",
			"Access-Control-Request-Headers", "content-type, if-match")
	}
	serve := func(e *edge) *edge {
		e.routes.HandleFunc("GET /v1/x", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")) })
		return e
	}
	t.Run("may call when they are named", func(t *testing.T) {
		t.Parallel()
		e := serve(anEdge(app))
		w := e.ask("GET", "/v1/x", "Origin", app)
		require.Equal(t, "x", w.Body.String())
		require.Equal(t, app, w.Header().Get("Access-Control-Allow-Origin"))
		require.Equal(t, "Location, ETag, Retry-After, Preference-Applied", w.Header().Get("Access-Control-Expose-Headers"))
		require.Equal(t, "Origin", w.Header().Get("Vary"))
		w = preflight(e, app)
		require.Equal(t, http.StatusNoContent, w.Code)
		require.Equal(t, app, w.Header().Get("Access-Control-Allow-Origin"))
		require.Contains(t, w.Header().Get("Access-Control-Allow-Methods"), "POST")
		for _, name := range []string{"Authorization", "Content-Type", "Prefer", "Idempotency-Key", "If-Match", "If-None-Match"} {
			require.Contains(t, w.Header().Get("Access-Control-Allow-Headers"), name)
		}
		require.Empty(t, w.Body.String())
	})
	t.Run("see refusals too", func(t *testing.T) {
		t.Parallel()
		w := serve(anEdge(app)).ask("GET", "/nowhere", "Origin", app)
		require.Equal(t, http.StatusNotFound, w.Code)
		require.Equal(t, app, w.Header().Get("Access-Control-Allow-Origin"))
	})
	t.Run("may not when others are", func(t *testing.T) {
		t.Parallel()
		e := serve(anEdge(app))
		w := e.ask("GET", "/v1/x", "Origin", other)
		require.Empty(t, w.Header().Get("Access-Control-Allow-Origin"))
		require.Equal(t, "Origin", w.Header().Get("Vary"), "a cache must not mix them up")
		w = preflight(e, other)
		require.Empty(t, w.Header().Get("Access-Control-Allow-Origin"))
		require.Equal(t, http.StatusMethodNotAllowed, w.Code)
	})
	t.Run("may all when all may", func(t *testing.T) {
		t.Parallel()
		w := serve(anEdge("*")).ask("GET", "/v1/x", "Origin", other)
		require.Equal(t, "*", w.Header().Get("Access-Control-Allow-Origin"))
		require.Empty(t, w.Header().Get("Vary"))
	})
	t.Run("may not by default", func(t *testing.T) {
		t.Parallel()
		w := serve(anEdge()).ask("GET", "/v1/x", "Origin", app)
		require.Equal(t, "x", w.Body.String())
		require.Empty(t, w.Header().Get("Access-Control-Allow-Origin"))
		require.Equal(t, http.StatusMethodNotAllowed, preflight(serve(anEdge()), app).Code)
	})
	t.Run("are none of programs", func(t *testing.T) {
		t.Parallel()
		w := serve(anEdge(app)).ask("GET", "/v1/x")
		require.Empty(t, w.Header().Get("Access-Control-Allow-Origin"))
		require.Equal(t, "Origin", w.Header().Get("Vary"))
	})
}

func TestAPanicIsAProblem(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	e := anEdge()
	e.log = slog.New(slog.NewTextHandler(&out, nil))
	e.routes.HandleFunc("GET /before", func(http.ResponseWriter, *http.Request) { panic("secret cause") })
	e.routes.HandleFunc("GET /during", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("half"))
		panic(errors.New("secret cause"))
	})
	e.routes.HandleFunc("GET /abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })

	w := e.ask("GET", "/before")
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Equal(t, problem.ContentType, w.Header().Get("Content-Type"))
	require.Contains(t, w.Body.String(), `"code":"internal"`)
	require.NotContains(t, w.Body.String(), "secret")
	require.Contains(t, out.String(), "secret cause")
	require.Contains(t, out.String(), "edge_test.go", "the stack")

	out.Reset()
	require.PanicsWithError(t, http.ErrAbortHandler.Error(), func() { e.ask("GET", "/during") })
	require.Contains(t, out.String(), "secret cause")
	out.Reset()
	require.PanicsWithError(t, http.ErrAbortHandler.Error(), func() { e.ask("GET", "/abort") })
	require.Empty(t, out.String(), "breaking off on purpose is no news")
}

func TestWhatNoRouteTakesIsAProblem(t *testing.T) {
	t.Parallel()
	e := anEdge()
	e.routes.HandleFunc("GET /v1/things/{id}", func(http.ResponseWriter, *http.Request) {})
	e.routes.HandleFunc("POST /v1/things/{id}", func(http.ResponseWriter, *http.Request) {})
	w := e.ask("DELETE", "/v1/things/7")
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
	require.Equal(t, "GET, HEAD, POST", w.Header().Get("Allow"))
	require.Contains(t, w.Body.String(), `"allowed":["GET","HEAD","POST"]`)
	w = e.ask("GET", "/v1/thing/7")
	require.Equal(t, http.StatusNotFound, w.Code)
	require.Contains(t, w.Body.String(), `"code":"not_found"`)
	w = e.ask("GET", "/"+strings.Repeat("x", 5000))
	require.Less(t, w.Body.Len(), 1000)
	require.Equal(t, http.StatusOK, e.ask("HEAD", "/v1/things/7").Code)
}

func TestAnswersReachWhatIsUnderneath(t *testing.T) {
	t.Parallel()
	e := anEdge()
	e.routes.HandleFunc("GET /flush", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		if err := http.NewResponseController(w).Flush(); err != nil {
			panic(err)
		}
	})
	w := e.ask("GET", "/flush")
	require.True(t, w.Flushed)
}

// served runs an edge on a port and gives its address.
func served(t *testing.T, e *edge) string {
	t.Helper()
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestABodyMustComeInTime(t *testing.T) {
	t.Parallel()
	e := anEdge()
	e.bodyTimeout = 20 * time.Millisecond
	read := make(chan error, 1)
	e.routes.HandleFunc("POST /slow", func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		read <- err
		w.WriteHeader(http.StatusBadRequest)
	})
	connection, err := new(net.Dialer).DialContext(t.Context(), "tcp", served(t, e))
	require.NoError(t, err)
	defer connection.Close()
	_, err = io.WriteString(connection, "POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nfive!")
	require.NoError(t, err)
	require.ErrorContains(t, <-read, "i/o timeout")
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, response.StatusCode)
	require.NoError(t, response.Body.Close())
}

// A reader who does not read must not keep a connection, and what it was to be told in memory, for ever.
func TestAnAnswerMustBeReadInTime(t *testing.T) {
	t.Parallel()
	e := anEdge()
	e.pieces = pieceTime{atLeast: 20 * time.Millisecond, rate: 1 << 40}
	wrote := make(chan error, 1)
	e.routes.HandleFunc("GET /large", func(w http.ResponseWriter, _ *http.Request) {
		_, err := w.Write(make([]byte, 64<<20)) // more than any system keeps for a reader that does not read
		wrote <- err
	})
	address := served(t, e)
	connection, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	defer connection.Close()
	_, err = io.WriteString(connection, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	require.ErrorContains(t, <-wrote, "i/o timeout")
	_, err = io.Copy(io.Discard, connection)
	require.NoError(t, err, "the connection ends")
}

func TestAnAnswerMayTakeLongerThanABodyMay(t *testing.T) {
	t.Parallel()
	e := anEdge()
	e.bodyTimeout = 20 * time.Millisecond
	e.routes.HandleFunc("POST /wait", func(w http.ResponseWriter, r *http.Request) {
		// As much as was announced is read, and no more, as one does who knows the length.
		if _, err := io.ReadFull(r.Body, make([]byte, r.ContentLength)); err != nil {
			panic(err)
		}
		long, cancel := context.WithTimeout(r.Context(), 10*e.bodyTimeout)
		defer cancel()
		<-long.Done()
		if r.Context().Err() != nil {
			panic("the connection was given up")
		}
		w.WriteHeader(http.StatusAccepted)
	})
	address := served(t, e)
	connection, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	defer connection.Close()
	answers := bufio.NewReader(connection)
	for range 2 { // also on a connection that was used before
		_, err = io.WriteString(connection, "POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nfive!")
		require.NoError(t, err)
		response, err := http.ReadResponse(answers, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusAccepted, response.StatusCode)
		require.NoError(t, response.Body.Close())
	}
}

func TestReadinessNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	var h health
	routes := http.NewServeMux()
	h.routes(routes)
	ask := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		routes.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", http.NoBody))
		return w
	}
	w := ask()
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, problem.ContentType, w.Header().Get("Content-Type"))
	require.Contains(t, w.Body.String(), `"missing":[{"part":"program","detail":"it is starting"}]}`)

	broken := errors.New("connection refused")
	h.checks = []check{
		{"store", func(context.Context) error { return broken }},
		{"bus", func(context.Context) error { return nil }},
		{"worker", func(context.Context) error { return errors.New("it holds no lanes") }},
	}
	h.enter(stageServing)
	w = ask()
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "1", w.Header().Get("Retry-After"))
	require.JSONEq(t, `{"type":"/problems/unavailable","title":"Nothing was accepted; try again","status":503,
		"detail":"store: connection refused","code":"unavailable","retry_after":1,
		"missing":[{"part":"store","detail":"connection refused"},{"part":"worker","detail":"it holds no lanes"}]}`,
		w.Body.String())

	h.checks = nil
	require.Equal(t, http.StatusOK, ask().Code)
	h.enter(stageStopping)
	require.Contains(t, ask().Body.String(), "it is stopping")
}

// net/http would answer these with a redirect, which says nothing to a client of this API.
func TestAPathThatIsNoAddressIsNowhere(t *testing.T) {
	t.Parallel()
	e := anEdge()
	e.routes.HandleFunc("POST /v1/commands", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202) })
	e.routes.HandleFunc("GET /v1/streams/{type}/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) })
	for _, path := range []string{"//v1/commands", "/v1//commands", "/v1/./commands", "/v1/x/../commands", "/v1/commands//", "/v1/..", "/."} {
		w := e.ask("POST", path)
		require.Equal(t, http.StatusNotFound, w.Code, path)
		require.Equal(t, problem.ContentType, w.Header().Get("Content-Type"))
		require.Contains(t, w.Body.String(), `"code":"not_found"`)
	}
	require.Equal(t, 202, e.ask("POST", "/v1/commands").Code)
	require.Equal(t, 404, e.ask("POST", "/v1/commands/").Code)
	require.Equal(t, 200, e.ask("GET", "/v1/streams/order/..a%2F%2F").Code, "what is escaped is part of a name")
}

// A slow body must not be told that it was malformed: RFC 9110 section 15.5.9.
func TestASlowBodyOfCommandsIsTimedOut(t *testing.T) {
	t.Parallel()
	c := local(t)
	c.HTTPReadBodyTimeout = 20 * time.Millisecond
	p, _ := start(t, c)
	connection, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.public.Addr().String())
	require.NoError(t, err)
	defer connection.Close()
	_, err = io.WriteString(connection, "POST /v1/commands HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{")
	require.NoError(t, err)
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusRequestTimeout, response.StatusCode)
	require.True(t, response.Close)
	require.Contains(t, string(body), `"status":408,"detail":"the body did not come to its end in time","code":"malformed"`)
}

func BenchmarkEdge(b *testing.B) {
	e := anEdge()
	e.bodyTimeout = time.Minute
	e.routes.HandleFunc("POST /v1/commands", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202) })
	r := httptest.NewRequest("POST", "/v1/commands", strings.NewReader("{}"))
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		e.ServeHTTP(w, r)
	}
}

func TestOneConnectionTooManyIsToldSo(t *testing.T) {
	t.Parallel()
	c := local(t)
	c.HTTPMaxConnections = 2
	p, _ := start(t, c)
	dial := func() (net.Conn, *bufio.Reader) {
		connection, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.public.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = connection.Close() })
		return connection, bufio.NewReader(connection)
	}
	live := func(connection net.Conn, answers *bufio.Reader) int {
		_, err := io.WriteString(connection, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		response, err := http.ReadResponse(answers, nil)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode
	}
	first, firstAnswers := dial()
	require.Equal(t, http.StatusOK, live(first, firstAnswers))
	second, secondAnswers := dial()
	require.Equal(t, http.StatusOK, live(second, secondAnswers))

	_, thirdAnswers := dial()
	response, err := http.ReadResponse(thirdAnswers, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.Equal(t, "1", response.Header.Get("Retry-After"))
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Contains(t, string(body), "there are too many connections")

	require.NoError(t, first.Close())
	require.Eventually(t, func() bool { return p.public.connections.count() == 1 }, time.Minute, time.Millisecond)
	fourth, fourthAnswers := dial()
	require.Equal(t, http.StatusOK, live(fourth, fourthAnswers))
}
