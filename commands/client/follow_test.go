package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
	"github.com/ticketed/doorman/commands/problem"
)

// told answers with a stream of events that ends after the text.
func told(text ...string) step {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "text/event-stream")
		_, err := io.WriteString(w, strings.Join(text, ""))
		return err
	}
}

func message(event, data, mark string) string {
	text := "event: " + event + "\ndata: " + data + "\n"
	if mark != "" {
		text += "id: " + mark + "\n"
	}
	return text + "\n"
}

func stateOf(stream string, version, position uint64) string {
	s, _ := commands.ParseStream(stream)
	v := commands.PushView{Stream: s, Version: version, Ticket: commands.NewID(), State: []byte(`{}`),
		Position: commands.Position{Epoch: "e", N: position}, Events: []commands.ChangeView{}}
	return string(v.AppendTo(nil))
}

func state(version, position uint64, mark string) string {
	return message("state", stateOf("order/42", version, position), mark)
}

func outcome(id commands.ID, mark string) string {
	v := commands.LandedView{ID: id, Stream: order42, Version: 1, Ticket: id, Position: commands.Position{Epoch: "e", N: 1}}
	return message("landed", string(v.AppendTo(nil)), mark)
}

// following writes down what is told until the context ends or so many pushes were told.
func following(ctx context.Context, c *client.Client, watch client.Watch, most int) (lines []string, err error) {
	for push, err := range c.Follow(ctx, watch) {
		if err != nil {
			return lines, err
		}
		lines = append(lines, line(push))
		if len(lines) == most {
			break
		}
	}
	return lines, nil
}

func line(p client.Push) string {
	text := p.Event
	switch {
	case p.State != nil:
		text = fmt.Sprintf("%s v%d", p.State.Stream, p.State.Version)
	case p.Landed != nil:
		text += " " + p.Landed.ID.String()[:8]
	case p.Reset != nil:
		text += " " + string(p.Reset.Reason)
	case p.Refused != nil:
		text += fmt.Sprintf(" %s %s", p.Refused.Stream, p.Refused.Code)
	}
	if p.Mark != (commands.Position{}) {
		text += " <" + p.Mark.String()
	}
	return text
}

var watch42 = client.Watch{Streams: client.All(order42)}

// DESIGN section 3: reconnecting with the mark can repeat, never skip; repeats are dropped by position.
func TestFollowingGoesOnFromTheMarkAndDropsRepeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t,
			told(": ok\nretry: 3000\n\n", state(1, 4, ""), "id: e-4\n\n", state(2, 5, ""), state(3, 6, ""), "event: state\ndata: {"),
			told(state(2, 5, ""), state(3, 6, ""), state(4, 7, "e-7")))
		began := time.Now()
		lines, err := following(t.Context(), c, watch42, 4)
		require.NoError(t, err)
		require.Equal(t, []string{"order/42 v1", "order/42 v2 <e-4", "order/42 v3 <e-4", "order/42 v4 <e-7"}, lines)
		require.Equal(t, "/v1/notifications?deliver=state&stream=order%2F42", s.seen[0].uri)
		require.Equal(t, "/v1/notifications?after=e-4&deliver=state&stream=order%2F42", s.seen[1].uri)
		require.Equal(t, "text/event-stream", s.seen[1].header.Get("Accept"))
		require.GreaterOrEqual(t, time.Since(began), 3*time.Second, "what retry said")
		require.Less(t, time.Since(began), 4*time.Second)
	})
}

func TestOwnOutcomesAreToldOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := commands.NewID(), commands.NewID()
		b[0] = 0xbb
		parked := commands.ParkedView{ID: a, Stream: order42, WaitsFor: b, Until: time.Now()}
		waits := message("parked", string(parked.AppendTo(nil)), "")
		c, s := scripted(t, told(waits, outcome(a, "e-1")), told(waits, outcome(a, ""), outcome(b, "e-2")))
		lines, err := following(t.Context(), c, client.Watch{Sessions: []string{"tab 9"}}, 3)
		require.NoError(t, err)
		require.Equal(t, []string{"parked", "landed " + a.String()[:8] + " <e-1", "landed " + b.String()[:8] + " <e-2"}, lines)
		require.Equal(t, "POST", s.seen[0].method)
		require.Equal(t, "/v1/notifications", s.seen[0].uri, "a session id is a secret")
		require.JSONEq(t, `{"streams":[],"sessions":["tab 9"],"deliver":"state","after":"e-1"}`, s.seen[1].body)
	})
}

// What is asked for before the first mark of a connection depends on what can be told by halves.
func TestAConnectionCutInItsOpening(t *testing.T) {
	t.Parallel()
	two := []client.WatchedStream{
		{Stream: order42}, {Stream: commands.Stream{Type: "order", ID: "7"}, Since: client.SinceVersion, Version: 17},
		{Stream: commands.Stream{Type: "order", ID: "8"}},
	}
	cases := []struct {
		name  string
		watch client.Watch
		want  string
	}{
		{"states begin again", client.Watch{Streams: two},
			"deliver=state&stream=order%2F42&stream=order%2F7%4017&stream=order%2F8"},
		{"also after a mark of the caller's", client.Watch{Streams: two, After: commands.Position{Epoch: "e", N: 2}},
			"after=e-2&deliver=state&stream=order%2F42&stream=order%2F7%4017&stream=order%2F8"},
		{"landings go on from what was told", client.Watch{Streams: two, Deliver: client.DeliverEvents},
			"after=e-4&deliver=events&stream=order%2F42&stream=order%2F7%4017&stream=order%2F8%40new"},
		{"or from the caller's mark", client.Watch{Streams: two, Deliver: client.DeliverEvents, After: commands.Position{Epoch: "e", N: 2}},
			"after=e-2&deliver=events&stream=order%2F42&stream=order%2F7%4017&stream=order%2F8"},
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, s := scripted(t, told(state(1, 4, "")), told(state(1, 4, ""), state(2, 5, "e-5")))
				lines, err := following(t.Context(), c, tt.watch, 2)
				require.NoError(t, err)
				require.Equal(t, []string{"order/42 v1", "order/42 v2 <e-5"}, lines)
				require.Equal(t, "/v1/notifications?"+tt.want, s.seen[1].uri)
			})
		})
	}
}

// After a reset neither versions nor positions of before mean anything.
func TestAfterAResetSnapshotsAreNews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		watch := client.Watch{Streams: []client.WatchedStream{{Stream: order42, Since: client.SinceVersion, Version: 17}}}
		c, s := scripted(t, told(state(18, 40, "e-40")),
			told(message("reset", `{"reason":"epoch"}`, ""), state(2, 3, "")), told(state(2, 3, "f-3"), state(3, 4, "f-4")))
		lines, err := following(t.Context(), c, watch, 4)
		require.NoError(t, err)
		require.Equal(t, []string{"order/42 v18 <e-40", "reset epoch", "order/42 v2", "order/42 v3 <f-4"}, lines)
		require.Contains(t, s.seen[0].uri, "stream=order%2F42%4017")
		require.Contains(t, s.seen[1].uri, "after=e-40&deliver=state&stream=order%2F42")
		require.NotContains(t, s.seen[2].uri, "after=")
		require.Contains(t, s.seen[2].uri, "stream=order%2F42%40new")
	})
}

func TestARefusedStreamIsNamedOnceAndAskedForAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refused := message("refused", `{"stream":"order/42","code":"failed"}`, "")
		conflict := message("refused", `{"stream":"order/42","id":"0197c3a2-7a90-7be0-8f00-0d6b3c1a2f77","code":"id_conflict"}`, "")
		c, s := scripted(t, told(refused, "id: e-1\n\n", conflict), told(refused, conflict), told(state(1, 1, "e-2"), state(2, 3, "")))
		lines, err := following(t.Context(), c, watch42, 5)
		require.NoError(t, err)
		require.Equal(t, []string{"refused order/42 failed", "refused order/42 id_conflict <e-1",
			"refused order/42 id_conflict <e-1", "order/42 v1 <e-2", "order/42 v2 <e-2"}, lines)
		require.Contains(t, s.seen[1].uri, "stream=order%2F42%40new", "nothing was told of it up to the mark")
	})
}

func TestMarksAreToldWhereAskedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		watch := watch42
		watch.Marks = true
		c, _ := scripted(t, told("id: e-1\n\n:\nid: e-1\n\n", state(1, 1, "e-2"), "id: nonsense\n\n"), told(state(1, 1, "e-3")))
		lines, err := following(t.Context(), c, watch, 3)
		require.NoError(t, err)
		require.Equal(t, []string{"mark <e-1", "order/42 v1 <e-2", "mark <e-3"}, lines)
	})
}

func TestFollowingWaitsOutWhatPasses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		watch := watch42
		var lost []string
		watch.Lost = func(err error) { lost = append(lost, err.Error()) }
		c, _ := scripted(t, unreachable, busy(7*time.Second), refuse(problem.New(commands.Internal, "")), broken, hang,
			body(http.StatusBadGateway, "no"), told(state(1, 1, "e-1")))
		began := time.Now()
		lines, err := following(t.Context(), c, watch, 1)
		require.NoError(t, err)
		require.Len(t, lines, 1)
		require.Len(t, lost, 6)
		require.Contains(t, lost[0], "connection refused")
		require.Greater(t, time.Since(began), 22*time.Second, "7 s of Retry-After, 15 s for an answer")
		require.Less(t, time.Since(began), 30*time.Second)
	})
}

func TestWhatWillNeverBeTakenEndsFollowing(t *testing.T) {
	t.Parallel()
	_, err := following(t.Context(), first(scripted(t, refuse(problem.New(commands.Malformed, "twice")))), watch42, 1)
	var refused *client.RefusedError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, commands.Malformed, refused.Problem.Code)
	_, err = following(t.Context(), first(scripted(t, ok(`{}`))), watch42, 1)
	require.ErrorContains(t, err, "no stream of events")
	_, err = following(t.Context(), first(scripted(t, told("event: state\ndata: nonsense\n\n"))), watch42, 1)
	require.ErrorContains(t, err, "read a push of state (nonsense)")
	_, err = following(t.Context(), first(scriptedWith(t, client.Config{MaxAnswer: 10}, told(state(1, 1, "")))), watch42, 1)
	require.ErrorContains(t, err, "longer than")
}

func first(c *client.Client, _ *script) *client.Client { return c }

func TestFollowingEndsWithItsAttemptsAndItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		config := client.Config{Backoff: client.Backoff{Attempts: 2}}
		c, _ := scriptedWith(t, config, unreachable, told(state(1, 1, "")), unreachable)
		lines, err := following(t.Context(), c, watch42, -1)
		require.Len(t, lines, 1)
		require.ErrorIs(t, err, client.ErrAttempts)

		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		c, _ = scripted(t, hang)
		time.AfterFunc(time.Second, func() { cancel(enough) })
		_, err = following(ctx, c, watch42, -1)
		require.ErrorIs(t, err, enough)
	})
}

// quiet is a connection that tells something every so often, and then nothing more.
type quiet struct {
	mu    sync.Mutex
	opens int
	text  []string
	every time.Duration
}

func (q *quiet) RoundTrip(r *http.Request) (*http.Response, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.opens++
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream"}},
		Body: &quietBody{ctx: r.Context(), text: q.text, every: q.every}}, nil
}

type quietBody struct {
	ctx   context.Context
	text  []string
	every time.Duration
}

func (b *quietBody) Read(p []byte) (int, error) {
	after := b.every
	if len(b.text) == 0 {
		after = time.Hour
	}
	select {
	case <-time.After(after):
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
	n := copy(p, b.text[0])
	b.text = b.text[1:]
	return n, nil
}

func (*quietBody) Close() error { return nil }

// A heartbeat comes every 15 seconds: a connection without one is dead, whatever the network says of it.
func TestASilentConnectionIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &quiet{text: []string{": ok\n\n", ":\n", state(1, 1, "e-1"), ":\n"}, every: 15 * time.Second}
		c, err := client.New(client.Config{BaseURL: "http://doorman.test", HTTP: &http.Client{Transport: q}})
		require.NoError(t, err)
		watch := watch42
		var lost []error
		watch.Lost = func(err error) { lost = append(lost, err) }
		began := time.Now()
		for push, err := range c.Follow(t.Context(), watch) {
			require.NoError(t, err)
			if push.State.Version == 1 {
				time.Sleep(5 * time.Minute) // a slow caller is not a dead connection
				q.text = []string{state(2, 2, "e-2")}
				continue
			}
			break
		}
		require.Equal(t, 2, q.opens)
		require.Len(t, lost, 1)
		require.ErrorContains(t, lost[0], "nothing was heard for 40s")
		require.Less(t, time.Since(began), 5*time.Minute+60*time.Second+client.Silence+15*time.Second+time.Second)
	})
}

func TestALongListGoesIntoTheBody(t *testing.T) {
	t.Parallel()
	watch := client.Watch{Deliver: client.DeliverTicket}
	for i := range 256 {
		watch.Streams = append(watch.Streams, client.WatchedStream{Stream: commands.Stream{Type: "order", ID: fmt.Sprint(i)}})
	}
	c, s := scripted(t, told(state(1, 1, "")))
	_, err := following(t.Context(), c, watch, 1)
	require.NoError(t, err)
	require.Equal(t, "POST", s.seen[0].method)
	require.Equal(t, "application/json", s.seen[0].header.Get("Content-Type"))
	require.Contains(t, s.seen[0].body, `"order/255"],"deliver":"ticket"}`)
}
