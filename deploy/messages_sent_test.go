package deploy

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
	"github.com/ticketed/doorman/deploy/asyncapi/asyncapitest"
)

// mailing is a message that is sent, and what comes back: a status or a problem's code for each of its commands. In it
// $a to $e are ids, $s is a stream.
type mailing struct {
	name     string
	body     string
	with     func(*amqp.Publishing)
	comeBack []string
}

// mailings are sent one after another, each when the one before was answered; one of which nothing comes back yet is
// not waited for.
var mailings = []mailing{
	{"landed", `{"id":"$a","stream":"$s","type":"add","ticket":"genesis","data":{"n":1}}`, nil, []string{"landed"}},
	{"again", `{"id":"$a","stream":"$s","type":"add","ticket":"genesis","data":{"n":1}}`, nil, []string{"landed"}},
	{"under a known id", `{"id":"$a","stream":"$s","type":"add","ticket":"genesis","data":{"n":2}}`, nil, []string{"id_conflict"}},
	{"stale", `{"id":"$b","stream":"$s","type":"add","ticket":"genesis","data":{"n":1}}`, nil, []string{"stale_ticket"}},
	{"by message_id", `{"stream":"$s","type":"note","ticket":"$a"}`, func(p *amqp.Publishing) { p.MessageId = "$c" }, []string{"landed"}},
	{"who, and of what trace", `{"id":"$d","stream":"$s","type":"add","ticket":"$c","data":{"n":1},"actor":"nobody"}`, func(p *amqp.Publishing) {
		p.UserId, p.ContentType, p.ContentEncoding = "guest", "Application/JSON; charset=utf-8", "utf-8"
		p.Headers = amqp.Table{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "mine": int32(7)}
	}, []string{"landed"}},
	{"before its predecessor", `{"id":"$e","stream":"$s","type":"note","ticket":"$f"}`, nil, nil},
	{"its predecessor", `{"id":"$f","stream":"$s","type":"add","ticket":"$d","data":{"n":1}}`, nil, []string{"landed"}},
	{"several", `[{"stream":"$s","type":"note","ticket":"$f"},{"stream":"$s","type":"refuse","ticket":"$f"}]`, nil, []string{"landed", "refused"}},
	{"some refused", `[{"stream":"$s","type":"note","ticket":"$f"},{"stream":"ghost/1","type":"note","ticket":"genesis"}]`, nil,
		[]string{"landed", "unknown_type"}},
	{"no JSON", `{`, nil, []string{"malformed"}},
	{"no JSON to be", `{}`, func(p *amqp.Publishing) { p.ContentType = "text/plain" }, []string{"unsupported_media_type"}},
	{"no ticket", `{"stream":"$s","type":"note"}`, nil, []string{"ticket_required"}},
	{"too large", `{"stream":"$s","type":"note","ticket":"genesis","data":"` + strings.Repeat("x", 300<<10) + `"}`, nil, []string{"too_large"}},
}

// everyCommand is one of each command of each type, on a stream of its own.
func everyCommand(types []aggregate.Type) (all []mailing) {
	for _, t := range types {
		for _, c := range t.Commands() {
			data := `,"data":{"n":1}`
			if c.Name != "add" && c.Name != "set" {
				data = ""
			}
			all = append(all, mailing{
				name:     "every " + t.Name() + "." + c.Name,
				body:     fmt.Sprintf(`{"stream":"%s/%s","type":%q,"ticket":"genesis"%s}`, t.Name(), commands.NewID(), c.Name, data),
				comeBack: []string{cmp.Or(map[string]string{"refuse": "refused", "panic": "failed"}[c.Name], "landed")},
			})
		}
	}
	return all
}

// sendAll publishes the mailings as another service does, to be answered to the tap's own queue, and gives what was
// sent and not refused.
func (p *tap) sendAll(prefix string, all []mailing) (taken []*asyncapitest.Message) {
	p.t.Helper()
	require.NoError(p.t, p.channel.Confirm(false))
	pairs := []string{"$s", "tally/" + commands.NewID().String()}
	for _, name := range []string{"$a", "$b", "$c", "$d", "$e", "$f"} {
		pairs = append(pairs, name, commands.NewID().String())
	}
	fill := strings.NewReplacer(pairs...)
	for _, l := range all {
		m := amqp.Publishing{
			ContentType: "application/json", DeliveryMode: amqp.Persistent, ReplyTo: p.queue, CorrelationId: l.name, Body: []byte(fill.Replace(l.body)),
		}
		if l.with != nil {
			l.with(&m)
		}
		m.MessageId = fill.Replace(m.MessageId)
		confirm, err := p.channel.PublishWithDeferredConfirm(prefix+"."+rabbitmq.CommandsExchange, "any.key", true, false, m)
		require.NoError(p.t, err)
		require.True(p.t, confirm.Wait())
		if p.answered(&l) {
			taken = append(taken, passed(&amqp.Delivery{
				Exchange: prefix + "." + rabbitmq.CommandsExchange, RoutingKey: "any.key", Headers: m.Headers, Body: m.Body,
				ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, DeliveryMode: m.DeliveryMode, CorrelationId: m.CorrelationId,
				ReplyTo: m.ReplyTo, MessageId: m.MessageId, UserId: m.UserId,
			}))
		}
	}
	return taken
}

// answered waits for what comes back of a mailing, and tells whether none of it was refused for what was sent.
func (p *tap) answered(l *mailing) bool {
	p.t.Helper()
	refused, missing := false, map[string]int{}
	for _, want := range l.comeBack {
		missing[want]++
	}
	seen := 0
	p.await("an answer to "+l.name, func(came []amqp.Delivery) bool {
		for _, d := range came[seen:] {
			if d.Exchange != "" || d.CorrelationId != l.name {
				continue
			}
			for want := range missing {
				if !bytes.Contains(d.Body, []byte(`"`+want+`"`)) {
					continue
				}
				refused = refused || d.ContentType == problem.ContentType && want != string(commands.IDConflict)
				if missing[want]--; missing[want] == 0 {
					delete(missing, want)
				}
				break
			}
		}
		seen = len(came)
		return len(missing) == 0
	})
	return !refused
}
