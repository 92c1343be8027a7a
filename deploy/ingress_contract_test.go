package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
	"github.com/ticketed/doorman/deploy/contracttest"
)

// row is one message of another service, and what becomes of it. In its texts $s is a stream of its own, of type
// tally, and $a to $d are ids of its own.
type row struct {
	name    string
	body    string
	message func(*amqp.Publishing)

	given   string   // a command that has landed before
	lands   []string // commands that come to land, by their ids
	rejects string   // the command that is rejected as stale
	refused []gone   // what is not accepted, in the order of the answers
	silent  bool     // nobody is answered
}

// gone is one refusal.
type gone struct {
	code  commands.Reason
	bytes string // of the dead letter; those of the body when empty
	id    string // that the problem names
}

const plainAdd = `{"stream":"$s","type":"add","ticket":"genesis","actor":"Ann","data":{"n":1}}`

func withID(id, ticket string) string {
	return fmt.Sprintf(`{"id":%q,"stream":"$s","type":"add","ticket":%q,"actor":"Ann","data":{"n":1}}`, id, ticket)
}

func as(change func(*amqp.Publishing)) func(*amqp.Publishing) { return change }

// DESIGN section 4: what becomes of every kind of message. Each command that is accepted is answered with its outcome,
// and each that is refused with a problem.
var rows = []row{
	{name: "a rejection", given: withID("$b", "genesis"), body: withID("$a", "genesis"), rejects: "$a"},
	{name: "a repeat", given: withID("$a", "genesis"), body: withID("$a", "genesis"), lands: []string{"$a"}},
	{name: "a command", body: withID("$a", "genesis"), lands: []string{"$a"}},
	{name: "no content type", body: withID("$a", "genesis"), message: as(func(m *amqp.Publishing) { m.ContentType = "" }), lands: []string{"$a"}},
	{name: "message_id is the id", body: plainAdd, message: as(func(m *amqp.Publishing) { m.MessageId = "$a" }), lands: []string{"$a"}},
	{name: "the body's id wins", body: withID("$a", "genesis"), message: as(func(m *amqp.Publishing) { m.MessageId = "$b" }), lands: []string{"$a"}},
	{name: "an array", body: "[" + withID("$b", "$a") + "," + withID("$a", "genesis") + "]", lands: []string{"$a", "$b"}},
	{name: "headers that no library reads", body: withID("$a", "genesis"),
		message: as(func(m *amqp.Publishing) { m.Headers = amqp.Table{"many": make([]any, 10_000)} }), lands: []string{"$a"}},
	{name: "an expiry that is far away", body: withID("$a", "genesis"), message: as(func(m *amqp.Publishing) { m.Expiration = "600000" }), lands: []string{"$a"}},
	{name: "a character set in the wrong place", body: withID("$a", "genesis"), message: as(func(m *amqp.Publishing) { m.ContentEncoding = "utf-8" }), lands: []string{"$a"}},
	{name: "not to be told", body: "{", message: as(func(m *amqp.Publishing) { m.ReplyTo = "" }), refused: []gone{{code: commands.Malformed}}, silent: true},
	{name: "told to a queue that is not there", body: "{", message: as(func(m *amqp.Publishing) { m.ReplyTo = "test_nobody.here" }),
		refused: []gone{{code: commands.Malformed}}, silent: true},
	{name: "told into a lane", body: withID("$a", "genesis"), message: as(func(m *amqp.Publishing) { m.ReplyTo = "$p.lane.0" }),
		refused: []gone{{code: commands.Malformed}}, silent: true},
	{name: "no JSON", body: "hello", refused: []gone{{code: commands.Malformed}}},
	{name: "an empty body", body: "", refused: []gone{{code: commands.Malformed}}},
	{name: "an unknown member", body: `{"stream":"$s","type":"add","ticket":"genesis","data":{"n":1},"now":true}`, refused: []gone{{code: commands.Malformed}}},
	{name: "a message_id that is no UUID", body: plainAdd, message: as(func(m *amqp.Publishing) { m.MessageId = "order 17" }), refused: []gone{{code: commands.Malformed}}},
	{name: "another content type", body: withID("$a", "genesis"), message: as(func(m *amqp.Publishing) { m.ContentType = "text/plain" }),
		refused: []gone{{code: commands.UnsupportedMediaType}}},
	{name: "compressed", body: withID("$a", "genesis"), message: as(func(m *amqp.Publishing) { m.ContentEncoding = "gzip" }),
		refused: []gone{{code: commands.UnsupportedMediaType}}},
	{name: "too large", body: strings.Repeat(" ", 256<<10) + withID("$a", "genesis"), refused: []gone{{code: commands.TooLarge}}},
	{name: "an unknown type", body: `{"id":"$a","stream":"bag/1","type":"add","ticket":"genesis"}`, refused: []gone{{code: commands.UnknownType, id: "$a"}}},
	{name: "a forbidden policy", body: `{"id":"$a","stream":"guarded/1","type":"add","ticket":"genesis","policy":"strict","data":{"n":1}}`,
		refused: []gone{{code: commands.PolicyForbidden, id: "$a"}}},
	{name: "no ticket", body: `{"id":"$a","stream":"$s","type":"add","data":{"n":1}}`, refused: []gone{{code: commands.TicketRequired, id: "$a"}}},
	{name: "an array that is none", body: "[" + withID("$a", "genesis"), refused: []gone{{code: commands.Malformed}}},
	{name: "an empty array", body: "[]", refused: []gone{{code: commands.Malformed}}},
	{
		name: "some of an array", body: "[" + strings.Join([]string{
			withID("$a", "genesis"), `"x"`, `{"id":"$b","stream":"$s","type":"add"}`, withID("$c", "$b"),
			`{"id":"$a","stream":"$s","type":"note","ticket":"genesis"}`, withID("$d", "$a"),
		}, ", ") + "]",
		lands: []string{"$a", "$d"},
		refused: []gone{
			{code: commands.Malformed, bytes: `"x"`},
			{code: commands.TicketRequired, bytes: `{"id":"$b","stream":"$s","type":"add"}`, id: "$b"},
			{code: commands.PredecessorRefused, bytes: withID("$c", "$b"), id: "$c"},
			{code: commands.IDConflict, bytes: `{"id":"$a","stream":"$s","type":"note","ticket":"genesis"}`, id: "$a"},
		},
	},
}

func TestTheContractOfCommandsOverRabbitMQ(t *testing.T) {
	t.Parallel()
	c, _, _ := overRabbitMQ(t)
	p, err := New(c, contracttest.Types())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	require.NoError(t, p.Start(t.Context()))
	call := newCaller(t, p.URL())
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			r.run(t, p, call, newService(t, c.RabbitMQPrefix))
		})
	}
	var metrics string
	require.Eventually(t, func() bool { // who is answered is let go of a moment later
		metrics = newCaller(t, p.AdminURL()).do("GET", "/metrics", "").body
		return strings.Contains(metrics, "doorman_ingress_messages 0\n")
	}, answerTime, 5*time.Millisecond)
	require.Regexp(t, `(?m)^doorman_ingress_accepted_total [1-9]`, metrics)
	require.Regexp(t, `(?m)^doorman_ingress_refused_total\{reason="ticket_required"\} 2$`, metrics)
	require.Regexp(t, `(?m)^doorman_ingress_bytes 0$`, metrics)
}

var named = regexp.MustCompile(`\$[a-z]`)

func (r *row) run(t *testing.T, p *Program, call *caller, s *service) {
	t.Helper()
	names := map[string]string{"$p": s.prefix, "$s": "tally/" + commands.NewID().String()}
	for c := 'a'; c <= 'd'; c++ {
		names["$"+string(c)] = commands.NewID().String()
	}
	fill := func(text string) string {
		return named.ReplaceAllStringFunc(text, func(name string) string { return names[name] })
	}
	m := s.ask(commands.NewID().String(), fill(r.body))
	if r.message != nil {
		r.message(&m)
	}
	m.MessageId, m.ReplyTo = fill(m.MessageId), fill(m.ReplyTo)
	m.AppId = "row"
	call.t = t
	if r.given != "" {
		before, err := commands.Decode([]byte(fill(r.given)))
		require.NoError(t, err)
		s.publish(amqp.Publishing{Body: []byte(fill(r.given))})
		call.landed(before.ID)
	}
	s.publish(m)

	outcomes := map[string]commands.Status{}
	for _, name := range r.lands {
		outcomes[fill(name)] = commands.StatusLanded
	}
	if r.rejects != "" {
		outcomes[fill(r.rejects)] = commands.StatusRejected
	}
	var problems []amqp.Delivery
	for !r.silent && len(outcomes)+len(r.refused)-len(problems) > 0 {
		d := s.answer()
		require.Equal(t, m.CorrelationId, d.CorrelationId)
		require.NotEmpty(t, d.MessageId)
		if d.ContentType == problem.ContentType {
			problems = append(problems, d)
			continue
		}
		require.Equal(t, "application/json", d.ContentType)
		var view commands.CommandView
		require.NoError(t, json.Unmarshal(d.Body, &view))
		require.Contains(t, outcomes, view.ID.String(), "%s", d.Body)
		require.Equal(t, outcomes[view.ID.String()], view.Status)
		require.Equal(t, call.settled(view.ID)[0].Position, view.Position, "what was told is what is so")
		delete(outcomes, view.ID.String())
	}
	letters := r.letters(t, p, m.CorrelationId)
	require.Len(t, letters, len(r.refused))
	for i, want := range r.refused {
		body := fill(want.bytes)
		if want.bytes == "" {
			body = string(m.Body)
		}
		letter := letters[i]
		require.Equal(t, want.code, letter.Reason)
		require.Equal(t, body[:min(len(body), store.MaxMessageBody)], string(letter.Message.Body))
		require.Equal(t, len(body), letter.Message.Size)
		require.Equal(t, m.ReplyTo, letter.Message.ReplyTo)
		require.Equal(t, s.prefix+".commands", letter.Message.Exchange)
		require.Equal(t, "some.key", letter.Message.RoutingKey)
		require.Contains(t, string(letter.Message.Properties), `"app_id":"row"`)
		require.Contains(t, letter.Cause, string(want.code))
		if r.silent {
			continue
		}
		refused := &problem.Problem{}
		require.NoError(t, json.Unmarshal(problems[i].Body, refused))
		require.Equal(t, want.code, refused.Code)
		require.Equal(t, want.code.Status(), refused.Status)
		require.Equal(t, fill(want.id), refused.ID.String())
		require.Contains(t, letter.Cause, refused.Detail)
	}
}

// letters are those of one message, in order, as soon as there are as many as there are to be.
func (r *row) letters(t *testing.T, p *Program, correlation string) (found []store.DeadLetter) {
	t.Helper()
	look := func() bool {
		found = nil
		all, err := p.store.DeadLetters(t.Context(), store.DeadQuery{Limit: 1000, Origin: store.OriginAMQP})
		require.NoError(t, err)
		for _, l := range all {
			if l.Message.CorrelationID != correlation {
				continue
			}
			whole, err := p.store.DeadLetter(t.Context(), l.N)
			require.NoError(t, err)
			found = append(found, whole)
		}
		return len(found) >= len(r.refused)
	}
	require.Eventually(t, look, answerTime, 5*time.Millisecond)
	return found
}

// A message of 128 MiB is refused like any other, and takes no memory to speak of.
func TestAHugeMessageIsRefused(t *testing.T) {
	t.Parallel()
	c, _, _ := overRabbitMQ(t)
	p, call := start(t, c)
	s := newService(t, c.RabbitMQPrefix)
	const size = 128 << 20
	first := create(`{}`)
	huge := s.ask("huge", "")
	huge.Body = bytes.Repeat([]byte("x"), size)
	s.publish(huge, amqp.Publishing{Body: first.AppendTo(nil)})
	d, refused := s.refusal()
	require.Equal(t, "huge", d.CorrelationId)
	require.Equal(t, commands.TooLarge, refused.Code)
	call.landed(first.ID)
	letters := (&row{refused: make([]gone, 1)}).letters(t, p, "huge")
	require.Equal(t, size, letters[0].Message.Size)
	require.Len(t, letters[0].Message.Body, store.MaxMessageBody)
}
