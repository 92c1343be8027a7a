package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/projections/admin"
)

var errFull = errors.New("full")

// world is what an API stands in, each part to be changed by a test. It waits for nothing: what becomes of a
// command is known once its time is over.
type world struct {
	admin.Config
	*shelf
	sent  []commands.Envelope
	later func() // happens while somebody waits
}

func around() *world {
	w := &world{shelf: &shelf{statuses: map[commands.ID]store.CommandStatus{}}}
	w.Config = admin.Config{
		Store: w.shelf, Epoch: "e1", Now: func() time.Time { return noon }, Within: time.Millisecond,
		Send:     func(env *commands.Envelope, done func(error)) { w.sent = append(w.sent, env.Clone()); done(nil) },
		Refusal:  func(err error) commands.Reason { return map[error]commands.Reason{errFull: commands.RateLimited}[err] },
		Register: func(commands.ID) (admin.Waiter, bool) { return w, true },
		Tell: func(_ context.Context, o *commands.Outcome) (commands.CommandView, error) {
			return commands.ViewOutcome("e1", o), nil
		},
	}
	return w
}

// Wait is admin.Waiter's.
func (w *world) Wait(ctx context.Context) (*commands.Outcome, bool, error) {
	<-ctx.Done()
	if w.later != nil {
		w.later()
	}
	return nil, false, ctx.Err()
}

// Close is admin.Waiter's.
func (*world) Close() {}

// told is what the tests look at in an answer.
type told struct {
	Code    commands.Reason
	Status  any
	Reason  commands.Reason
	Detail  string
	Pointer string
	Offset  int
	ID      string
	status  int
	text    string
	header  http.Header
}

func (w *world) ask(t *testing.T, method, path, body string, header ...string) told {
	t.Helper()
	api, err := admin.New(w.Config)
	require.NoError(t, err)
	mux := http.NewServeMux()
	api.Mount(mux)
	r := httptest.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:8081/admin/v1/"+path, strings.NewReader(body))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		if r.Header.Set(name, value); name == "Host" {
			r.Host = value
		}
	}
	recorder := httptest.NewRecorder()
	mux.ServeHTTP(recorder, r)
	got := told{status: recorder.Code, text: recorder.Body.String(), header: recorder.Header()}
	require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &got), got.text)
	return got
}

const decided = `{"by":"Olga","why":"a mistake"}`

func TestWhatIsMissingIsToldAtOnce(t *testing.T) {
	t.Parallel()
	_, err := admin.New(admin.Config{})
	for _, part := range []string{"Store", "Epoch", "Send", "Refusal", "Register", "Tell"} {
		require.ErrorContains(t, err, "admin: "+part+" is not given")
	}
}

// What an operator sends is kept and told to others: it is held to what such texts may be, and the place of what is
// wrong is told.
func TestTheBodyOfADecisionIsStrict(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		body, pointer string
		offset        int
		detail        string
	}{
		"nothing":               {``, "", 0, "the text ends"},
		"no object":             {`[]`, "", 0, "the body must be an object with by, why"},
		"nobody":                {`{"why":"a"}`, "", 0, `the body must say "by"`},
		"no reason":             {`{"by":"Olga"}`, "", 0, `the body must say "why"`},
		"an empty reason":       {`{"by":"Olga","why":" "}`, "", 0, `the body must say "why"`},
		"another member":        {`{"by":"Olga", "who/m" : 1,"why":"a"}`, "/who~1m", 14, "there is no member of this name here; by, why are taken"},
		"in capitals":           {`{"By":"Olga","why":"a"}`, "/By", 1, "there is no member of this name here"},
		"twice":                 {`{"by":"Olga","by":"Ben","why":"a"}`, "/by", 13, "a name is given twice"},
		"not a string":          {`{"by":"Olga","why" : null}`, "/why", 21, `"why" must be a string`},
		"several lines":         {`{"by":"Olga","why":"a\nb"}`, "/why", 19, `"why" must not hold control characters`},
		"a control character":   {`{"by":"\u0000","why":"a"}`, "/by", 6, `"by" must not hold control characters`},
		"a long name":           {`{"by":"` + strings.Repeat("ö", 257) + `","why":"a"}`, "/by", 6, `"by" must be 256 characters at most`},
		"a novel":               {`{"by":"Olga","why":"` + strings.Repeat("a", 1001) + `"}`, "/why", 19, `"why" must be 1000 characters at most`},
		"half a character":      {`{"by":"\ud800","why":"a"}`, "/by", 7, "surrogate"},
		"what follows":          {decided + `{}`, "", len(decided), "something follows"},
		"a ticket for nothing":  {`{"by":"Olga","why":"a","ticket":"genesis"}`, "/ticket", 23, "there is no member of this name here"},
		"nested without an end": {strings.Repeat("[", 9), "/0/0/0/0/0/0/0/0", 8, "nested deeper than 8"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := around()
			id := commands.NewID()
			w.park(id, commands.NewID(), stream42)
			got := w.ask(t, "POST", "parked/"+id.String()+"/reject", test.body)
			require.Equal(t, 400, got.status, got.text)
			require.Equal(t, commands.Malformed, got.Code)
			require.Contains(t, got.Detail, test.detail)
			require.Equal(t, test.pointer, got.Pointer)
			require.Equal(t, test.offset, got.Offset)
			require.Empty(t, w.sent)
		})
	}
	w := around()
	got := w.ask(t, "POST", "parked/"+commands.NewID().String()+"/reject", `{"by":"`+strings.Repeat("a", 32<<10)+`"}`)
	require.Equal(t, 413, got.status)
	got = w.ask(t, "POST", "parked/"+commands.NewID().String()+"/reject?by=Olga", decided)
	require.Equal(t, 400, got.status)
	got = w.ask(t, "POST", "parked/42/reject", decided)
	require.Equal(t, 400, got.status)
	require.Contains(t, got.Detail, "UUID")
	longest := `{"by":"` + strings.Repeat(`\ud83d\ude00`, 256) + `","why":"` + strings.Repeat(`\ud83d\ude00`, 1000) + `"}`
	id := commands.NewID()
	w.settle(commands.Outcome{ID: id, Reason: commands.RejectedByOperator})
	require.Equal(t, 200, w.ask(t, "POST", "parked/"+id.String()+"/reject", longest).status)
}

// Only names that no page of the web can have are answered, and what is configured.
func TestTheHostIsOneOfOurs(t *testing.T) {
	t.Parallel()
	w := around()
	w.Hosts = []string{"doorman.example.org"}
	for host, status := range map[string]int{
		"127.0.0.1:8081": 404, "127.0.0.1": 404, "10.1.2.3:80": 404, "[::1]:8081": 404, "[::1]": 404, "localhost:1": 404, "LOCALHOST": 404,
		"a.localhost": 404, "gateway:8081": 404, "doorman.example.org": 404, "doorman.example.org:8081": 404, "Doorman.Example.org.": 404,
		"evil.example": 403, "example.org": 403, "127.0.0.1.evil.example": 403, "evil.example:8081": 403, "doorman.example.org.evil.example": 403,
		"x.doorman.example.org": 403, "localhost.evil.example": 403,
	} {
		got := w.ask(t, "POST", "parked/"+commands.NewID().String()+"/reject", decided, "Host: "+host)
		require.Equal(t, status, got.status, host)
	}
}

func TestOnlyJSONIsToldOfCommands(t *testing.T) {
	t.Parallel()
	w := around()
	require.Equal(t, 406, w.ask(t, "POST", "parked/"+commands.NewID().String()+"/reject", decided, "Accept: text/html").status)
	got := w.ask(t, "POST", "parked/"+commands.NewID().String()+"/reject", decided)
	require.Equal(t, "no-store", got.header.Get("Cache-Control"))
}

// What the bus has confirmed was sent, also when the time is over by then.
func TestAnOrderThatIsConfirmedAsItsTimeEndsWasSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := around()
		w.Refusal = func(error) commands.Reason { return commands.FateUnknown }
		w.Send = func(_ *commands.Envelope, done func(error)) {
			time.Sleep(w.Within)
			done(nil)
		}
		id := commands.NewID()
		w.park(id, commands.NewID(), stream42)
		for range 30 { // whoever is ready first is looked at first, by chance
			require.Equal(t, 202, w.ask(t, "POST", "parked/"+id.String()+"/reject", decided).status)
		}
	})
}

// What becomes of an order is told when it is known in time, and never guessed.
func TestTheOutcomeOfAnOrderIsTold(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*world, commands.ID)
		status int
		code   commands.Reason
		detail string
		sent   int
		took   time.Duration
	}{
		"it waits still": {func(*world, commands.ID) {}, 202, "", "", 1, 10 * time.Second},
		"it was found in the end": {func(w *world, id commands.ID) {
			w.later = func() { w.settle(commands.Outcome{ID: id, Reason: commands.RejectedByOperator, Root: id}) }
		}, 200, "", "", 1, 10 * time.Second},
		"it landed meanwhile": {func(w *world, id commands.ID) {
			w.later = func() { w.settle(commands.Outcome{ID: id, Position: 7}) }
		}, 409, commands.NotParked, "it landed, at position e1-7", 1, 10 * time.Second},
		"it has expired": {func(w *world, id commands.ID) {
			w.settle(commands.Outcome{ID: id, Position: 7, Reason: commands.PredecessorMissing})
		}, 409, commands.NotParked, "it was rejected: predecessor_missing, at position e1-7", 0, 0},
		"it is rejected by somebody": {func(w *world, id commands.ID) {
			w.settle(commands.Outcome{ID: id, Position: 7, Reason: commands.RejectedByOperator})
		}, 200, "", "", 0, 0},
		"the bus is full": {func(w *world, _ commands.ID) {
			w.Send = func(_ *commands.Envelope, done func(error)) { done(errFull) }
		}, 429, commands.RateLimited, "full", 0, 0},
		"the bus does not answer": {func(w *world, _ commands.ID) {
			w.Send = func(*commands.Envelope, func(error)) {}
			w.Refusal = func(error) commands.Reason { return commands.FateUnknown }
		}, 503, commands.FateUnknown, "has not confirmed it in time", 0, 10 * time.Second},
		"the store does not": {func(w *world, _ commands.ID) { w.fails = store.ErrUnavailable }, 503, commands.Unavailable, "the store", 0, 0},
		"the store breaks":   {func(w *world, _ commands.ID) { w.fails = errors.New("a secret of the store") }, 500, commands.Internal, "", 0, 0},
		"too many wait": {func(w *world, _ commands.ID) {
			w.Register = func(commands.ID) (admin.Waiter, bool) { return nil, false }
		}, 429, commands.RateLimited, "too many wait", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := around()
				w.Within = 0 // 10 s
				id := commands.NewID()
				w.park(id, commands.NewID(), stream42)
				test.change(w, id)
				began := time.Now()
				got := w.ask(t, "POST", "parked/"+id.String()+"/reject", decided)
				require.Equal(t, test.status, got.status, got.text)
				require.Equal(t, test.code, got.Code)
				require.Contains(t, got.Detail, test.detail)
				require.Len(t, w.sent, test.sent)
				require.Equal(t, test.took, time.Since(began))
				require.NotContains(t, got.text, "secret")
				switch test.status {
				case 202:
					require.Equal(t, "parked", got.Status)
				case 429, 503:
					require.NotEmpty(t, got.header.Get("Retry-After"))
				}
				for _, order := range w.sent {
					detail, err := order.OrderDetail()
					require.NoError(t, err)
					require.Equal(t, "rejected by Olga: a mistake", detail)
					require.Equal(t, id, order.Ticket)
				}
			})
		})
	}
}
