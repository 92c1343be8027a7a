package deploy

import (
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

// DESIGN section 4, reply_to: the outcome as GET /v1/commands/{id} tells it, to each requester.
func TestOtherServicesAreToldWhatBecameOfTheirCommands(t *testing.T) {
	t.Parallel()
	c, _, _ := overRabbitMQ(t)
	p, call := start(t, c)
	s := newService(t, c.RabbitMQPrefix)
	asGet := func(d amqp.Delivery, id commands.ID) {
		t.Helper()
		require.Equal(t, "application/json", d.ContentType)
		require.JSONEq(t, call.do("GET", "/v1/commands/"+id.String(), "").body, string(d.Body))
	}
	ask := func(command commands.Command, correlation string) {
		s.publish(s.ask(correlation, string(command.AppendTo(nil))))
	}

	first := create(`{"n":1}`)
	ask(first, "first")
	told := s.answer()
	require.Equal(t, "first", told.CorrelationId)
	asGet(told, first.ID)
	ask(first, "first")
	again := s.answer()
	asGet(again, first.ID)
	require.Equal(t, told.MessageId, again.MessageId, "by which a repeat is told")
	ask(patch(first.ID, `{"n":2}`), "second")
	s.answer()

	late := patch(first.ID, `{"n":3}`)
	ask(late, "late")
	rejected := s.answer()
	asGet(rejected, late.ID)
	require.Contains(t, string(rejected.Body), `"state":{"n":2}`)
	require.Contains(t, string(rejected.Body), `"missed":[{`)

	other := patch(first.ID, `{"n":4}`)
	other.ID = first.ID
	ask(other, "other")
	d, conflict := s.refusal()
	require.Equal(t, "other", d.CorrelationId)
	require.Equal(t, commands.IDConflict, conflict.Code)
	require.Equal(t, first.ID, conflict.ID)

	missing := commands.NewID()
	early := patch(missing, `{"n":5}`)
	ask(early, "early")
	require.Eventually(t, func() bool {
		view, err := call.Status(t.Context(), early.ID)
		require.NoError(t, err)
		return view[0].Status == commands.StatusParked
	}, answerTime, 5*time.Millisecond)
	ask(early, "early too")
	require.Eventually(t, func() bool {
		return matches(`(?m)^doorman_repeats_total 2$`, newCaller(t, p.AdminURL()).do("GET", "/metrics", "").body)
	}, answerTime, 5*time.Millisecond)
	awaited := patch(call.settled(late.ID)[0].Ticket, `{"n":6}`)
	awaited.ID = missing
	ask(awaited, "awaited")
	asked := map[string]commands.ID{"awaited": missing, "early": early.ID, "early too": early.ID}
	for len(asked) > 0 {
		d := s.answer()
		id, expected := asked[d.CorrelationId]
		require.True(t, expected, d.CorrelationId)
		asGet(d, id)
		delete(asked, d.CorrelationId)
	}
}

// DESIGN section 4: dead letters with the original message and why; a queue has them though nobody listens.
func TestOtherServicesAreToldOfDeadLetters(t *testing.T) {
	t.Parallel()
	c, _, _ := overRabbitMQ(t)
	_, call := start(t, c)
	s := newService(t, c.RabbitMQPrefix)
	s.publish(amqp.Publishing{Body: []byte(`{"session":"secret","stream":`), MessageId: "m-1", CorrelationId: "c-1"})
	var dead amqp.Delivery
	require.Eventually(t, func() bool {
		var some bool
		var err error
		dead, some, err = s.channel.Get(c.RabbitMQPrefix+".dead", true)
		require.NoError(t, err)
		return some
	}, answerTime, 5*time.Millisecond)
	require.Equal(t, `{"session":"…","stream":`, string(dead.Body))
	require.Equal(t, "m-1 c-1 amqp.malformed", dead.MessageId+" "+dead.CorrelationId+" "+dead.RoutingKey)
	require.Equal(t, "some.key", dead.Headers["x-doorman-routing-key"])
	require.Contains(t, dead.Headers["x-doorman-detail"], "malformed")
	require.EqualValues(t, 1, dead.Headers["x-doorman-number"])
	require.NoError(t, call.Ready(t.Context()))
}
