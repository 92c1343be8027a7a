package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

var (
	failedID = commands.ID{0x01, 0x97, 15: 1}
	ticketID = commands.ID{0x01, 0x97, 15: 2}
)

// failed is the letter of a command that broke its type's code.
func failed() store.DeadLetter {
	env := commands.Seal(commands.Command{ID: failedID, Stream: stream42, Type: "add_line", Ticket: ticketID, Session: "a secret",
		Actor: "Ann", Data: []byte(`{"sku":"A1", "qty":2}`)}, noon)
	env.ReplyTo, env.CorrelationID = "answers", "c-1"
	return store.DeadLetter{Envelope: &env, Reason: commands.Failed, Cause: "panic: <nil>\ngoroutine 1"}
}

func unreadableFrame() store.DeadLetter {
	return store.DeadLetter{Envelope: &commands.Envelope{Command: commands.Command{Data: []byte("no frame\xff")}},
		Reason: commands.Malformed, Cause: "frame is corrupt at byte 0"}
}

func refusedMessage(body string) store.DeadLetter {
	return store.DeadLetter{Origin: store.OriginAMQP, Reason: commands.UnknownType, Cause: "no streams of the type bag are kept here",
		Message: &store.Message{Body: []byte(body), Size: len(body), ContentType: "application/json", MessageID: failedID.String(),
			ReplyTo: "answers", UserID: "shop", Exchange: "doorman.commands", RoutingKey: "any", Properties: []byte(`{"app_id":"shop"}`)}}
}

const (
	failedText = `"n":1,"at":"2026-03-01T12:00:00.000000Z","origin":"worker","reason":"failed","cause":"panic: <nil>\ngoroutine 1",
		"command":{"id":"01970000-0000-0000-0000-000000000001","stream":"order/42","type":"add_line","policy":"ticket","actor":"Ann",
			"ticket":"01970000-0000-0000-0000-000000000002","received_at":"2026-03-01T12:00:00.000000Z","data":{"sku":"A1","qty":2}}`
	openText = `{` + failedText + `,"decision":null}`
)

// members are the answer's, as far as a test looks at them.
func members(t *testing.T, text string) (all map[string]any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), &all), text)
	return all
}

func TestADeadLetterIsShownWhole(t *testing.T) {
	t.Parallel()
	w := around()
	w.bury(failed())
	w.bury(unreadableFrame())
	w.bury(refusedMessage(`{"stream":"bag/1","session": "a secret","type":"add"}`))
	require.JSONEq(t, openText, w.ask(t, "GET", "dead/1", "").text)
	require.Contains(t, w.ask(t, "GET", "dead/1", "").text, `"data":{"sku":"A1","qty":2}`, "compact")
	require.JSONEq(t, `{"n":3,"at":"2026-03-01T12:00:00.000000Z","origin":"worker","reason":"malformed","cause":"frame is corrupt at byte 0",
		"frame":{"size":9,"base64":"bm8gZnJhbWX/"},"decision":null}`, w.ask(t, "GET", "dead/3", "").text)
	require.JSONEq(t, `{"n":5,"at":"2026-03-01T12:00:00.000000Z","origin":"amqp","reason":"unknown_type",
		"cause":"no streams of the type bag are kept here","message":{"data":{"stream":"bag/1","session":"…","type":"add"},"size":53,
			"content_type":"application/json","message_id":"01970000-0000-0000-0000-000000000001","reply_to":"answers","user_id":"shop",
			"exchange":"doorman.commands","routing_key":"any","properties":{"app_id":"shop"}},"decision":null}`,
		w.ask(t, "GET", "dead/5", "").text)
	require.Equal(t, 404, w.ask(t, "GET", "dead/2", "").status)
	for _, path := range []string{"dead/x", "dead/-1", "dead/+1", "dead/99999999999999999999", "dead/1?x=1"} {
		require.Equal(t, 400, w.ask(t, "GET", path, "").status, path)
	}
	w.fails = store.ErrUnavailable
	require.Equal(t, 503, w.ask(t, "GET", "dead/1", "").status)
}

// A session is a secret of its client, also where what it is in cannot be read.
func TestNoSessionIsShown(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"session":"a secret"}`, `{"session" : "a \"secret\" secret"}`, `[{"session":"a secret"},`, `{"session":"a secret`, `{"session":a_secret}`,
		`{"data":{"session":"a secret"}}`, "{\"session\"\n:\t\"a secret\"}", `{"x":"\\","session":"a secret"}`,
	} {
		w := around()
		w.bury(refusedMessage(body))
		got := w.ask(t, "GET", "dead/1", "")
		require.Equal(t, 200, got.status)
		require.NotContains(t, got.text, "secret", body)
	}
}

func TestWhatIsNoJSONIsShownAsWhatItIs(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{`{"a":<1}`: `"data_text":"{\"a\":<1}"`, "\xff\x00": `"data_base64":"/wA="`, "": `"message":{"size":0,`} {
		w := around()
		w.bury(refusedMessage(body))
		require.Contains(t, w.ask(t, "GET", "dead/1", "").text, want)
	}
}

func TestDeadLettersAreListedInPages(t *testing.T) {
	t.Parallel()
	w := around()
	for n := range 5 {
		if n%2 == 0 {
			w.bury(failed())
		} else {
			w.bury(refusedMessage(`{}`))
		}
	}
	w.letters[1].Decision = store.Decision{Resolution: store.Discarded, At: noon, By: "Olga", Why: "a test"}
	w.letters[2].Decision = store.Decision{Resolution: store.Retried, At: noon, By: "Olga", Why: "a test", RetriedAs: ticketID}
	list := func(query string) string {
		got := w.ask(t, "GET", "dead"+query, "")
		require.Equal(t, 200, got.status, got.text)
		told := members(t, got.text)
		numbers := []string{}
		for _, item := range told["items"].([]any) {
			numbers = append(numbers, fmt.Sprint(item.(map[string]any)["n"]))
		}
		return strings.Join(numbers, " ") + fmt.Sprintf(" after %v", told["after"])
	}
	for query, want := range map[string]string{
		"": "1 7 9 after <nil>", "?decision=open": "1 7 9 after <nil>", "?decision=all": "1 3 5 7 9 after <nil>",
		"?decision=retried": "5 after <nil>", "?decision=discarded": "3 after <nil>", "?decision=all&origin=amqp": "3 7 after <nil>",
		"?decision=all&origin=worker": "1 5 9 after <nil>", "?decision=all&limit=2": "1 3 after 3", "?decision=all&limit=2&after=3": "5 7 after 7",
		"?decision=all&limit=2&after=7": "9 after <nil>", "?decision=all&limit=5": "1 3 5 7 9 after <nil>", "?after=9": " after <nil>",
	} {
		require.Equal(t, want, list(query), query)
	}
	require.JSONEq(t, `{"items":[{`+failedText+`,"decision":null}],"after":1}`, w.ask(t, "GET", "dead?limit=1", "").text)
	require.Contains(t, w.ask(t, "GET", "dead?decision=retried", "").text,
		`"decision":{"resolution":"retried","at":"2026-03-01T12:00:00.000000Z","by":"Olga","why":"a test","retried_as":"`+ticketID.String()+`"}`)
	for _, query := range []string{"?limit=0", "?limit=1001", "?limit=x", "?limit=+1", "?limit=1&limit=2", "?after=-1", "?decision=maybe",
		"?origin=elsewhere", "?what=1", "?%zz"} {
		got := w.ask(t, "GET", "dead"+query, "")
		require.Equal(t, 400, got.status, query)
		require.Equal(t, commands.Malformed, got.Code)
	}
}

// A retry is a new command under an id of its own, the same each time; the decision is kept with who, when and why.
func TestARetrySendsTheCommandAsANewOne(t *testing.T) {
	t.Parallel()
	w := around()
	w.bury(failed())
	w.later = func() { w.settle(commands.Outcome{ID: w.sent[0].ID, Position: 9, Version: 3}) }
	got := w.ask(t, "POST", "dead/1/retry", decided)
	require.Equal(t, 200, got.status, got.text)
	require.Len(t, w.sent, 1)
	sent, original := w.sent[0], failed().Envelope.Command
	require.NotEqual(t, failedID, sent.ID)
	original.ID, original.Session = sent.ID, ""
	require.Equal(t, commands.Seal(original, noon), sent, "nobody else is answered, and no session is told")
	told := members(t, got.text)
	require.Equal(t, map[string]any{"resolution": "retried", "at": "2026-03-01T12:00:00.000000Z", "by": "Olga", "why": "a mistake",
		"retried_as": sent.ID.String()}, told["decision"])
	require.Equal(t, "landed", told["retried"].(map[string]any)["status"])

	again := w.ask(t, "POST", "dead/1/retry", `{"by":"Ben","why":"I want to","ticket":"head"}`)
	require.Equal(t, 200, again.status)
	require.Equal(t, got.text, again.text, "it is told as it was decided")
	require.Len(t, w.sent, 1)
	discarded := w.ask(t, "POST", "dead/1/discard", decided)
	require.Equal(t, 409, discarded.status)
	require.Equal(t, commands.AlreadyDecided, discarded.Code)
	require.Equal(t, "Olga retried it at 2026-03-01T12:00:00.000000Z: a mistake", discarded.Detail)

	// What the bus has lost is sent once more, under the same id.
	delete(w.statuses, sent.ID)
	w.later = nil
	lost := w.ask(t, "POST", "dead/1/retry", decided)
	require.Equal(t, 200, lost.status)
	require.Len(t, w.sent, 2)
	require.Equal(t, sent.ID, w.sent[1].ID)
	require.Equal(t, "unknown", members(t, lost.text)["retried"].(map[string]any)["status"])
}

func TestARetryHasTheTicketThatIsAskedFor(t *testing.T) {
	t.Parallel()
	for asked, want := range map[string]commands.ID{
		"": ticketID, `,"ticket":"head"`: failedID, `,"ticket":"genesis"`: commands.Genesis, `,"ticket":"` + failedID.String() + `"`: failedID,
	} {
		w := around()
		w.bury(failed())
		w.head = &store.Record{Head: aggregate.Head{Action: failedID, Version: 7}}
		require.Equal(t, 200, w.ask(t, "POST", "dead/1/retry", `{"by":"Olga","why":"a"`+asked+`}`).status)
		require.Equal(t, want, w.sent[0].Ticket, asked)
	}
	w := around()
	w.bury(failed())
	require.Equal(t, 200, w.ask(t, "POST", "dead/1/retry", `{"by":"Olga","why":"a","ticket":"head"}`).status)
	require.Equal(t, commands.Genesis, w.sent[0].Ticket, "nothing has happened there yet")

	w = around()
	w.bury(failed())
	got := w.ask(t, "POST", "dead/1/retry", `{"by":"Olga","why":"a","ticket":"last"}`)
	require.Equal(t, 400, got.status)
	require.Equal(t, "/ticket", got.Pointer)
	require.Empty(t, w.sent)
}

// A retry that was sent and not noted, as when the process died in between, is noted by another one; meanwhile it
// cannot be discarded as if nothing had been sent.
func TestARetryThatWasNotNotedIsNotedByAnotherOne(t *testing.T) {
	t.Parallel()
	w := around()
	w.bury(failed())
	require.Equal(t, 200, w.ask(t, "POST", "dead/1/retry", decided).status)
	w.letters[0].Decision = store.Decision{}
	w.settle(commands.Outcome{ID: w.sent[0].ID})
	got := w.ask(t, "POST", "dead/1/discard", decided)
	require.Equal(t, 409, got.status)
	require.Contains(t, got.Detail, "its command was sent again as "+w.sent[0].ID.String())
	got = w.ask(t, "POST", "dead/1/retry", decided)
	require.Equal(t, 200, got.status)
	require.Len(t, w.sent, 1)
	require.Equal(t, store.Retried, w.letters[0].Decision.Resolution)
}

func TestALetterIsDiscardedOnce(t *testing.T) {
	t.Parallel()
	for _, letter := range []store.DeadLetter{failed(), unreadableFrame(), refusedMessage(`{}`)} {
		w := around()
		w.bury(letter)
		got := w.ask(t, "POST", "dead/1/discard", decided)
		require.Equal(t, 200, got.status, got.text)
		require.Equal(t, map[string]any{"resolution": "discarded", "at": "2026-03-01T12:00:00.000000Z", "by": "Olga", "why": "a mistake"},
			members(t, got.text)["decision"])
		again := w.ask(t, "POST", "dead/1/discard", `{"by":"Ben","why":"me too"}`)
		require.Equal(t, 200, again.status)
		require.Equal(t, got.text, again.text)
		if letter.Reason != commands.Malformed {
			w.Submit = func(context.Context, *store.Message, commands.ID) (commands.ID, error) { panic("it is discarded") }
			retried := w.ask(t, "POST", "dead/1/retry", decided)
			require.Equal(t, 409, retried.status)
			require.Equal(t, "Olga discarded it at 2026-03-01T12:00:00.000000Z: a mistake", retried.Detail)
		}
		require.Empty(t, w.sent)
	}
	w := around()
	require.Equal(t, 404, w.ask(t, "POST", "dead/1/discard", decided).status)
	got := w.ask(t, "POST", "dead/1/discard", `{"by":"Olga","why":"a","ticket":"head"}`)
	require.Equal(t, 400, got.status)
	require.Equal(t, "/ticket", got.Pointer)
}

// Whatever keeps a retry from being sent, its letter stays open.
func TestWhatIsNotSentStaysOpen(t *testing.T) {
	t.Parallel()
	long := refusedMessage(`{}`)
	long.Message.Size = 2 << 20
	refusedAgain := func(p *problem.Problem) func(*world) {
		return func(w *world) {
			w.Submit = func(context.Context, *store.Message, commands.ID) (commands.ID, error) { return commands.None, p }
		}
	}
	for name, test := range map[string]struct {
		letter store.DeadLetter
		change func(*world)
		body   string
		status int
		code   commands.Reason
		detail string
	}{
		"a frame":        {unreadableFrame(), nil, decided, 422, commands.NotRetriable, "no command in what could not be read"},
		"a part":         {long, nil, decided, 422, commands.NotRetriable, "of its 2097152 bytes the first 2 were kept"},
		"no RabbitMQ":    {refusedMessage(`{}`), nil, decided, 422, commands.NotRetriable, "not connected to RabbitMQ"},
		"its own ticket": {refusedMessage(`{}`), nil, `{"by":"Olga","why":"a","ticket":"head"}`, 400, commands.Malformed, "with its own ticket"},
		"refused again": {refusedMessage(`{}`), refusedAgain(problem.New(commands.UnknownType, "no bags here")), decided, 422, commands.NotRetriable,
			"it is refused again, as unknown_type: no bags here"},
		"a message for a bus that is full": {refusedMessage(`{}`), refusedAgain(problem.New(commands.RateLimited, "full")), decided, 429, commands.RateLimited, "full"},
		"a message for a bus that is away": {refusedMessage(`{}`), refusedAgain(problem.New(commands.Unavailable, "away")), decided, 503, commands.Unavailable, "away"},
		"a bus that is full": {failed(), func(w *world) {
			w.Send = func(_ *commands.Envelope, done func(error)) { done(errFull) }
		}, decided, 429, commands.RateLimited, "full"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := around()
			w.bury(test.letter)
			if test.change != nil {
				test.change(w)
			}
			got := w.ask(t, http.MethodPost, "dead/1/retry", test.body)
			require.Equal(t, test.status, got.status, got.text)
			require.Equal(t, test.code, got.Code)
			require.Contains(t, got.Detail, test.detail)
			require.Empty(t, w.letters[0].Decision)
		})
	}
}

// A refused message is taken in as it came, under the letter's id where it has none.
func TestARefusedMessageIsTakenInAgain(t *testing.T) {
	t.Parallel()
	w := around()
	w.bury(refusedMessage(`{"session":"a secret"}`))
	w.bury(refusedMessage(`{}`))
	var fallbacks []commands.ID
	w.Submit = func(_ context.Context, m *store.Message, fallback commands.ID) (commands.ID, error) {
		require.Contains(t, []string{`{"session":"a secret"}`, `{}`}, string(m.Body), "as it came")
		fallbacks = append(fallbacks, fallback)
		w.park(failedID, ticketID, stream42)
		return failedID, nil
	}
	got := w.ask(t, "POST", "dead/1/retry", decided)
	require.Equal(t, 200, got.status, got.text)
	told := members(t, got.text)
	require.Equal(t, failedID.String(), told["decision"].(map[string]any)["retried_as"])
	require.Equal(t, "parked", told["retried"].(map[string]any)["status"])
	require.NotContains(t, got.text, "secret")
	require.Equal(t, got.text, w.ask(t, "POST", "dead/1/retry", decided).text)
	require.Len(t, fallbacks, 1, "it is known, and not taken in twice")
	w.ask(t, "POST", "dead/3/retry", decided)
	require.NotEqual(t, fallbacks[0], fallbacks[1], "each letter has its own")
}

func TestWhatIsParkedIsListed(t *testing.T) {
	t.Parallel()
	w := around()
	id := func(n byte) commands.ID { return commands.ID{1, 15: n} }
	other := commands.Stream{Type: "order", ID: "43"}
	w.park(id(3), id(2), stream42) // before the one that it waits on
	w.park(id(2), id(1), stream42)
	w.park(id(9), id(1), other)
	w.park(id(4), id(3), stream42)
	w.park(id(5), id(8), stream42)
	list := func(query string) (ids string) {
		got := w.ask(t, "GET", "parked"+query, "")
		require.Equal(t, 200, got.status, got.text)
		require.NotContains(t, got.text, "secret")
		told := members(t, got.text)
		for _, item := range told["items"].([]any) {
			ids += item.(map[string]any)["id"].(string)[35:]
		}
		return ids + fmt.Sprintf(" after %v", told["after"])
	}
	for query, want := range map[string]string{
		"": "32945 after <nil>", "?limit=2": "32 after 13", "?after=13&limit=2": "94 after 19", "?after=19": "5 after <nil>",
		"?stream=order/43": "9 after <nil>", "?stream=order/44": " after <nil>", "?stream=order/42&limit=3": "324 after 19",
	} {
		require.Equal(t, want, list(query), query)
	}
	for _, query := range []string{"?stream=order", "?limit=x", "?session=a"} {
		require.Equal(t, 400, w.ask(t, "GET", "parked"+query, "").status, query)
	}
	item := func(n, waitsFor byte) string {
		return fmt.Sprintf(`"id":%q,"stream":"order/42","type":"add_line","actor":"Ann","waits_for":%q,
			"parked_at":"2026-03-01T12:00:00.000000Z","until":"2026-03-01T12:01:00.000000Z"`, id(n), id(waitsFor))
	}
	require.JSONEq(t, `{`+item(2, 1)+`,"policy":"ticket","received_at":"2026-03-01T12:00:00.000000Z","data":{"sku":"A1"},
		"waiting":[{`+item(3, 2)+`},{`+item(4, 3)+`}]}`, w.ask(t, "GET", "parked/"+id(2).String(), "").text)
	require.Contains(t, w.ask(t, "GET", "parked/"+id(5).String(), "").text, `"waiting":[]`)

	require.Equal(t, 404, w.ask(t, "GET", "parked/"+id(7).String(), "").status)
	w.settle(commands.Outcome{ID: id(7), Position: 12, Reason: commands.StaleTicket})
	got := w.ask(t, "GET", "parked/"+id(7).String(), "")
	require.Equal(t, 404, got.status)
	require.Equal(t, "it was rejected: stale_ticket, at position e1-12", got.Detail)
	require.Equal(t, 400, w.ask(t, "GET", "parked/x", "").status)
	require.Equal(t, 400, w.ask(t, "GET", "parked/"+id(2).String()+"?x=1", "").status)
}

// However much waits on a stream, all of it is looked at.
func TestALongChainIsShownWhole(t *testing.T) {
	t.Parallel()
	w := around()
	before := commands.ID{1}
	for n := range 2500 {
		id := commands.ID{2, 14: byte(n >> 8), 15: byte(n)}
		w.park(id, before, stream42)
		before = id
	}
	got := w.ask(t, "GET", "parked/"+commands.ID{2}.String(), "")
	require.Len(t, members(t, got.text)["waiting"], 2499)
}
