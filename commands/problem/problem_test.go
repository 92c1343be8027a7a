package problem_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

var order42 = commands.Stream{Type: "order", ID: "42"}

func id(text string) commands.ID {
	id, ok := commands.ParseID(text)
	if !ok {
		panic(text)
	}
	return id
}

var (
	someID = id("0197c3a2-7b1e-7c44-9d1f-52d4a6b0c9e1")
	rootID = id("0197c3a2-7a90-7be0-8f00-0d6b3c1a2f77")
)

func rejection() *commands.CommandView {
	return &commands.CommandView{
		ID: someID, Stream: order42, Type: "submit", Status: commands.StatusRejected,
		Position: commands.Position{Epoch: "e1", N: 9}, Version: 3, Ticket: rootID,
		Reason: commands.Refused, Refusal: "already_submitted", Detail: "It has been submitted.",
		Root: someID, RootReason: commands.Refused, State: json.RawMessage(`{"lines":1}`),
		Missed: []commands.ChangeView{{Version: 3, Position: commands.Position{Epoch: "e1", N: 8}, Type: "submitted",
			Data: json.RawMessage(`null`), Command: commands.ActorView{ID: rootID, Type: "submit", Actor: "Bo"},
			At: time.UnixMicro(1_795_335_330_000_250).UTC()}},
	}
}

// DESIGN section 2: a rejection always carries id, stream, position, reason, detail, root, root_reason.
func TestARejectionIsToldWhole(t *testing.T) {
	t.Parallel()
	require.JSONEq(t, `{"type":"/problems/refused","title":"A rule says no","status":422,`+
		`"detail":"It has been submitted.","instance":"/v1/commands/0197c3a2-7b1e-7c44-9d1f-52d4a6b0c9e1",`+
		`"code":"refused",`+
		`"id":"0197c3a2-7b1e-7c44-9d1f-52d4a6b0c9e1","stream":"order/42","position":"e1-9","version":3,`+
		`"ticket":"0197c3a2-7a90-7be0-8f00-0d6b3c1a2f77","reason":"refused","refusal":"already_submitted",`+
		`"root":"0197c3a2-7b1e-7c44-9d1f-52d4a6b0c9e1","root_reason":"refused","state":{"lines":1},`+
		`"missed":[{"version":3,"position":"e1-8","type":"submitted","data":null,`+
		`"command":{"id":"0197c3a2-7a90-7be0-8f00-0d6b3c1a2f77","type":"submit","actor":"Bo"},`+
		`"at":"2026-11-22T08:15:30.000250Z"}]}`,
		string(problem.Rejected(rejection()).AppendTo(nil)))

	bare := &commands.CommandView{ID: someID, Stream: order42, Reason: commands.StaleTicket}
	require.Contains(t, string(problem.Rejected(bare).AppendTo(nil)), `"detail":""`)
}

func problems() map[string]*problem.Problem {
	all := map[string]*problem.Problem{
		"plain":     problem.New(commands.Unavailable, ""),
		"detail":    problem.Newf(commands.UnknownType, "There is no type %q.", "ordr"),
		"rejection": problem.Rejected(rejection()),
	}
	place := problem.New(commands.Malformed, "\"id\" must be a string")
	place.Place = &problem.Place{Pointer: "/3/id", Offset: 77}
	all["place"] = place
	whole := problem.New(commands.TooLarge, "too large")
	whole.Place = &problem.Place{}
	all["whole body"] = whole
	forbidden := problem.New(commands.PolicyForbidden, "not here")
	forbidden.Allowed = []string{"ticket", "strict"}
	forbidden.ID, forbidden.Stream, forbidden.Ticket = someID, order42, commands.Genesis
	all["names"] = forbidden
	later := problem.New(commands.FateUnknown, "")
	later.RetryAfter, later.Instance = 3*time.Second, "/v1/commands/x"
	all["later"] = later
	return all
}

func TestProblemsAreReadBackAsTheyWere(t *testing.T) {
	t.Parallel()
	for name, p := range problems() {
		written, err := json.Marshal(p)
		require.NoError(t, err, name)
		require.NoError(t, commands.CheckJSON(written, 32), name)
		require.True(t, commands.EqualJSON(written, p.AppendTo(nil)), name)
		var read problem.Problem
		require.NoError(t, json.Unmarshal(written, &read), name)
		if p.Rejection != nil {
			p.Rejection.Type = "" // a problem's type is another thing
		}
		require.Equal(t, *p, read, name)
	}
}

// RFC 9457 section 3.1.1: a problem without a type is about:blank; section 3.2: unknown members are
// ignored.
func TestForeignProblemsCanBeRead(t *testing.T) {
	t.Parallel()
	var p problem.Problem
	require.NoError(t, json.Unmarshal([]byte(`{"title":"Bad Gateway","status":502,"balance":30}`), &p))
	require.Equal(t, problem.Problem{Type: "about:blank", Title: "Bad Gateway", Status: 502}, p)
	require.EqualError(t, &p, "502: Bad Gateway")
	require.ErrorContains(t, json.Unmarshal([]byte(`{"status":"many"}`), &p), "read problem")
}

func TestEveryErrorHasAProblem(t *testing.T) {
	t.Parallel()
	_, err := commands.Decode([]byte(`{"stream":"order/42","type":7}`))
	p := problem.From(fmt.Errorf("decode: %w", err))
	require.Equal(t, commands.Malformed, p.Code)
	require.Equal(t, http.StatusBadRequest, p.Status)
	require.Equal(t, &problem.Place{Pointer: "/type", Offset: 28}, p.Place)
	require.EqualError(t, p, `malformed: "type" must be a string, not a number ("/type", at byte 28)`)

	require.Same(t, p, problem.From(fmt.Errorf("again: %w", p)))

	hidden := problem.From(errors.New("password=hunter2"))
	require.Equal(t, commands.Internal, hidden.Code)
	require.NotContains(t, string(hidden.AppendTo(nil)), "hunter2")
	require.EqualError(t, hidden, "internal: Something broke here")
}

func TestWriteSetsTheHeaders(t *testing.T) {
	t.Parallel()
	p := problem.New(commands.Unavailable, "")
	p.RetryAfter = 1500 * time.Millisecond
	w := httptest.NewRecorder()
	problem.Write(w, p)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Equal(t, "2", w.Header().Get("Retry-After"), "RFC 9110 section 10.2.3: whole seconds, never too early")
	require.Contains(t, w.Body.String(), `"retry_after":2`)

	w = httptest.NewRecorder()
	p = problem.New(commands.MethodNotAllowed, "")
	p.Allowed = []string{"GET", "POST"}
	problem.Write(w, p)
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
	require.Equal(t, "GET, POST", w.Header().Get("Allow"), "RFC 9110 section 15.5.6")
	require.Empty(t, w.Header().Get("Retry-After"))
}

func TestATypeLeadsToItsExplanation(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /problems/{code}", problem.Explain)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, problem.New(commands.StaleTicket, "").Type, nil))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "stale_ticket\n\nSomebody changed this first.\nAnswered with HTTP status 409 (Conflict).\n",
		w.Body.String())

	w = httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/problems/nonsense", nil))
	require.Equal(t, http.StatusNotFound, w.Code)
}

func ExampleWrite() {
	w := httptest.NewRecorder()
	p := problem.New(commands.TicketRequired, "")
	p.ID, p.Stream = someID, order42
	problem.Write(w, p)
	fmt.Println(w.Code)
	fmt.Println(strings.ReplaceAll(w.Body.String(), `,"`, ",\n\""))
	// Output:
	// 428
	// {"type":"/problems/ticket_required",
	// "title":"A ticket is required",
	// "status":428,
	// "code":"ticket_required",
	// "id":"0197c3a2-7b1e-7c44-9d1f-52d4a6b0c9e1",
	// "stream":"order/42"}
}

func ExampleFrom() {
	_, err := commands.Decode([]byte(`{"stream":"order"}`))
	p := problem.From(err)
	fmt.Println(p.Status, p.Code, p.Place.Pointer, p.Place.Offset)
	// Output: 400 malformed /stream 10
}
