package intake_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/intake"
)

var (
	errFull  = errors.New("full")
	errAway  = errors.New("away")
	errLost  = errors.New("lost")
	stream42 = commands.Stream{Type: "order", ID: "42"}
)

// surroundings are what an intake stands in, each part to be changed by a test.
type surroundings struct {
	intake.Config

	mu   sync.Mutex
	sent []commands.Envelope
}

// waiter knows what a test tells it.
type waiter struct {
	outcome  *commands.Outcome
	conflict bool
	wait     func(context.Context) (*commands.Outcome, bool, error)
	closed   int
}

func (w *waiter) Told() (*commands.Outcome, bool) { return w.outcome, w.conflict }
func (w *waiter) Close()                          { w.closed++ }
func (w *waiter) Wait(ctx context.Context) (*commands.Outcome, bool, error) {
	return w.wait(ctx)
}

func around() *surroundings {
	s := &surroundings{}
	s.Config = intake.Config{
		Allows: func(streamType string, policy commands.Policy, _ string) (bool, bool) {
			return streamType == "order", policy != commands.PolicyAny
		},
		Send: func(env *commands.Envelope, done func(error)) { s.note(env); done(nil) },
		SendAll: func(envs []*commands.Envelope, done func(int, error)) {
			for i, env := range envs {
				s.note(env)
				done(i, nil)
			}
		},
		Refusal: func(err error) commands.Reason {
			return map[error]commands.Reason{errFull: commands.RateLimited, errAway: commands.Unavailable, errLost: commands.FateUnknown}[err]
		},
		Register:   func(commands.ID, commands.Hash) (intake.Waiter, bool) { return nil, false },
		Mark:       func() uint64 { return 7 },
		Conflicted: func(uint64, commands.ID, commands.Hash) bool { return false },
		Tell: func(_ context.Context, o *commands.Outcome) (commands.CommandView, error) {
			return commands.ViewOutcome("e1", o), nil
		},
	}
	return s
}

func (s *surroundings) note(env *commands.Envelope) {
	s.mu.Lock()
	s.sent = append(s.sent, env.Clone())
	s.mu.Unlock()
}

func (s *surroundings) post(t *testing.T, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	in, err := intake.New(s.Config)
	require.NoError(t, err)
	return post(t.Context(), in, strings.NewReader(body), header...)
}

func post(ctx context.Context, in http.Handler, body io.Reader, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, "POST", "/v1/commands", body)
	r.Header.Set("Content-Type", "application/json")
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	in.ServeHTTP(w, r)
	return w
}

func command(id string) string {
	return fmt.Sprintf(`{"id":%q,"stream":"order/42","type":"add","ticket":"genesis","session":"tab","actor":"Ann","data":{"n": 1}}`, id)
}

// told is the part of a problem that the tests here look at.
type told struct {
	Code       commands.Reason `json:"code"`
	ID         string          `json:"id"`
	Stream     string          `json:"stream"`
	Instance   string          `json:"instance"`
	RetryAfter int             `json:"retry_after"`
	Status     any             `json:"status"`
}

func read[T any](t *testing.T, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &v), w.Body.String())
	return v
}

func TestTheEnvelopeHoldsTheCommandAsSent(t *testing.T) {
	t.Parallel()
	s := around()
	at := time.Date(2026, 11, 22, 9, 15, 30, 250_999, time.FixedZone("", 3600))
	s.Now = func() time.Time { return at }
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	id := commands.NewID()
	require.Equal(t, 202, s.post(t, command(id.String()), "Traceparent: "+trace).Code)

	want := commands.Seal(commands.Command{ID: id, Stream: stream42, Type: "add", Ticket: commands.Genesis,
		Session: "tab", Actor: "Ann", Data: []byte(`{"n": 1}`)}, at)
	want.TraceParent = trace
	require.Equal(t, []commands.Envelope{want}, s.sent)
	require.Equal(t, time.Date(2026, 11, 22, 8, 15, 30, 250_000, time.UTC), s.sent[0].ReceivedAt)
}

func TestATraceIsPassedOnWhenItIsValid(t *testing.T) {
	t.Parallel()
	const valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for given, want := range map[string]string{
		valid:                               valid,
		"cc" + valid[2:]:                    "cc" + valid[2:],
		"cc" + valid[2:] + "-what-comes":    "cc" + valid[2:],
		"cc" + valid[2:] + "what-comes":     "",
		valid + "-more":                     "",
		"ff" + valid[2:]:                    "",
		strings.ToUpper(valid):              "",
		valid[:54]:                          "",
		strings.Replace(valid, "-", "_", 1): "",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": "",
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01": "",
		"": "",
	} {
		s := around()
		require.Equal(t, 202, s.post(t, command(commands.NewID().String()), "Traceparent: "+given).Code)
		require.Equal(t, want, s.sent[0].TraceParent, given)
	}
	s := around()
	s.post(t, command(commands.NewID().String()), "Traceparent: "+valid, "Traceparent: "+valid)
	require.Empty(t, s.sent[0].TraceParent, "two are none")
}

// DESIGN section 3: 429 over a limit, 503 unavailable and fate_unknown, with Retry-After.
func TestWhatTheBusSaysIsTold(t *testing.T) {
	t.Parallel()
	for err, code := range map[error]commands.Reason{
		errFull: commands.RateLimited, errAway: commands.Unavailable, errLost: commands.FateUnknown,
	} {
		s := around()
		s.Send = func(_ *commands.Envelope, done func(error)) { done(err) }
		id := commands.NewID().String()
		w := s.post(t, command(id))
		require.Equal(t, code.Status(), w.Code)
		require.Regexp(t, "^[123]$", w.Header().Get("Retry-After"))
		p := read[told](t, w)
		require.Equal(t, code, p.Code)
		require.Equal(t, id, p.ID, "it is to be sent again with the same id")
		require.Equal(t, w.Header().Get("Retry-After"), fmt.Sprint(p.RetryAfter))
	}
}

func TestAServerMadeIDIsToldWithAnUnknownFate(t *testing.T) {
	t.Parallel()
	s := around()
	made := commands.NewID()
	s.NewID = func() commands.ID { return made }
	s.Send = func(_ *commands.Envelope, done func(error)) { done(errLost) }
	w := s.post(t, `{"stream":"order/42","type":"add","ticket":"genesis"}`)
	require.Equal(t, made.String(), read[told](t, w).ID)
}

func TestAnUnconfirmedCommandsFateIsUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := around()
		var late func(error)
		s.Send = func(_ *commands.Envelope, done func(error)) { late = done }
		in, err := intake.New(s.Config)
		require.NoError(t, err)
		began := time.Now()
		id := commands.NewID().String()

		w := post(t.Context(), in, strings.NewReader(command(id)))

		require.Equal(t, 503, w.Code)
		p := read[told](t, w)
		require.Equal(t, told{Code: commands.FateUnknown, ID: id, Stream: "order/42", Instance: "/v1/commands/" + id,
			RetryAfter: p.RetryAfter, Status: 503.0}, p)
		require.Equal(t, 10*time.Second, time.Since(began))

		// A confirmation that comes after all must not be taken for that of another request.
		for range 10 {
			confirm := late
			confirmed := make(chan struct{})
			go func() {
				time.Sleep(time.Second)
				confirm(nil)
				close(confirmed)
			}()
			began := time.Now()
			require.Equal(t, 503, post(t.Context(), in, strings.NewReader(command(id))).Code)
			require.Equal(t, 10*time.Second, time.Since(began))
			<-confirmed
		}
	})
}

func TestInAnArrayEachCommandHasItsOwnFate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := around()
		s.SendAll = func(_ []*commands.Envelope, done func(int, error)) {
			done(2, errAway)
			done(0, nil) // the second never hears anything
		}
		ids := []string{commands.NewID().String(), commands.NewID().String(), commands.NewID().String()}
		w := s.post(t, "["+command(ids[0])+","+command(ids[1])+","+command(ids[2])+"]")
		require.Equal(t, 202, w.Code)
		require.Regexp(t, "^[123]$", w.Header().Get("Retry-After"))
		items := read[[]told](t, w)
		require.Equal(t, "accepted", items[0].Status)
		require.Equal(t, commands.FateUnknown, items[1].Code)
		require.Equal(t, commands.Unavailable, items[2].Code)
		for i := range items {
			require.Equal(t, ids[i], items[i].ID)
		}
	})
}

// DESIGN section 3: an array is taken in array order; section 2: the first command is untouched.
func TestOfTwoCommandsWithOneIDInAnArrayTheFirstIsTaken(t *testing.T) {
	t.Parallel()
	s := around()
	sent := 0
	s.SendAll = func(envs []*commands.Envelope, done func(int, error)) {
		sent = len(envs)
		for i := range envs {
			done(i, nil)
		}
	}
	first := command(commands.NewID().String())
	second := strings.Replace(first, "order/42", "order/43", 1)
	w := s.post(t, "["+first+","+second+","+first+"]")
	items := read[[]told](t, w)
	require.Equal(t, "accepted", items[0].Status)
	require.Equal(t, commands.IDConflict, items[1].Code)
	require.Equal(t, "accepted", items[2].Status, "the same again is a repeat")
	require.Equal(t, 2, sent)
}

func TestAnArrayOfWhichNothingWasAcceptedIsRefused(t *testing.T) {
	t.Parallel()
	s := around()
	s.SendAll = func(envs []*commands.Envelope, done func(int, error)) {
		for i := range envs {
			done(i, errAway)
		}
	}
	w := s.post(t, "["+command(commands.NewID().String())+","+command(commands.NewID().String())+"]", "Prefer: wait=1")
	require.Equal(t, 503, w.Code, w.Body)
	require.Len(t, read[[]told](t, w), 2)
}

// DESIGN section 2: a conflict is answered over HTTP where it is known in time.
func TestAConflictIsToldWithoutWaitingForIt(t *testing.T) {
	t.Parallel()
	s := around()
	id := commands.NewID()
	var asked []any
	s.Conflicted = func(mark uint64, id commands.ID, hash commands.Hash) bool {
		asked = []any{mark, id, hash}
		return true
	}
	w := s.post(t, command(id.String()))
	require.Equal(t, 422, w.Code)
	require.Equal(t, commands.IDConflict, read[told](t, w).Code)
	require.Equal(t, []any{uint64(7), id, s.sent[0].Hash}, asked)

	w = s.post(t, "["+command(id.String())+"]")
	require.Equal(t, 422, w.Code)
	require.Equal(t, commands.IDConflict, read[[]told](t, w)[0].Code)
}

func TestTooManyWaitersAreAnsweredWithoutWaiting(t *testing.T) {
	t.Parallel()
	for _, body := range []string{command(commands.NewID().String()), "[" + command(commands.NewID().String()) + "]"} {
		w := around().post(t, body, "Prefer: wait=5")
		require.Equal(t, 202, w.Code)
		require.Empty(t, w.Header().Get("Preference-Applied"))
	}
}

func TestOfAnArrayAllAreWaitedForOrNone(t *testing.T) {
	t.Parallel()
	s := around()
	known := &waiter{outcome: &commands.Outcome{ID: commands.NewID(), Stream: stream42, Position: 1, Version: 1}}
	left := 1
	s.Register = func(commands.ID, commands.Hash) (intake.Waiter, bool) {
		left--
		return known, left >= 0
	}
	w := s.post(t, "["+command(commands.NewID().String())+","+command(commands.NewID().String())+"]", "Prefer: wait=5")
	require.Equal(t, 202, w.Code)
	require.Empty(t, w.Header().Get("Preference-Applied"))
	require.Equal(t, 1, known.closed)
}

func TestWaitingEndsWithThePreferenceOrTheClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := around()
		x := &waiter{wait: func(ctx context.Context) (*commands.Outcome, bool, error) {
			<-ctx.Done()
			return nil, false, ctx.Err()
		}}
		s.Register = func(commands.ID, commands.Hash) (intake.Waiter, bool) { return x, true }
		in, err := intake.New(s.Config)
		require.NoError(t, err)
		began := time.Now()
		w := post(t.Context(), in, strings.NewReader(command(commands.NewID().String())), "Prefer: wait=3")
		require.Equal(t, 202, w.Code)
		require.Equal(t, "wait=3", w.Header().Get("Preference-Applied"))
		require.Equal(t, 3*time.Second, time.Since(began))
		require.Equal(t, 1, x.closed)

		began = time.Now()
		both := "[" + command(commands.NewID().String()) + "," + command(commands.NewID().String()) + "]"
		require.Equal(t, 202, post(t.Context(), in, strings.NewReader(both), "Prefer: wait=3").Code)
		require.Equal(t, 3*time.Second, time.Since(began), "for all of an array together")

		ctx, gone := context.WithTimeout(t.Context(), time.Second)
		defer gone()
		began = time.Now()
		post(ctx, in, strings.NewReader(command(commands.NewID().String())), "Prefer: wait=30")
		require.Equal(t, time.Second, time.Since(began))
	})
}

func TestAnOutcomeThatCannotBeToldIsLeftToALaterGET(t *testing.T) {
	t.Parallel()
	s := around()
	var lines bytes.Buffer
	s.Log = slog.New(slog.NewTextHandler(&lines, nil))
	s.Register = func(commands.ID, commands.Hash) (intake.Waiter, bool) {
		return &waiter{outcome: &commands.Outcome{Reason: commands.StaleTicket}}, true
	}
	s.Tell = func(context.Context, *commands.Outcome) (commands.CommandView, error) {
		return commands.CommandView{}, errors.New("the disk is away")
	}
	id := commands.NewID().String()
	w := s.post(t, command(id), "Prefer: wait=5")
	require.Equal(t, 202, w.Code)
	require.Equal(t, "/v1/commands/"+id, w.Header().Get("Location"))
	require.Contains(t, lines.String(), "the disk is away")
	require.Contains(t, lines.String(), "command_id="+id)
}

func TestABodyThatBreaksOffIsMalformed(t *testing.T) {
	t.Parallel()
	s := around()
	in, err := intake.New(s.Config)
	require.NoError(t, err)
	for _, length := range []int64{-1, 500} {
		r := httptest.NewRequest("POST", "/v1/commands", io.MultiReader(strings.NewReader(`{"stream":`), brokenReader{}))
		r.Header.Set("Content-Type", "application/json")
		r.ContentLength = length
		w := httptest.NewRecorder()
		in.ServeHTTP(w, r)
		require.Equal(t, 400, w.Code)
		require.Equal(t, commands.Malformed, read[told](t, w).Code)
	}
	require.Empty(t, s.sent)
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestABodyTooLargeIsNotRead(t *testing.T) {
	t.Parallel()
	in, err := intake.New(around().Config)
	require.NoError(t, err)
	r := httptest.NewRequest("POST", "/v1/commands", brokenReader{})
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = 256<<10 + 1
	w := httptest.NewRecorder()
	in.ServeHTTP(w, r)
	require.Equal(t, 413, w.Code)
}

func TestRequestsDoNotMixThoughTheirStateIsPooled(t *testing.T) {
	t.Parallel()
	s := around()
	var confirmations sync.WaitGroup
	s.Send = func(env *commands.Envelope, done func(error)) {
		confirmations.Go(func() { done(map[bool]error{true: errAway}[env.Type == "fail"]) })
	}
	s.SendAll = func(envs []*commands.Envelope, done func(int, error)) {
		for i, env := range envs {
			confirmations.Go(func() { done(i, map[bool]error{true: errAway}[env.Type == "fail"]) })
		}
	}
	in, err := intake.New(s.Config)
	require.NoError(t, err)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for round := range 300 {
				n := 1 + (worker*7+round)%5
				var items []string
				want := make([]any, n)
				ids := make([]string, n)
				for i := range n {
					ids[i] = commands.NewID().String()
					kind, status := "add", any("accepted")
					if (round+i)%3 == 0 {
						kind, status = "fail", 503.0
					}
					want[i] = status
					items = append(items, fmt.Sprintf(`{"id":%q,"stream":"order/%d","type":%q,"ticket":"genesis","data":%q}`,
						ids[i], worker, kind, strings.Repeat("x", (round*i)%2000)))
				}
				body := items[0]
				if n > 1 {
					body = "[" + strings.Join(items, ",") + "]"
				}
				w := post(t.Context(), in, strings.NewReader(body))
				var got []told
				if n > 1 {
					got = read[[]told](t, w)
				} else {
					got = []told{read[told](t, w)}
				}
				for i := range n {
					if got[i].ID != ids[i] || got[i].Status != want[i] || got[i].Stream != fmt.Sprintf("order/%d", worker) {
						t.Errorf("item %d of %s is %+v", i, body, got[i])
					}
				}
			}
		})
	}
	all.Wait()
	confirmations.Wait()
}

func TestEverythingMissingIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := intake.New(intake.Config{})
	for _, name := range []string{"Allows", "Send", "SendAll", "Refusal", "Register", "Mark", "Conflicted", "Tell"} {
		require.ErrorContains(t, err, "intake: "+name+" is not given")
	}
}
