package deploy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// creations are the first commands of so many documents, as messages, and their ids.
func creations(n int) (messages []amqp.Publishing, ids []commands.ID) {
	for range n {
		c := create(`{}`)
		c.Stream.ID = c.ID.String()
		messages, ids = append(messages, amqp.Publishing{Body: c.AppendTo(nil)}), append(ids, c.ID)
	}
	return messages, ids
}

// Nothing is refused because the store or the bus is away or lanes change: it waits, and goes on by itself.
func TestCommandsOfOtherServicesWaitUntilTheyCanBeTaken(t *testing.T) {
	t.Parallel()
	c, way, broker := overRabbitMQ(t)
	t.Cleanup(func() { // after the program has ended
		require.NoError(t, rabbitmq.Drop(context.Background(), c.lanesOf(1, 16)))
	})
	p, call := start(t, c)
	s := newService(t, c.RabbitMQPrefix)
	metrics := newCaller(t, p.AdminURL())
	for name, server := range map[string]*cutWire{"store": way, "bus": broker} {
		server.set(true)
		require.Eventually(t, func() bool {
			return call.do("GET", "/readyz", "").status == http.StatusServiceUnavailable
		}, answerTime, 10*time.Millisecond, name)
		messages, ids := creations(100)
		s.publish(messages...)
		server.set(false)
		require.NoError(t, call.AwaitReady(t.Context()))
		call.landed(ids...)
	}
	messages, ids := creations(2000)
	s.publish(messages[:1000]...)
	_, err := changeLanes(t, c, 7, time.Minute)
	require.NoError(t, err)
	s.publish(messages[1000:]...)
	call.landed(ids[:1000]...)
	call.landed(ids[1000:]...)
	require.Eventually(t, func() bool {
		text := metrics.do("GET", "/metrics", "").body
		return matches(`(?m)^doorman_ingress_messages 0$`, text) && matches(`(?m)^doorman_ingress_accepted_total 2[23]\d\d$`, text)
	}, answerTime, 10*time.Millisecond)
	require.NotContains(t, metrics.do("GET", "/metrics", "").body, "doorman_ingress_refused_total{")
}

// What a program that stops has in hand is settled or given back: the next one goes on, and nothing is lost or doubled.
func TestAStopLosesNoCommandsOfOtherServices(t *testing.T) {
	t.Parallel()
	c, _, _ := overRabbitMQ(t)
	first, _ := start(t, c)
	s := newService(t, c.RabbitMQPrefix)
	messages, ids := creations(3000)
	var published int
	stopped := make(chan error, 1)
	for published < len(messages) {
		s.publish(messages[published : published+100]...)
		if published += 100; published == 1000 {
			go func() { stopped <- first.Stop() }()
		}
	}
	require.NoError(t, <-stopped)
	_, call := start(t, c)
	for len(ids) > 0 {
		n := min(len(ids), 256)
		call.landed(ids[:n]...)
		ids = ids[n:]
	}
}

// DESIGN section 4: order of publishing is not kept, that is what tickets are for.
func TestChainsOfOtherServicesLandInOrder(t *testing.T) {
	t.Parallel()
	c, _, _ := overRabbitMQ(t)
	_, call := start(t, c)
	s := newService(t, c.RabbitMQPrefix)
	const streams, steps = 40, 25
	var messages []amqp.Publishing
	var last []commands.ID
	for n := range streams {
		stream := commands.Stream{Type: "document", ID: fmt.Sprint("chain-", n)}
		ticket := commands.Genesis
		for step := range steps {
			next := commands.Command{ID: commands.NewID(), Stream: stream, Type: "patch", Ticket: ticket, Data: fmt.Appendf(nil, `{"step":%d}`, step)}
			if step == 0 {
				next.Type = "create"
			}
			messages = append(messages, amqp.Publishing{Body: next.AppendTo(nil)})
			ticket = next.ID
		}
		last = append(last, ticket)
	}
	rand.Shuffle(len(messages), func(i, j int) { messages[i], messages[j] = messages[j], messages[i] })
	s.publish(append(messages, messages[:len(messages)/20]...)...)
	for n, view := range call.landed(last...) {
		require.EqualValues(t, steps, view.Version)
		stream, err := call.Stream(t.Context(), view.Stream)
		require.NoError(t, err)
		require.JSONEq(t, fmt.Sprintf(`{"step":%d}`, steps-1), string(stream.State))
		require.Equal(t, last[n], stream.Ticket)
	}
}

// DESIGN section 4: the actor is who the broker says it is; the trace goes on to the event.
func TestAnEventTellsWhoCausedItAndWhy(t *testing.T) {
	t.Parallel()
	c, _, _ := overRabbitMQ(t)
	_, call := start(t, c)
	s := newService(t, c.RabbitMQPrefix)
	require.NoError(t, s.channel.QueueBind(s.queue, "#", c.RabbitMQPrefix+"."+bus.EventsExchange, false, nil))
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	first := create(`{}`)
	first.Actor = "somebody else"
	s.publish(amqp.Publishing{
		Body: first.AppendTo(nil), UserId: "guest", CorrelationId: "order 17", Headers: amqp.Table{"traceparent": trace},
	})
	d := s.answer()
	require.Equal(t, trace, d.Headers["traceparent"])
	require.Equal(t, "order 17", d.Headers["cloudEvents_correlationid"])
	require.Equal(t, first.ID.String(), d.Headers["cloudEvents_causationid"])
	changes, err := call.Events(t.Context(), first.Stream, 0, 10)
	require.NoError(t, err)
	require.Equal(t, "guest", changes[0].Command.Actor)
}

// Most clients ask over direct reply-to, which is no queue.
func TestADirectReplyTellsOfARefusal(t *testing.T) {
	t.Parallel()
	c, _, _ := overRabbitMQ(t)
	start(t, c)
	channel, err := rabbitmqtest.Connect(t).Channel()
	require.NoError(t, err)
	answers, err := channel.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
	require.NoError(t, err)
	s := &service{t: t, channel: channel, prefix: c.RabbitMQPrefix, queue: "amq.rabbitmq.reply-to", answers: answers}
	require.NoError(t, channel.Confirm(false))
	for n := range 3 {
		s.publish(s.ask(fmt.Sprint(n), "{"))
		d, refused := s.refusal()
		require.Equal(t, fmt.Sprint(n), d.CorrelationId)
		require.Equal(t, commands.Malformed, refused.Code)
	}
}

// Who sends another command under an id that is taken is told so, though the first one came another way.
func TestAnIDThatIsTakenIsToldToWhoSentItLater(t *testing.T) {
	t.Parallel()
	c, _, _ := overRabbitMQ(t)
	_, call := start(t, c)
	s := newService(t, c.RabbitMQPrefix)
	first := create(`{}`)
	_, err := call.Send(t.Context(), first, client.SendOptions{Wait: client.MaxWait})
	require.NoError(t, err)
	second := first
	second.Data = []byte(`{"other":true}`)
	s.publish(s.ask("17", string(second.AppendTo(nil))))
	d, refused := s.refusal()
	require.Equal(t, "17", d.CorrelationId)
	require.Equal(t, commands.IDConflict, refused.Code)
}

// A sender whose queue takes no answers keeps nobody waiting.
func TestAQueueThatRefusesAnswersStopsNobody(t *testing.T) {
	t.Parallel()
	c, _, _ := overRabbitMQ(t)
	c.answersFor = time.Hour
	_, call := start(t, c)
	s := newService(t, c.RabbitMQPrefix)
	full, err := s.channel.QueueDeclare("", false, true, true, false, amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"})
	require.NoError(t, err)
	var messages []amqp.Publishing
	for range 1000 {
		m := s.ask("refused", "{")
		m.ReplyTo = full.Name
		messages = append(messages, m)
	}
	good, ids := creations(1)
	s.publish(append(append(messages, s.ask("mine", "[")), good...)...)
	d, _ := s.refusal()
	require.Equal(t, "mine", d.CorrelationId)
	call.landed(ids...)
}

// A queue that is not as it should be is told, and turns no client away.
func TestAStrangeQueueForCommandsIsTold(t *testing.T) {
	t.Parallel()
	c, _, _ := overRabbitMQ(t)
	channel, err := rabbitmqtest.Connect(t).Channel()
	require.NoError(t, err)
	_, err = channel.QueueDeclare(c.RabbitMQPrefix+".commands", true, false, false, false, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeClassic})
	require.NoError(t, err)
	_, call := start(t, c)
	ready := call.do("GET", "/readyz", "")
	require.Equal(t, http.StatusOK, ready.status)
	require.Contains(t, ready.body, `"degraded":[{"part":"commands over RabbitMQ","detail":"`)
	require.Contains(t, ready.body, "inequivalent arg")
	_, err = channel.QueueDelete(c.RabbitMQPrefix+".commands", false, false, false)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return call.do("GET", "/readyz", "").body == `{"status":"ready"}` }, answerTime, 10*time.Millisecond)
}
