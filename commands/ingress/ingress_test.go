package ingress_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/ingress"
)

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestACommandTravelsWithWhatItsMessageSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := time.Date(2026, 11, 22, 9, 15, 30, 250_999, time.UTC)
	w.Now = func() time.Time { return at }
	w.start()
	d := w.give(with(message(command(first)), func(m *commands.Message) {
		m.Headers = map[string]any{"traceparent": trace}
	}))[0]
	require.True(t, d.isSettled())
	want := commands.Seal(commands.Command{ID: id(t, first), Stream: commands.Stream{Type: "order", ID: "42"}, Type: "submit",
		Ticket: commands.Genesis, Actor: "Ann"}, at)
	want.ReplyTo, want.CorrelationID, want.TraceParent = "billing.answers", "17", trace
	require.Equal(t, []commands.Envelope{want}, w.sent)
	require.Empty(t, w.buried)
	require.Empty(t, w.replies, "the outcome is told by others")
	require.Equal(t, map[commands.Reason]int{"": 1}, w.counts)
}

// The table of what is taken: what the command is in the end.
func TestWhatIsTaken(t *testing.T) {
	t.Parallel()
	without := `{"stream":"order/42","type":"submit","ticket":"genesis","actor":"Ann"}`
	for name, row := range map[string]struct {
		body   string
		change func(*commands.Message)
		id     string // any when empty
		actor  string
	}{
		"the body's id wins":                {command(first), func(m *commands.Message) { m.MessageID = second }, first, "Ann"},
		"an id of the body's alone":         {command(first), func(m *commands.Message) { m.MessageID = "not a UUID" }, first, "Ann"},
		"message_id is the id":              {without, func(m *commands.Message) { m.MessageID = strings.ToUpper(second) }, second, "Ann"},
		"no id at all":                      {without, func(*commands.Message) {}, "", "Ann"},
		"user_id is the actor":              {without, func(m *commands.Message) { m.UserID = "billing" }, "", "billing"},
		"a content type":                    {without, func(m *commands.Message) { m.ContentType = "application/json; charset=UTF-8" }, "", "Ann"},
		"no encoding":                       {without, func(m *commands.Message) { m.ContentEncoding = "Identity" }, "", "Ann"},
		"a character set":                   {without, func(m *commands.Message) { m.ContentEncoding = "utf-8" }, "", "Ann"},
		"an array's message_id is its own":  {"[" + without + "]", func(m *commands.Message) { m.MessageID = "batch 7" }, "", "Ann"},
		"an answer to another deployment":   {without, func(m *commands.Message) { m.ReplyTo = "doorman" }, "", "Ann"},
		"a direct answer":                   {without, func(m *commands.Message) { m.ReplyTo = "amq.rabbitmq.reply-to.g1h2" }, "", "Ann"},
		"a trace that is none":              {without, func(m *commands.Message) { m.Headers = map[string]any{"traceparent": 7} }, "", "Ann"},
		"it came back before":               {without, func(m *commands.Message) { m.Deliveries = 14 }, "", "Ann"},
		"correlation that is no text":       {without, func(m *commands.Message) { m.CorrelationID = "\xff\x00" }, "", "Ann"},
		"a size that nobody has looked for": {without, func(m *commands.Message) { m.Size = 0 }, "", "Ann"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).start()
			m := with(message(row.body), row.change)
			d := w.give(m)[0]
			require.True(t, d.isSettled())
			require.Empty(t, w.codes())
			require.Len(t, w.sent, 1)
			require.Equal(t, row.actor, w.sent[0].Actor)
			require.Equal(t, m.ReplyTo, w.sent[0].ReplyTo)
			require.Equal(t, m.CorrelationID, w.sent[0].CorrelationID)
			require.NotEqual(t, commands.None, w.sent[0].ID)
			if row.id != "" {
				require.Equal(t, id(t, row.id), w.sent[0].ID)
			}
		})
	}
}

// DESIGN section 4: validated exactly as over HTTP; a refused one is answered if it has reply_to, and always kept.
func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	without := `{"stream":"order/42","type":"submit","ticket":"genesis"}`
	as := func(change func(*commands.Message)) func(*commands.Message) { return change }
	asIs := as(func(*commands.Message) {})
	for name, row := range map[string]struct {
		body   string
		change func(*commands.Message)
		code   commands.Reason
		silent bool // no answer
	}{
		"no JSON":                        {"hello", asIs, commands.Malformed, false},
		"nothing":                        {"", asIs, commands.Malformed, false},
		"an empty array":                 {"[]", asIs, commands.Malformed, false},
		"an unknown member":              {`{"stream":"order/42","type":"submit","ticket":"genesis","now":true}`, asIs, commands.Malformed, false},
		"a message_id that is no UUID":   {without, func(m *commands.Message) { m.MessageID = "17" }, commands.Malformed, false},
		"a user_id that is no actor":     {without, func(m *commands.Message) { m.UserID = "\xff" }, commands.Malformed, false},
		"a user_id with control":         {without, func(m *commands.Message) { m.UserID = "a\nb" }, commands.Malformed, false},
		"an answer into a lane":          {without, func(m *commands.Message) { m.ReplyTo = "doorman.lane.3" }, commands.Malformed, true},
		"an answer into a later lane":    {without, func(m *commands.Message) { m.ReplyTo = "doorman.g7.lane.3" }, commands.Malformed, true},
		"another content type":           {without, func(m *commands.Message) { m.ContentType = "text/plain" }, commands.UnsupportedMediaType, false},
		"another character set":          {without, func(m *commands.Message) { m.ContentType = "application/json; charset=latin1" }, commands.UnsupportedMediaType, false},
		"an encoding":                    {without, func(m *commands.Message) { m.ContentEncoding = "gzip" }, commands.UnsupportedMediaType, false},
		"a large body":                   {strings.Repeat(" ", 256<<10) + without, asIs, commands.TooLarge, false},
		"a body of which a part is left": {without, func(m *commands.Message) { m.Size = 128 << 20 }, commands.TooLarge, false},
		"nested deeply":                  {`{"stream":"order/42","type":"submit","ticket":"genesis","data":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + "}", asIs, commands.Malformed, false},
		"an unknown type":                {`{"stream":"invoice/1","type":"send","ticket":"genesis"}`, asIs, commands.UnknownType, false},
		"a forbidden policy":             {`{"stream":"order/42","type":"submit","policy":"any"}`, asIs, commands.PolicyForbidden, false},
		"no ticket":                      {`{"stream":"order/42","type":"submit"}`, asIs, commands.TicketRequired, false},
		"it came back too often":         {without, func(m *commands.Message) { m.Deliveries = 15 }, commands.Internal, false},
		"nobody asked":                   {"{", func(m *commands.Message) { m.ReplyTo = "" }, commands.Malformed, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).start()
			m := with(message(row.body), row.change)
			d := w.give(m)[0]
			w.settles(d)
			require.Empty(t, w.sent)
			require.Equal(t, []commands.Reason{row.code}, w.codes())
			got := w.buried[0]
			require.Equal(t, ingress.Whole, got.Item)
			require.Equal(t, string(m.Body), string(got.Body))
			require.NotEmpty(t, got.Problem.Detail)
			require.Equal(t, map[commands.Reason]int{row.code: 1}, w.counts)
			if row.silent {
				require.Empty(t, w.replies)
				return
			}
			require.Len(t, w.replies, 1)
			reply := w.replies[0]
			require.Equal(t, "billing.answers", reply.To)
			require.Equal(t, "17", reply.CorrelationID)
			require.Same(t, got.Problem, reply.Problem)
			require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, reply.MessageID)
		})
	}
}

// Each command of an array is accepted or refused by itself; what is refused is kept with its own bytes.
func TestOfAnArrayEachCommandHasItsOwnEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	items := []string{
		command(first),
		`7`,
		`{"id":"` + second + `", "stream":"order/42", "type":"submit"}`, // no ticket
		`{"stream":"order/42","type":"submit","ticket":"` + second + `"}`,
		`{"id":"` + first + `","stream":"order/43","type":"submit","ticket":"genesis"}`,
		command(third),
	}
	d := w.give(with(message("[ "+strings.Join(items, " ,\n")+"]"), func(m *commands.Message) { m.UserID = "billing" }))[0]
	w.settles(d)
	require.Equal(t, []commands.ID{id(t, first), id(t, third)}, w.sentIDs())
	require.Equal(t, "billing", w.sent[0].Actor)
	require.Equal(t, []commands.Reason{commands.Malformed, commands.TicketRequired, commands.PredecessorRefused, commands.IDConflict}, w.codes())
	names := map[string]bool{}
	for i := range w.buried {
		require.Equal(t, i+1, w.buried[i].Item)
		require.Equal(t, items[i+1], string(w.buried[i].Body))
		require.Equal(t, len(items[i+1]), w.buried[i].Size)
		require.Same(t, w.buried[i].Problem, w.replies[i].Problem)
		require.Equal(t, "17", w.replies[i].CorrelationID)
		names[w.replies[i].MessageID] = true
	}
	require.Len(t, names, 4, "each answer has an id of its own")
	require.Equal(t, id(t, second), w.buried[1].Problem.ID)
	require.Equal(t, map[commands.Reason]int{"": 2, commands.Malformed: 1, commands.TicketRequired: 1, commands.PredecessorRefused: 1,
		commands.IDConflict: 1}, w.counts)
}

func TestAnAnswerHasTheSameIDWhenItsMessageComesAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	for range 2 {
		w.settles(w.give(message("{"))[0])
	}
	w.settles(w.give(message("["))[0])
	w.settles(w.give(with(message("{"), func(m *commands.Message) { m.CorrelationID = "18" }))[0])
	require.Len(t, w.replies, 4)
	require.Equal(t, w.replies[0].MessageID, w.replies[1].MessageID)
	require.NotEqual(t, w.replies[0].MessageID, w.replies[2].MessageID)
	require.NotEqual(t, w.replies[0].MessageID, w.replies[3].MessageID)
}

// What breaks here refuses the message instead of ending the process with it again and again.
func TestWhatBreaksHereRefusesTheMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Rules.Allows = func(streamType string, _ commands.Policy, _ string) (bool, bool) {
		if streamType == "broken" {
			panic("a rule is broken")
		}
		return true, true
	}
	w.start()
	given := w.give(message(`{"stream":"broken/1","type":"add","ticket":"genesis"}`), message(command(first)))
	w.settles(given[0])
	w.settles(given[1])
	require.Equal(t, []commands.Reason{commands.Internal}, w.codes())
	require.Contains(t, w.buried[0].Cause, "a rule is broken")
	require.Contains(t, w.buried[0].Cause, "ingress_test.go")
	require.NotContains(t, fmt.Sprint(w.replies[0].Problem), "a rule is broken", "the cause is for the log")
	require.Equal(t, []commands.ID{id(t, first)}, w.sentIDs())
}

func TestEverythingMissingIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := ingress.New(ingress.Config{})
	require.Error(t, err)
	for _, part := range []string{"Rules.Allows", "SendAll", "Ready", "Bury", "Reply", "Reserved"} {
		require.ErrorContains(t, err, "ingress: "+part+" is not given")
	}
}

func TestPropertiesAreToldToPeople(t *testing.T) {
	t.Parallel()
	m := &commands.Message{MessageID: "batch 7", AppID: "billing", Type: "order.submit", Expiration: "5000", Priority: 3, Persistent: true,
		SentAt: time.Date(2026, 11, 22, 9, 15, 30, 0, time.UTC), Deliveries: 2,
		Headers: map[string]any{
			"text": "ä", "bytes": []byte("b"), "binary": "\xff\x00", "yes": true, "nothing": nil, "small": int8(-3), "large": uint64(1 << 63),
			"half": 0.5, "list": []any{int32(1), "x"}, "table": table{"a": table{"b": int64(1)}},
		}}
	whole := ingress.Refused{Message: m, Item: ingress.Whole}
	require.JSONEq(t, `{"app_id":"billing","type":"order.submit","expiration":"5000","priority":3,"delivery_mode":2,"deliveries":2,
		"timestamp":"2026-11-22T09:15:30Z","headers":{"text":"ä","bytes":"b","binary":"base64:/wA=","yes":true,"nothing":null,"small":-3,
		"large":9223372036854775808,"half":0.5,"list":[1,"x"],"table":{"a":{"b":1}}}}`, string(whole.Properties()))
	one := ingress.Refused{Message: &commands.Message{MessageID: "batch 7"}, Item: 4}
	require.JSONEq(t, `{"item":4,"message_id":"batch 7"}`, string(one.Properties()))
	none := ingress.Refused{Message: &commands.Message{MessageID: first}, Item: ingress.Whole}
	require.Nil(t, none.Properties())
}

// table is a map of a library's own type.
type table map[string]any
