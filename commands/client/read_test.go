package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
	"github.com/ticketed/doorman/commands/problem"
)

// When the time ends in the middle of an attempt, what is told is why those before it failed.
func TestWhyNobodyAnswersIsToldHoweverTheTimeEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("connection refused")
		c, _ := scripted(t,
			func(http.ResponseWriter, *http.Request) error { return refused },
			func(_ http.ResponseWriter, r *http.Request) error {
				<-r.Context().Done()
				return r.Context().Err()
			})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := c.Limits(ctx)
		require.ErrorIs(t, err, refused)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestStatusAsksForAllHoweverMany(t *testing.T) {
	t.Parallel()
	tell := func(w http.ResponseWriter, r *http.Request) error {
		ids := r.URL.Query()["id"]
		if len(ids) > 256 {
			return body(http.StatusBadRequest, "too many")(w, r)
		}
		views := make([]string, 0, len(ids))
		for _, id := range ids {
			views = append(views, `{"id":"`+id+`","status":"unknown"}`)
		}
		return ok(arrayOf(views...))(w, r)
	}
	ids := make([]commands.ID, 300)
	for i := range ids {
		ids[i] = commands.NewID()
	}
	c, _ := scripted(t, tell, tell)
	views, err := c.Status(t.Context(), ids...)
	require.NoError(t, err)
	require.Len(t, views, 300)
	for i := range ids {
		require.Equal(t, commands.CommandView{ID: ids[i], Status: commands.StatusUnknown}, views[i])
	}

	c, _ = scripted(t, ok(`[]`))
	_, err = c.Status(t.Context(), ids[0])
	require.ErrorContains(t, err, "asked for 1 commands and told of 0")
}

func streamView(version uint64) commands.StreamView {
	return commands.StreamView{Stream: order42, Version: version, Ticket: commands.NewID(),
		State: json.RawMessage(`{"lines":1}`), At: time.UnixMicro(1_795_335_330_000_250).UTC(),
		Position: commands.Position{Epoch: "e1", N: 8}}
}

func TestStreamTellsStateAndTicket(t *testing.T) {
	t.Parallel()
	want := streamView(3)
	c, s := scripted(t, ok(string(want.AppendTo(nil))), ok(string(want.AppendTo(nil))))
	got, err := c.Stream(t.Context(), order42)
	require.NoError(t, err)
	require.Equal(t, want, got)
	got, err = c.StreamAt(t.Context(), order42, 3)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Equal(t, "/v1/streams/order/42", s.seen[0].uri)
	require.Equal(t, "/v1/streams/order/42?version=3", s.seen[1].uri)
}

// DESIGN section 3: version 0 is a 404 that carries the ticket to start with.
func TestAStreamOfWhichNothingIsKnownTellsTheTicketToStartWith(t *testing.T) {
	t.Parallel()
	nothing := problem.New(commands.NotFound, "")
	nothing.Ticket = commands.Genesis
	c, _ := scripted(t, refuse(nothing), refuse(problem.New(commands.UnknownType, "")), refuse(nothing))
	view, err := c.Stream(t.Context(), order42)
	require.NoError(t, err)
	require.Equal(t, commands.StreamView{Stream: order42, Ticket: commands.Genesis}, view)

	_, err = c.Stream(t.Context(), order42)
	var refused *client.RefusedError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, commands.UnknownType, refused.Problem.Code)
	require.EqualError(t, err, "refused: unknown_type: There is no such stream type")

	_, changed, err := c.StreamAfter(t.Context(), order42, commands.Genesis, time.Minute)
	require.NoError(t, err)
	require.False(t, changed)
}

func TestStreamAfterWaitsForAnotherTicket(t *testing.T) {
	t.Parallel()
	want := streamView(4)
	c, s := scripted(t, body(http.StatusNotModified, ""), ok(string(want.AppendTo(nil))))
	ticket := commands.NewID()
	_, changed, err := c.StreamAfter(t.Context(), order42, ticket, 25*time.Second)
	require.NoError(t, err)
	require.False(t, changed)
	require.Equal(t, "wait=25", s.seen[0].prefer)
	require.Equal(t, `"`+ticket.String()+`"`, s.seen[0].header.Get("If-None-Match"))

	got, changed, err := c.StreamAfter(t.Context(), order42, ticket, time.Hour)
	require.NoError(t, err)
	require.True(t, changed)
	require.Equal(t, want, got)
	require.Equal(t, "wait=30", s.seen[1].prefer)
}

func changes(from, to uint64) []commands.ChangeView {
	var page []commands.ChangeView
	for version := from; version <= to; version++ {
		page = append(page, commands.ChangeView{
			Version: version, Position: commands.Position{Epoch: "e1", N: version},
			Type: "line_added", Data: json.RawMessage(`{}`), At: time.UnixMicro(1).UTC(),
			Command: commands.ActorView{ID: commands.NewID(), Type: "add_line", Actor: "Ann", Override: version == 2},
		})
	}
	return page
}

func page(from, to uint64) step {
	return ok(string(commands.AppendChanges(nil, changes(from, to))))
}

func TestAllEventsGoesThroughThePages(t *testing.T) {
	t.Parallel()
	c, s := scripted(t, page(6, 105), page(106, 205), page(206, 205))
	version := uint64(5)
	for change, err := range c.AllEvents(t.Context(), order42, version) {
		require.NoError(t, err)
		version++
		require.Equal(t, version, change.Version)
	}
	require.Equal(t, uint64(205), version)
	require.Equal(t, "/v1/streams/order/42/events?after=5&limit=100", s.seen[0].uri)
	require.Equal(t, "/v1/streams/order/42/events?after=205&limit=100", s.seen[2].uri)

	c, _ = scripted(t, page(1, 100))
	for change, err := range c.AllEvents(t.Context(), order42, 0) { // who has enough asks for no more
		require.NoError(t, err)
		if change.Version == 2 {
			require.True(t, change.Command.Override)
			break
		}
	}

	c, _ = scripted(t, page(1, 100), refuse(problem.New(commands.Internal, "")))
	var last error
	for _, last = range c.AllEvents(t.Context(), order42, 0) {
	}
	var refused *client.RefusedError
	require.ErrorAs(t, last, &refused)
}

func TestStreamsAndLimits(t *testing.T) {
	t.Parallel()
	item := streamView(4)
	item.State = nil
	want := commands.StreamsView{Items: []commands.StreamView{item}, After: "e1-8 order/42&x"}
	limits := commands.LimitsView{MaxArray: 256, MaxBody: 262144, MaxDepth: 32, MaxWatched: 256, ParkedPerStream: 256,
		ParkedPerSession: 1000, Parked: 50000, ParkSeconds: 30}
	text, err := json.Marshal(limits)
	require.NoError(t, err)
	c, s := scripted(t, ok(string(want.AppendTo(nil))), ok(`{"items":[],"after":""}`), ok(string(text)))
	got, err := c.Streams(t.Context(), "order", "", 50)
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = c.Streams(t.Context(), "order", got.After, 50)
	require.NoError(t, err)
	require.Equal(t, "/v1/streams?limit=50&type=order", s.seen[0].uri)
	require.Equal(t, "/v1/streams?after=e1-8+order%2F42%26x&limit=50&type=order", s.seen[1].uri)

	told, err := c.Limits(t.Context())
	require.NoError(t, err)
	require.Equal(t, limits, told)
}

func TestReadsAreTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		want := streamView(1)
		c, _ := scripted(t, broken, unreachable, hang, busy(time.Second),
			body(http.StatusBadGateway, "<html>"), ok(string(want.AppendTo(nil))))
		got, err := c.Stream(t.Context(), order42)
		require.NoError(t, err)
		require.Equal(t, want, got)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c, _ = scripted(t, busy(time.Minute))
		_, err = c.Stream(ctx, order42)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		var refused *client.RefusedError
		require.ErrorAs(t, err, &refused)

		cancel()
		c, _ = scripted(t)
		_, err = c.Limits(ctx)
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestAnAnswerOfAnotherShapeIsAnError(t *testing.T) {
	t.Parallel()
	c, _ := scripted(t, ok("<html>"), ok("[]"), ok("[]"), ok("{}"))
	_, err := c.Stream(t.Context(), order42)
	require.ErrorContains(t, err, "read stream order/42")
	_, err = c.Limits(t.Context())
	require.ErrorContains(t, err, "GET /v1/limits")
	_, err = c.Await(t.Context(), commands.NewID())
	require.ErrorContains(t, err, "read the status")
	_, err = c.Events(t.Context(), order42, 0, 1)
	require.Error(t, err)
}

func TestForeignErrorsAreTold(t *testing.T) {
	t.Parallel()
	c, _ := scripted(t, body(http.StatusTeapot, " short and stout \n"),
		body(http.StatusTeapot, strings.Repeat("é", 300)))
	_, err := c.Limits(t.Context())
	require.EqualError(t, err, "refused: 418: short and stout")
	_, err = c.Limits(t.Context())
	require.EqualError(t, err, "refused: 418: "+strings.Repeat("é", 100)+"…")
}

func TestAnAnswerMayNotBeEndless(t *testing.T) {
	t.Parallel()
	c, _ := scriptedWith(t, client.Config{MaxAnswer: 1000, Backoff: client.Backoff{Attempts: 1}},
		ok(strings.Repeat(" ", 1001)))
	_, err := c.Limits(t.Context())
	require.ErrorContains(t, err, "larger than 1000 bytes")
}

func TestAwaitAsksUntilThereIsAnOutcome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		id := commands.NewID()
		parked := commands.CommandView{ID: id, Stream: order42, Type: "add_line", Status: commands.StatusParked,
			WaitsFor: commands.NewID(), Until: time.UnixMicro(1).UTC()}
		slow := func(w http.ResponseWriter, r *http.Request) error {
			time.Sleep(25 * time.Second) // the bubble's time
			return ok(view(t, parked))(w, r)
		}
		outcome := rejected(id, commands.PredecessorMissing)
		c, s := scripted(t, refuse(problem.New(commands.NotFound, "")), slow, slow, ok(view(t, parked)),
			ok(view(t, outcome)))
		start := time.Now()
		told, err := c.Await(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, outcome, told)
		require.Equal(t, "/v1/commands/"+id.String(), s.seen[0].uri)
		require.Equal(t, "wait=25", s.seen[0].prefer)
		require.Less(t, time.Since(start), 51*time.Second)

		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		c, _ = scripted(t, func(w http.ResponseWriter, r *http.Request) error {
			return errors.Join(slow(w, r), r.Context().Err())
		})
		_, err = c.Await(ctx, id)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		c, _ = scripted(t, refuse(problem.New(commands.Malformed, "")))
		_, err = c.Await(t.Context(), id)
		var refused *client.RefusedError
		require.ErrorAs(t, err, &refused)
	})
}

func TestReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, refuse(problem.New(commands.Unavailable, "no bus")), unreachable, ok("ok"))
		require.ErrorContains(t, c.Ready(t.Context()), "not ready: refused: unavailable: no bus")
		require.ErrorContains(t, c.Ready(t.Context()), "connection refused")
		require.NoError(t, c.Ready(t.Context()))
		require.Equal(t, "/readyz", s.seen[0].uri)

		c, _ = scripted(t, unreachable, body(http.StatusServiceUnavailable, ""), ok("ok"))
		require.NoError(t, c.AwaitReady(t.Context()))

		ctx, cancel := context.WithCancel(t.Context())
		c, _ = scripted(t, func(w http.ResponseWriter, r *http.Request) error {
			cancel()
			return unreachable(w, r)
		})
		err := c.AwaitReady(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "connection refused")
	})
}

func TestConfigReportsEverythingWrong(t *testing.T) {
	t.Parallel()
	for _, base := range []string{
		"", "localhost:8080", "ftp://x", "http://", "http://x/?a=b", "http://x/#a", "http://[::1",
	} {
		_, err := client.New(client.Config{BaseURL: base, Backoff: client.Backoff{Attempts: -1}})
		require.ErrorContains(t, err, "BaseURL", base)
		require.ErrorContains(t, err, "Attempts", base)
	}
	_, err := client.New(client.Config{BaseURL: "https://example.com/doorman/"})
	require.NoError(t, err)
}

func ExampleClient_Stream() {
	c, _ := client.New(client.Config{BaseURL: demo.URL})
	now, err := c.Stream(context.Background(), commands.Stream{Type: "order", ID: "42"})
	fmt.Println(now.Version, now.Ticket, string(now.State), err)
	// Output: 1 0197c3a2-7a90-7be0-8f00-0d6b3c1a2f77 {"lines":1} <nil>
}
