package deploy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// fragile is a type whose code breaks until it is mended.
func fragile(mended *atomic.Bool) aggregate.Type {
	type state struct {
		Carried int `json:"carried"`
	}
	type carried struct{}
	t := aggregate.Define[any]("vase", state{}, aggregate.Settings{})
	aggregate.Handle(t, "carry", func(state, struct{}) ([]any, error) {
		if !mended.Load() {
			panic("dropped")
		}
		return []any{carried{}}, nil
	})
	aggregate.On(t, "carried", func(s state, _ carried) state { return state{s.Carried + 1} })
	return t.MustBuild()
}

func startWith(t *testing.T, c *Config, types ...aggregate.Type) (p *Program, call, admin *caller) {
	t.Helper()
	p, err := New(c, types)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	require.NoError(t, p.Start(t.Context()))
	return p, newCaller(t, p.URL()), newCaller(t, p.AdminURL())
}

// letter is a dead letter as it is told.
type letter struct {
	N       uint64
	Reason  commands.Reason
	Cause   string
	Command struct {
		ID   commands.ID
		Data json.RawMessage
	}
	Decision *struct {
		Resolution string
		At         time.Time
		By, Why    string
		RetriedAs  commands.ID `json:"retried_as"`
	}
	Retried *commands.CommandView
}

// read decodes an answer of 200.
func read[T any](t *testing.T, answer got) (v T) {
	t.Helper()
	require.Equal(t, 200, answer.status, answer.body)
	require.NoError(t, json.Unmarshal([]byte(answer.body), &v), answer.body)
	return v
}

func (c *caller) letters(query string) (all []letter) {
	c.t.Helper()
	page := read[struct{ Items []letter }](c.t, c.do(http.MethodGet, "/admin/v1/dead"+query, ""))
	return page.Items
}

func carry(stream string, ticket commands.ID) commands.Command {
	return commands.Command{ID: commands.NewID(), Stream: commands.Stream{Type: "vase", ID: stream}, Type: "carry", Ticket: ticket,
		Session: "tab-9f3", Actor: "Ann", Data: []byte(`{}`)}
}

// What broke a type's code is kept with the stack, and sent again once the code is mended, on each store. What was
// decided outlives the program.
func TestADeadLetterIsDecidedOn(t *testing.T) {
	t.Parallel()
	for name, configure := range map[string]func(*testing.T) *Config{"sqlite": local, "postgres": onPostgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := configure(t)
			var mended atomic.Bool
			p, call, admin := startWith(t, c, fragile(&mended))
			failed := carry("1", commands.Genesis)
			for _, each := range []commands.Command{failed, carry("2", commands.Genesis), carry("3", commands.Genesis)} {
				view, err := call.Send(t.Context(), each, client.SendOptions{Wait: 10 * time.Second})
				require.NoError(t, err)
				require.Equal(t, commands.Failed, view.Reason)
			}
			open := admin.letters("")
			require.Len(t, open, 3)
			first := slices.MinFunc(open, func(a, b letter) int { return int(a.N) - int(b.N) })
			path := "/admin/v1/dead/" + strconv.FormatUint(first.N, 10)
			whole := admin.do(http.MethodGet, path, "")
			require.NotContains(t, whole.body, failed.Session, "a session is a secret")
			told := read[letter](t, whole)
			require.Equal(t, failed.ID, told.Command.ID)
			require.JSONEq(t, `{}`, string(told.Command.Data))
			require.Contains(t, told.Cause, "dropped")
			require.Contains(t, told.Cause, "letters_test.go", "the stack is told")
			require.Nil(t, told.Decision)

			// It breaks again, which makes a letter of its own.
			asks := "Content-Type: application/json"
			retried := read[letter](t, admin.do(http.MethodPost, path+"/retry", `{"by":"Olga","why":"maybe it was the moon"}`, asks))
			require.Equal(t, commands.Failed, retried.Retried.Reason)
			require.NotEqual(t, failed.ID, retried.Retried.ID, "a new command with an id of its own")
			require.Equal(t, "Olga", retried.Decision.By)
			require.Equal(t, "maybe it was the moon", retried.Decision.Why)
			require.WithinDuration(t, time.Now(), retried.Decision.At, time.Minute)
			open = admin.letters("")
			require.Len(t, open, 3)
			again := open[2]
			require.Equal(t, retried.Retried.ID, again.Command.ID)

			mended.Store(true)
			path = "/admin/v1/dead/" + strconv.FormatUint(again.N, 10)
			landed := read[letter](t, admin.do(http.MethodPost, path+"/retry", decided, asks))
			require.Equal(t, commands.StatusLanded, landed.Retried.Status)
			require.Equal(t, uint64(1), landed.Retried.Version)
			require.NotEqual(t, again.Command.ID, landed.Retried.ID)
			require.Equal(t, landed, read[letter](t, admin.do(http.MethodPost, path+"/retry", `{"by":"Ben","why":"once more"}`, asks)), "a repeat")
			stream, err := call.Stream(t.Context(), failed.Stream)
			require.NoError(t, err)
			require.Equal(t, uint64(1), stream.Version)

			// The session of the failed command hears nothing of what an operator sent.
			heard := call.do(http.MethodGet, "/v1/notifications?session="+failed.Session+"&after="+p.store.Identity().Epoch+"-0", "",
				"Accept: application/json", "Prefer: wait=1")
			require.NotContains(t, heard.body, `"event":"landed"`)

			path = "/admin/v1/dead/" + strconv.FormatUint(open[0].N, 10)
			discarded := read[letter](t, admin.do(http.MethodPost, path+"/discard", `{"by":"Olga","why":"nobody needs it"}`, asks))
			require.Equal(t, "discarded", discarded.Decision.Resolution)
			status, problem := admin.decide("dead/"+strconv.FormatUint(open[0].N, 10)+"/retry", decided)
			require.Equal(t, 409, status)
			require.Equal(t, commands.AlreadyDecided, problem.Code)

			require.NoError(t, p.Stop())
			_, _, admin = startWith(t, c, fragile(&mended))
			require.Equal(t, discarded, read[letter](t, admin.do(http.MethodGet, path, "")))
			require.Len(t, admin.letters(""), 1)
			require.Len(t, admin.letters("?decision=retried"), 2)
			require.Len(t, admin.letters("?decision=all&limit=3"), 3)
		})
	}
}

// The ticket of a retry is what the operator says: meanwhile others may have acted on the stream.
func TestARetryGoesOnFromTheHeadWhenItIsAskedFor(t *testing.T) {
	t.Parallel()
	var mended atomic.Bool
	_, call, admin := startWith(t, local(t), fragile(&mended))
	for range 2 {
		_, err := call.Send(t.Context(), carry("1", commands.Genesis), client.SendOptions{Wait: 10 * time.Second})
		require.NoError(t, err)
	}
	mended.Store(true)
	landed, err := call.Send(t.Context(), carry("1", commands.Genesis), client.SendOptions{Wait: 10 * time.Second})
	require.NoError(t, err)
	require.Equal(t, commands.StatusLanded, landed.Status)
	open := admin.letters("")
	retry := func(n uint64, ticket string) *commands.CommandView {
		body := `{"by":"Olga","why":"a test"` + ticket + `}`
		return read[letter](t, admin.do(http.MethodPost, fmt.Sprintf("/admin/v1/dead/%d/retry", n), body, "Content-Type: application/json")).Retried
	}
	require.Equal(t, commands.StaleTicket, retry(open[0].N, "").Reason)
	require.Equal(t, uint64(2), retry(open[1].N, `,"ticket":"head"`).Version)
}

func TestAnOperatorLooksAtWhatIsParked(t *testing.T) {
	t.Parallel()
	for name, configure := range map[string]func(*testing.T) *Config{"sqlite": local, "postgres": onPostgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, call := start(t, configure(t))
			admin := newCaller(t, p.AdminURL())
			first := patch(commands.NewID(), `{"a":1}`)
			first.Session, first.Actor = "tab-9f3", "Ann"
			second := patch(first.ID, `{"b":2}`)
			third := patch(second.ID, `{"c":3}`)
			other := create(`{}`)
			other.Stream.ID, other.Ticket = "other", commands.NewID()
			for _, c := range []commands.Command{third, first, other, second} {
				_, err := call.Send(t.Context(), c, client.SendOptions{})
				require.NoError(t, err)
			}
			type item struct {
				ID       commands.ID
				Stream   commands.Stream
				Type     string
				Actor    string
				WaitsFor commands.ID `json:"waits_for"`
				ParkedAt time.Time   `json:"parked_at"`
				Until    time.Time
			}
			type page struct {
				Items []item
				After *uint64
			}
			all := read[page](t, admin.do(http.MethodGet, "/admin/v1/parked", ""))
			require.Len(t, all.Items, 4)
			require.Nil(t, all.After)
			require.Equal(t, third.ID, all.Items[0].ID)
			require.Equal(t, second.ID, all.Items[0].WaitsFor)
			require.WithinDuration(t, time.Now(), all.Items[0].ParkedAt, time.Minute)
			require.WithinDuration(t, time.Now().Add(30*time.Second), all.Items[0].Until, 20*time.Second)
			some := read[page](t, admin.do(http.MethodGet, "/admin/v1/parked?limit=2&stream=document/note", ""))
			require.Len(t, some.Items, 2)
			require.NotNil(t, some.After)
			rest := read[page](t, admin.do(http.MethodGet, fmt.Sprintf("/admin/v1/parked?limit=2&stream=document/note&after=%d", *some.After), ""))
			require.Len(t, rest.Items, 1)
			require.Nil(t, rest.After)
			require.Equal(t, second.ID, rest.Items[0].ID)

			answer := admin.do(http.MethodGet, "/admin/v1/parked/"+first.ID.String(), "")
			require.NotContains(t, answer.body, first.Session)
			whole := read[struct {
				item
				Data    json.RawMessage
				Waiting []item
			}](t, answer)
			require.JSONEq(t, `{"a":1}`, string(whole.Data))
			require.Equal(t, "Ann", whole.Actor)
			require.Len(t, whole.Waiting, 2)
			require.Equal(t, third.ID, whole.Waiting[0].ID, "it was parked before the one that it waits on")
		})
	}
}
