package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
	"github.com/ticketed/doorman/commands/problem"
)

func TestSendTellsThatACommandWasAccepted(t *testing.T) {
	t.Parallel()
	cmd := addLine()
	c, s := scripted(t, body(http.StatusAccepted, accepted(cmd.ID)))
	told, err := c.Send(t.Context(), cmd, client.SendOptions{})
	require.NoError(t, err)
	require.Equal(t, commands.CommandView{ID: cmd.ID, Stream: order42, Status: commands.StatusAccepted}, told)

	sent, err := commands.Decode([]byte(s.seen[0].body))
	require.NoError(t, err)
	require.Equal(t, cmd, sent)
	require.Equal(t, "POST /v1/commands", s.seen[0].method+" "+s.seen[0].uri)
	require.Equal(t, "application/json", s.seen[0].header.Get("Content-Type"))
	require.Empty(t, s.seen[0].prefer)
}

func TestSendWaitsInWholeSecondsAndNotTooLong(t *testing.T) {
	t.Parallel()
	for wait, prefer := range map[time.Duration]string{
		time.Nanosecond: "wait=1", 5 * time.Second: "wait=5", 5001 * time.Millisecond: "wait=6", time.Hour: "wait=30",
	} {
		cmd := addLine()
		c, s := scripted(t, ok(view(t, landed(cmd.ID))))
		told, err := c.Send(t.Context(), cmd, client.SendOptions{Wait: wait})
		require.NoError(t, err)
		require.Equal(t, landed(cmd.ID), told)
		require.Equal(t, prefer, s.seen[0].prefer) // RFC 7240 section 4.3
	}
}

func TestARejectionIsAValue(t *testing.T) {
	t.Parallel()
	for _, reason := range []commands.Reason{
		commands.StaleTicket, commands.TicketNotCurrent, commands.Refused, commands.Failed,
	} {
		cmd := addLine()
		outcome := rejected(cmd.ID, reason)
		c, _ := scripted(t, refuse(problem.Rejected(&outcome)))
		told, err := c.Send(t.Context(), cmd, client.SendOptions{Wait: time.Second})
		require.NoError(t, err, reason)
		require.Equal(t, outcome, told)
	}
}

func TestARefusalIsAnErrorWithItsProblem(t *testing.T) {
	t.Parallel()
	for _, code := range []commands.Reason{commands.Malformed, commands.PolicyForbidden, commands.UnknownType,
		commands.TicketRequired, commands.IDConflict, commands.TooLarge} {
		cmd := addLine()
		c, _ := scripted(t, refuse(problem.New(code, "no")))
		_, err := c.Send(t.Context(), cmd, client.SendOptions{})
		var refused *client.RefusedError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, cmd.ID, refused.ID)
		require.Equal(t, code, refused.Problem.Code)
		require.ErrorContains(t, err, string(code)+": no")
	}
}

func TestSendTriesAgainWithTheSameID(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		id := commands.ID{}
		answer := func(w http.ResponseWriter, r *http.Request) error {
			return body(http.StatusAccepted, accepted(id))(w, r)
		}
		c, s := scripted(t, broken, unreachable, hang,
			busy(0), refuse(after(commands.FateUnknown, 0)), refuse(after(commands.RateLimited, 0)),
			body(http.StatusBadGateway, "<html>"), body(http.StatusGatewayTimeout, ""),
			body(http.StatusAccepted, "cut o"), body(http.StatusAccepted, accepted(commands.NewID())),
			func(w http.ResponseWriter, r *http.Request) error {
				cmd, err := commands.Decode(readBody(t, r))
				if err != nil {
					return err
				}
				id = cmd.ID
				return answer(w, r)
			})
		cmd := addLine()
		cmd.ID = commands.None
		told, err := c.Send(t.Context(), cmd, client.SendOptions{})
		require.NoError(t, err)
		require.Equal(t, commands.StatusAccepted, told.Status)
		require.NotEqual(t, commands.None, told.ID)
		for _, request := range s.seen {
			require.Equal(t, s.seen[0].body, request.body)
		}
	})
}

func readBody(t *testing.T, r *http.Request) []byte {
	t.Helper()
	body, err := r.GetBody()
	require.NoError(t, err)
	text, err := io.ReadAll(body)
	require.NoError(t, err)
	return text
}

func TestSendComesBackNoSoonerThanAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cmd := addLine()
		date := func(w http.ResponseWriter, _ *http.Request) error { // the header's other form
			w.Header().Set("Retry-After", time.Now().Add(7*time.Second).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusServiceUnavailable)
			return nil
		}
		c, _ := scripted(t, busy(3*time.Second), date, body(http.StatusAccepted, accepted(cmd.ID)))
		start := time.Now()
		_, err := c.Send(t.Context(), cmd, client.SendOptions{})
		require.NoError(t, err)
		require.GreaterOrEqual(t, time.Since(start), 10*time.Second)
		require.Less(t, time.Since(start), 11*time.Second)
	})
}

func TestPausesGrowAndAreRandom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 40
		steps := make([]step, n)
		var times []time.Time
		for i := range steps {
			steps[i] = func(w http.ResponseWriter, r *http.Request) error {
				times = append(times, time.Now())
				return busy(0)(w, r)
			}
		}
		c, _ := scriptedWith(t, client.Config{
			Backoff: client.Backoff{Base: time.Second, Max: 16 * time.Second, Attempts: n},
		}, steps...)
		_, err := c.Send(t.Context(), addLine(), client.SendOptions{})
		require.ErrorIs(t, err, client.ErrAttempts)
		distinct := map[time.Duration]bool{}
		longest := time.Duration(0)
		for i := 1; i < n; i++ {
			pause := times[i].Sub(times[i-1])
			require.LessOrEqual(t, pause, time.Second<<min(i-1, 4))
			distinct[pause] = true
			longest = max(longest, pause)
		}
		require.Greater(t, len(distinct), n/2)
		require.Greater(t, longest, 8*time.Second) // all 35 of them below half: once in 2^35
	})
}

// What is known when there is no time left decides the error: never "failed" where it may have been taken.
// tooSlow is what is told of a body that did not come in time.
func tooSlow() *problem.Problem {
	p := problem.New(commands.Malformed, "the body did not come to its end in time")
	p.Status = http.StatusRequestTimeout
	return p
}

func TestGivingUpTellsWhetherTheFateIsKnown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		steps   []step
		unknown bool
		refused bool
	}{
		"never reached":                {steps: []step{unreachable}},
		"nothing accepted":             {steps: []step{busy(time.Minute)}, refused: true},
		"sent too slowly":              {steps: []step{refuse(tooSlow())}, refused: true},
		"broken off, then too slow":    {steps: []step{broken, refuse(tooSlow())}, unknown: true},
		"a proxy's 408":                {steps: []step{body(http.StatusRequestTimeout, "")}, unknown: true},
		"too many requests":            {steps: []step{refuse(problem.New(commands.RateLimited, ""))}, refused: true},
		"broken off":                   {steps: []step{broken}, unknown: true},
		"no answer in time":            {steps: []step{hang}, unknown: true},
		"fate unknown":                 {steps: []step{refuse(problem.New(commands.FateUnknown, ""))}, unknown: true},
		"a proxy's 503":                {steps: []step{body(http.StatusServiceUnavailable, "")}, unknown: true},
		"broken off, then unreachable": {steps: []step{broken, unreachable}, unknown: true},
		"broken off, then unavailable": {steps: []step{broken, busy(time.Minute)}, unknown: true},
		"an unreadable answer":         {steps: []step{body(http.StatusAccepted, "nonsense")}, unknown: true},
		"a success without an id":      {steps: []step{ok("{}")}, unknown: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cl, _ := scriptedWith(t, client.Config{Backoff: client.Backoff{Attempts: len(c.steps)}}, c.steps...)
				cmd := addLine()
				told, err := cl.Send(t.Context(), cmd, client.SendOptions{})
				require.Error(t, err)
				require.Zero(t, told)
				require.ErrorIs(t, err, client.ErrAttempts)
				var unknown *client.FateUnknownError
				require.Equal(t, c.unknown, errors.As(err, &unknown), "%v", err)
				if c.unknown {
					require.Equal(t, cmd.ID, unknown.ID)
					require.ErrorContains(t, err, "send it again with the same id")
				}
				var refused *client.RefusedError
				require.Equal(t, c.refused, errors.As(err, &refused), "%v", err)
			})
		})
	}
}

func TestARefusalAfterAnUnknownFateIsNoProof(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for code, certain := range map[commands.Reason]bool{
			commands.Malformed: true, commands.IDConflict: true, commands.TooLarge: true,
			commands.TicketRequired: true, commands.UnsupportedMediaType: true,
			commands.PolicyForbidden: false, commands.UnknownType: false, commands.Internal: false,
		} {
			c, _ := scripted(t, broken, refuse(problem.New(code, "")))
			_, err := c.Send(t.Context(), addLine(), client.SendOptions{})
			var unknown *client.FateUnknownError
			require.Equal(t, !certain, errors.As(err, &unknown), code)
			if !certain {
				require.Equal(t, code, unknown.Problem.Code)
				continue
			}
			var refused *client.RefusedError
			require.ErrorAs(t, err, &refused, code)
		}
	})
}

func TestABrokenServerIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	c, _ := scripted(t, refuse(problem.New(commands.Internal, "")))
	_, err := c.Send(t.Context(), addLine(), client.SendOptions{})
	var unknown *client.FateUnknownError
	require.ErrorAs(t, err, &unknown)
}

func TestSendEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// The deadline is nearer than the server's Retry-After: waiting would be in vain.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c, _ := scripted(t, busy(time.Minute))
		start := time.Now()
		_, err := c.Send(ctx, addLine(), client.SendOptions{})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, time.Since(start))

		// Canceled while an attempt is under way.
		ctx, stop := context.WithCancelCause(t.Context())
		why := errors.New("the user left")
		c, _ = scripted(t, hang)
		time.AfterFunc(time.Second, func() { stop(why) })
		_, err = c.Send(ctx, addLine(), client.SendOptions{})
		var unknown *client.FateUnknownError
		require.ErrorAs(t, err, &unknown)
		require.ErrorIs(t, err, why)

		// Canceled before: nothing is sent, and that is known.
		c, s := scripted(t)
		_, err = c.Send(ctx, addLine(), client.SendOptions{})
		require.ErrorIs(t, err, why)
		require.NotErrorAs(t, err, &unknown)
		require.Empty(t, s.seen)
	})
}

func arrayOf(texts ...string) string { return "[" + strings.Join(texts, ",") + "]" }

func TestSendAllTellsEachItemByItself(t *testing.T) {
	t.Parallel()
	all := []commands.Command{addLine(), addLine(), addLine(), addLine()}
	outcome := rejected(all[1].ID, commands.StaleTicket)
	c, s := scripted(t, body(http.StatusAccepted, arrayOf(
		accepted(all[0].ID), string(problem.Rejected(&outcome).AppendTo(nil)),
		string(problem.New(commands.PolicyForbidden, "").AppendTo(nil)), view(t, landed(all[3].ID)))))
	results := c.SendAll(t.Context(), all, client.SendOptions{Wait: time.Second})
	require.Len(t, results, 4)
	require.Equal(t, commands.StatusAccepted, results[0].Command.Status)
	require.Equal(t, outcome, results[1].Command)
	require.NoError(t, results[1].Err)
	var refused *client.RefusedError
	require.ErrorAs(t, results[2].Err, &refused)
	require.Equal(t, all[2].ID, refused.ID)
	require.Equal(t, landed(all[3].ID), results[3].Command)

	request, err := commands.DecodeRequest([]byte(s.seen[0].body), commands.DefaultBodyLimits)
	require.NoError(t, err)
	require.True(t, request.Array)
	require.Equal(t, all[3], request.Items[3].Command)
}

func TestSendAllSendsAgainWhatWasNotTakenAndWhatFollowsIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := []commands.Command{addLine(), addLine(), addLine(), addLine(), addLine()}
		all[2].Ticket, all[3].Ticket, all[4].Ticket = all[1].ID, all[2].ID, commands.NewID()
		busy := string(after(commands.Unavailable, 2*time.Second).AppendTo(nil))
		followed := string(problem.New(commands.PredecessorRefused, "").AppendTo(nil))
		c, s := scripted(t,
			body(http.StatusAccepted, arrayOf(accepted(all[0].ID), busy, followed, followed, followed)),
			body(http.StatusServiceUnavailable, arrayOf(busy, followed, followed)),
			body(http.StatusAccepted, arrayOf(accepted(all[1].ID), accepted(all[2].ID), accepted(all[3].ID))))
		start := time.Now()
		results := c.SendAll(t.Context(), all, client.SendOptions{})
		for i := range 4 {
			require.NoError(t, results[i].Err)
			require.Equal(t, all[i].ID, results[i].Command.ID)
		}
		var refused *client.RefusedError
		require.ErrorAs(t, results[4].Err, &refused, "what it followed was refused for good")
		require.GreaterOrEqual(t, time.Since(start), 4*time.Second)
		again, err := commands.DecodeRequest([]byte(s.seen[2].body), commands.DefaultBodyLimits)
		require.NoError(t, err)
		require.Len(t, again.Items, 3)
		require.Equal(t, all[1].ID, again.Items[0].Command.ID)
	})
}

func TestSendAllRefusedWholeRefusesEach(t *testing.T) {
	t.Parallel()
	c, _ := scripted(t, refuse(problem.New(commands.TooLarge, "")))
	for _, result := range c.SendAll(t.Context(), []commands.Command{addLine(), addLine()}, client.SendOptions{}) {
		var refused *client.RefusedError
		require.ErrorAs(t, result.Err, &refused)
	}
}

func TestSendAllDoubtsAnAnswerOfAnotherLength(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := []commands.Command{addLine(), addLine()}
		c, _ := scripted(t, body(http.StatusAccepted, arrayOf(accepted(all[0].ID))),
			body(http.StatusAccepted, arrayOf(accepted(all[0].ID), accepted(all[1].ID))))
		for _, result := range c.SendAll(t.Context(), all, client.SendOptions{}) {
			require.NoError(t, result.Err)
		}
	})
}

func TestSendAllSplitsWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	var sizes []int
	take := func(w http.ResponseWriter, r *http.Request) error {
		text := readBody(t, r)
		request, err := commands.DecodeRequest(text, commands.DefaultBodyLimits)
		if err != nil {
			t.Error("each part is within the limits:", err)
		}
		sizes = append(sizes, len(request.Items))
		answers := make([]string, 0, len(request.Items))
		for _, item := range request.Items {
			answers = append(answers, accepted(item.Command.ID))
		}
		return body(http.StatusAccepted, arrayOf(answers...))(w, r)
	}
	all := make([]commands.Command, 600)
	for i := range all {
		all[i] = addLine()
	}
	c, _ := scripted(t, take, take, take)
	results := c.SendAll(t.Context(), all, client.SendOptions{})
	require.Equal(t, []int{256, 256, 88}, sizes)
	for i := range all {
		require.Equal(t, all[i].ID, results[i].Command.ID)
	}

	sizes = nil
	large, err := json.Marshal(strings.Repeat("x", 100<<10))
	require.NoError(t, err)
	for i := range all[:5] {
		all[i].Data = large
	}
	c, _ = scripted(t, take, take, take)
	require.Len(t, c.SendAll(t.Context(), all[:5], client.SendOptions{}), 5)
	require.Equal(t, []int{2, 2, 1}, sizes)

	c, _ = scripted(t)
	require.Empty(t, c.SendAll(t.Context(), nil, client.SendOptions{}))
}

func TestOverARealConnection(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer x" {
			problem.Write(w, problem.New(commands.PolicyForbidden, ""))
			return
		}
		cmd, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		decoded, err := commands.Decode(cmd)
		if err != nil {
			problem.Write(w, problem.From(err))
			return
		}
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(commands.AppendAccepted(nil, decoded.ID, decoded.Stream))
	}))
	c, err := client.New(client.Config{BaseURL: server.URL + "/", Header: http.Header{"Authorization": {"Bearer x"}},
		Backoff: client.Backoff{Attempts: 1}})
	require.NoError(t, err)
	cmd := addLine()
	told, err := c.Send(t.Context(), cmd, client.SendOptions{})
	require.NoError(t, err)
	require.Equal(t, cmd.ID, told.ID)

	server.Close()
	// A new client has no connection left over.
	c, err = client.New(client.Config{BaseURL: server.URL, Backoff: client.Backoff{Attempts: 1}})
	require.NoError(t, err)
	_, err = c.Send(t.Context(), cmd, client.SendOptions{})
	require.ErrorContains(t, err, "was not sent")
	var unknown *client.FateUnknownError
	require.NotErrorAs(t, err, &unknown, "a connection that did not come about carried nothing")
}
