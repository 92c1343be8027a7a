package deploy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
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
	admin, _ = newOperator(t, p)
	return p, newCaller(t, p.URL()), admin
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
			admin, _ := newOperator(t, p)
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

// A message of another service that was refused is taken in again once the rules are others. While it is refused its
// letter stays open.
func TestARefusedMessageIsRetried(t *testing.T) {
	t.Parallel()
	for name, configure := range map[string]func(*testing.T) *Config{"sqlite": local, "postgres": onPostgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := configure(t)
			mended := new(atomic.Bool)
			mended.Store(true)
			p, _ := start(t, c)
			admin, _ := newOperator(t, p)
			body := `{"stream":"vase/1","type":"carry","ticket":"genesis","session":"tab-9f3","data":{}}`
			_, err := p.store.Bury(t.Context(), []store.DeadLetter{{At: time.Now(), Origin: store.OriginAMQP, Reason: commands.UnknownType,
				Cause: "no streams of the type vase are kept here", Message: &store.Message{Body: []byte(body), UserID: "shop",
					Exchange: "doorman.commands", Properties: []byte(`{"headers":{"x":1}}`)}}})
			require.NoError(t, err)
			open := admin.letters("?origin=amqp")
			require.Len(t, open, 1)
			path := fmt.Sprintf("/admin/v1/dead/%d", open[0].N)
			shown := admin.do(http.MethodGet, path, "")
			require.Contains(t, shown.body, `"session":"…"`)
			require.NotContains(t, shown.body, "tab-9f3")
			status, told := admin.decide(path[len("/admin/v1/"):]+"/retry", decided)
			require.Equal(t, 422, status)
			require.Equal(t, commands.NotRetriable, told.Code)
			require.Contains(t, told.Detail, "it is refused again, as unknown_type")
			require.Len(t, admin.letters(""), 1)

			require.NoError(t, p.Stop())
			p, call, admin := startWith(t, c, fragile(mended))
			retried := read[letter](t, admin.do(http.MethodPost, path+"/retry", decided, "Content-Type: application/json"))
			require.Equal(t, commands.StatusLanded, retried.Retried.Status)
			again := read[letter](t, admin.do(http.MethodPost, path+"/retry", decided, "Content-Type: application/json"))
			require.Equal(t, retried, again)
			changes := call.do(http.MethodGet, "/v1/streams/vase/1/events", "")
			require.Contains(t, changes.body, `"actor":"shop"`)
			require.Empty(t, admin.letters(""))
			heard := call.do(http.MethodGet, "/v1/notifications?session=tab-9f3&after="+p.store.Identity().Epoch+"-0", "",
				"Accept: application/json", "Prefer: wait=10")
			require.Contains(t, heard.body, retried.Retried.ID.String(), "it is its session's own command")
		})
	}
}

// unseenByOperators are the answers of the operators' document that no test here can bring about, with the reason.
var unseenByOperators = map[string]string{
	"* 500 application/problem+json": "what breaks inside is told so; brought about in projections/admin",
	"* 503 application/problem+json": "bus or store are away; brought about in projections/admin",
	"* 429 application/problem+json": "more under way than there is room for; brought about in projections/admin",
	"reject 202 application/json":    "a worker that is away; brought about in projections/admin",
}

// Every answer of which the operators' document tells has been seen to be as it says.
func TestTheDocumentOfTheOperatorsIsTrue(t *testing.T) {
	t.Parallel()
	mended := new(atomic.Bool)
	p, call, _ := startWith(t, local(t), fragile(mended))
	admin, checker := newOperator(t, p)
	for _, stream := range []string{"1", "2"} {
		_, err := call.Send(t.Context(), carry(stream, commands.Genesis), client.SendOptions{Wait: 10 * time.Second})
		require.NoError(t, err)
	}
	mended.Store(true)
	waits := carry("3", commands.NewID())
	behind := carry("3", waits.ID)
	for _, c := range []commands.Command{waits, behind} {
		_, err := call.Send(t.Context(), c, client.SendOptions{})
		require.NoError(t, err)
	}
	_, err := p.store.Bury(t.Context(), []store.DeadLetter{
		{At: time.Now(), Reason: commands.Malformed, Cause: "no frame", Envelope: &commands.Envelope{Command: commands.Command{Data: []byte("x")}}},
		{At: time.Now(), Origin: store.OriginAMQP, Reason: commands.Malformed, Message: &store.Message{Body: []byte(`{"a`), ReplyTo: "answers"}},
		{At: time.Now(), Origin: store.OriginAMQP, Reason: commands.Malformed, Message: &store.Message{Body: []byte{0xff}, MessageID: "m-1"}},
	})
	require.NoError(t, err)
	first := admin.letters("?decision=all&limit=1")[0].N
	nobody := commands.NewID().String()
	gets := []string{"dead", "dead?decision=all&origin=worker&limit=2", fmt.Sprintf("dead/%d", first), "parked", "parked?stream=vase/3&limit=1",
		"parked/" + waits.ID.String()}
	posts := []string{fmt.Sprintf("dead/%d/retry", first), fmt.Sprintf("dead/%d/discard", first+1), "parked/" + waits.ID.String() + "/reject"}
	json := "Content-Type: application/json"
	for _, path := range gets {
		admin.do(http.MethodGet, "/admin/v1/"+path, "")
		admin.do(http.MethodHead, "/admin/v1/"+path, "")
		admin.do(http.MethodGet, "/admin/v1/"+path, "", "Accept: text/html")
		admin.do(http.MethodGet, "/admin/v1/"+path, "", "Origin: https://evil.example")
		admin.do(http.MethodGet, "/admin/v1/"+path+"?x=1", "")
	}
	for n := range 5 {
		admin.do(http.MethodGet, fmt.Sprintf("/admin/v1/dead/%d", first+uint64(n)), "")
	}
	admin.do(http.MethodGet, "/admin/v1/openapi.json", "")
	admin.do(http.MethodGet, "/admin/v1/openapi.json", "", "If-None-Match: *")
	for _, path := range []string{"dead/77777", "parked/" + nobody, "nowhere"} {
		require.Equal(t, 404, admin.do(http.MethodGet, "/admin/v1/"+path, "").status)
	}
	require.Equal(t, 405, admin.do(http.MethodDelete, "/admin/v1/dead", "").status)
	for _, path := range append(posts, "dead/77777/retry", "dead/77777/discard", "parked/"+nobody+"/reject") {
		admin.do(http.MethodPost, "/admin/v1/"+path, decided, json, "Accept: text/html")
		admin.do(http.MethodPost, "/admin/v1/"+path, decided, json, "Host: evil.example")
		admin.do(http.MethodPost, "/admin/v1/"+path, `{"by":"op"}`, json)
		admin.do(http.MethodPost, "/admin/v1/"+path, `{"by":"`+strings.Repeat("a", 40_000)+`"}`, json)
		admin.do(http.MethodPost, "/admin/v1/"+path, decided, "Content-Type: text/plain")
		admin.do(http.MethodPost, "/admin/v1/"+path, decided, json)
	}
	for _, path := range []string{
		fmt.Sprintf("dead/%d/discard", first), fmt.Sprintf("dead/%d/retry", first+1), fmt.Sprintf("dead/%d/retry", first+2),
		"parked/" + behind.ID.String() + "/reject",
	} {
		admin.decide(path, decided)
	}
	admin.do(http.MethodGet, fmt.Sprintf("/admin/v1/dead/%d", first), "")
	admin.do(http.MethodGet, "/problems/not_parked", "")
	admin.do(http.MethodGet, "/problems/nonesuch", "")
	requireMet(t, checker, unseenByOperators)
}
