package intake_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/intake"
)

func TestRequestsUnderWayAreBoundedByTheirMemory(t *testing.T) {
	t.Parallel()
	s := around()
	s.MemoryInFlight = 300 << 10
	entered, leave := make(chan struct{}), make(chan struct{})
	s.Send = func(_ *commands.Envelope, done func(error)) {
		go func() {
			entered <- struct{}{}
			<-leave
			done(nil)
		}()
	}
	in, err := intake.New(s.Config)
	require.NoError(t, err)
	var all sync.WaitGroup
	long := func() io.Reader {
		return strings.NewReader(strings.Replace(command(commands.NewID().String()), `{"n": 1}`, `"`+strings.Repeat("x", 200<<10)+`"`, 1))
	}
	all.Go(func() { post(t.Context(), in, long()) })
	<-entered

	for _, body := range []io.Reader{long(), io.MultiReader(long())} { // the second does not say how long it is
		w := post(t.Context(), in, body)
		require.Equal(t, 429, w.Code)
		require.Equal(t, commands.RateLimited, read[told](t, w).Code)
		require.Regexp(t, "^[123]$", w.Header().Get("Retry-After"))
	}
	all.Go(func() { post(t.Context(), in, strings.NewReader(command(commands.NewID().String()))) })
	<-entered // a short one still fits

	close(leave)
	all.Wait()
	go func() { <-entered }()
	require.Equal(t, 202, post(t.Context(), in, long()).Code)
}

// DESIGN section 5, promise 12: what is announced and does not come must not use the bound up.
func TestABodyThatDoesNotComeHoldsLittleMemory(t *testing.T) {
	t.Parallel()
	s := around()
	s.MemoryInFlight = 1 << 20
	in, err := intake.New(s.Config)
	require.NoError(t, err)
	const idle = 100 // of 256 KiB each, were they to come
	reading, leave := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	for n := range idle {
		length := int64(-1)
		if n%2 == 0 {
			length = 256 << 10
		}
		all.Go(func() {
			r := httptest.NewRequest("POST", "/v1/commands", &silence{reading: reading, leave: leave})
			r.Header.Set("Content-Type", "application/json")
			r.ContentLength = length
			w := httptest.NewRecorder()
			in.ServeHTTP(w, r)
			if w.Code != 400 {
				t.Errorf("a body that broke off was answered with %d", w.Code)
			}
		})
	}
	for range idle {
		<-reading
	}
	require.Equal(t, 202, postText(t, in, command(commands.NewID().String())).Code)
	close(leave)
	all.Wait()

	// All of it was given back, also by those that were refused in the middle.
	s.MemoryInFlight = 40 << 10
	in, err = intake.New(s.Config)
	require.NoError(t, err)
	for range 10 {
		require.Equal(t, 429, postText(t, in, strings.Repeat(" ", 60<<10)).Code)
	}
	require.Equal(t, 202, postText(t, in, strings.Repeat(" ", 30<<10)+command(commands.NewID().String())).Code)
}

// silence is a body of which nothing comes.
type silence struct {
	reading chan<- struct{}
	leave   <-chan struct{}
}

func (b *silence) Read([]byte) (int, error) {
	b.reading <- struct{}{}
	<-b.leave
	return 0, io.ErrUnexpectedEOF
}

func postText(t *testing.T, in http.Handler, body string) *httptest.ResponseRecorder {
	t.Helper()
	return post(t.Context(), in, strings.NewReader(body))
}

// RFC 9110 section 15.5.9.
func TestABodyThatDoesNotComeInTimeIsTimedOut(t *testing.T) {
	t.Parallel()
	in, err := intake.New(around().Config)
	require.NoError(t, err)
	for _, length := range []int64{-1, 500} {
		r := httptest.NewRequest("POST", "/v1/commands", io.MultiReader(strings.NewReader(`{"stream":`), lateReader{}))
		r.Header.Set("Content-Type", "application/json")
		r.ContentLength = length
		w := httptest.NewRecorder()
		in.ServeHTTP(w, r)
		require.Equal(t, 408, w.Code)
		require.Equal(t, "close", w.Header().Get("Connection"))
		p := read[told](t, w)
		require.Equal(t, commands.Malformed, p.Code)
		require.Equal(t, 408.0, p.Status)
	}
}

type lateReader struct{}

func (lateReader) Read([]byte) (int, error) {
	return 0, fmt.Errorf("read: %w", os.ErrDeadlineExceeded)
}

// DESIGN section 3: 503 unavailable says that nothing was accepted, whatever the form of the request.
func TestWhileWhatJudgesIsAwayNothingIsHandedOver(t *testing.T) {
	t.Parallel()
	s := around()
	s.Ready = func() error { return errAway }
	first, second := commands.NewID().String(), commands.NewID().String()
	w := s.post(t, command(first), "Prefer: wait=5")
	require.Equal(t, 503, w.Code)
	require.Regexp(t, "^[123]$", w.Header().Get("Retry-After"))
	p := read[told](t, w)
	require.Equal(t, commands.Unavailable, p.Code)
	require.Equal(t, first, p.ID)
	require.NotContains(t, w.Body.String(), errAway.Error(), "which part is away is for /readyz to say")

	w = s.post(t, "["+command(first)+`,{"stream":"ghost/1","type":"add"},`+command(second)+"]")
	require.Equal(t, 503, w.Code)
	require.Regexp(t, "^[123]$", w.Header().Get("Retry-After"))
	items := read[[]told](t, w)
	require.Equal(t, commands.Unavailable, items[0].Code)
	require.Equal(t, commands.UnknownType, items[1].Code, "what is wrong with one command is told all the same")
	require.Equal(t, commands.Unavailable, items[2].Code)
	require.Empty(t, s.sent)
}

// DESIGN section 3: fate_unknown is for what may have been accepted.
func TestWhatCouldBeTakenBackIsUnavailable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := around()
		var late func(int, error)
		s.SendAll = func(_ []*commands.Envelope, done func(int, error)) {
			late = done
			done(0, nil)
		}
		var back []commands.ID
		s.Withdraw = func(envs ...*commands.Envelope) {
			for _, env := range envs {
				back = append(back, env.ID)
			}
			late(2, errAway)
		}
		ids := []commands.ID{commands.NewID(), commands.NewID(), commands.NewID()}
		body := "["
		for i, id := range ids {
			body += strings.Repeat(",", min(i, 1)) + command(id.String())
		}
		began := time.Now()
		w := s.post(t, body+"]")
		require.Equal(t, 10*time.Second, time.Since(began))
		require.Equal(t, ids[1:], back, "of the first an answer had come")
		items := read[[]told](t, w)
		require.Equal(t, "accepted", items[0].Status)
		require.Equal(t, commands.FateUnknown, items[1].Code)
		require.Equal(t, commands.Unavailable, items[2].Code)
		late(1, nil) // and is nobody's any more

		s.Send = func(_ *commands.Envelope, done func(error)) { late = func(_ int, err error) { done(err) } }
		w = s.post(t, command(ids[0].String()))
		require.Equal(t, 503, w.Code)
		require.Equal(t, commands.Unavailable, read[told](t, w).Code)
	})
}

// DESIGN section 2: the id of a conflict is that of the command that was there first, so a ticket that names
// it names that one; predecessor_refused would be about a command that nobody can name.
func TestWhoFollowsAConflictIsJudgedByWhatWasThereFirst(t *testing.T) {
	t.Parallel()
	s := around()
	taken := commands.NewID()
	s.Conflicted = func(_ uint64, id commands.ID, _ commands.Hash) bool { return id == taken }
	follower := strings.Replace(command(commands.NewID().String()), "genesis", taken.String(), 1)
	items := read[[]told](t, s.post(t, "["+command(taken.String())+","+follower+"]"))
	require.Equal(t, commands.IDConflict, items[0].Code)
	require.Equal(t, "accepted", items[1].Status)
	require.Len(t, s.sent, 2)
}
