package deploy

import (
	"context"
	"encoding/json"
	"regexp"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// service is another service on the broker, with a queue that it is answered on.
type service struct {
	t       testing.TB
	channel *amqp.Channel
	prefix  string
	queue   string
	answers <-chan amqp.Delivery
}

func newService(t testing.TB, prefix string) *service {
	t.Helper()
	channel, err := rabbitmqtest.Connect(t).Channel()
	require.NoError(t, err)
	require.NoError(t, channel.Confirm(false))
	queue, err := channel.QueueDeclare("", false, true, true, false, nil)
	require.NoError(t, err)
	answers, err := channel.Consume(queue.Name, "", true, false, false, false, nil)
	require.NoError(t, err)
	return &service{t: t, channel: channel, prefix: prefix, queue: queue.Name, answers: answers}
}

// publish publishes messages and returns once each is confirmed.
func (s *service) publish(messages ...amqp.Publishing) {
	s.t.Helper()
	confirms := make([]*amqp.DeferredConfirmation, len(messages))
	for i, m := range messages {
		m.DeliveryMode = amqp.Persistent
		var err error
		confirms[i], err = s.channel.PublishWithDeferredConfirm(s.prefix+".commands", "some.key", true, false, m)
		require.NoError(s.t, err)
	}
	for _, confirm := range confirms {
		require.True(s.t, confirm.Wait())
	}
}

const answerTime = 2 * time.Minute // at most, on a busy machine

// answer is the next answer.
func (s *service) answer() amqp.Delivery {
	s.t.Helper()
	select {
	case d, open := <-s.answers:
		require.True(s.t, open)
		return d
	case <-time.After(answerTime):
		require.FailNow(s.t, "no answer came")
		return amqp.Delivery{}
	}
}

// refusal is the next answer that is a problem: what became of others of an array may be told before.
func (s *service) refusal() (amqp.Delivery, *problem.Problem) {
	s.t.Helper()
	d := s.answer()
	for d.ContentType != problem.ContentType {
		d = s.answer()
	}
	p := &problem.Problem{}
	require.NoError(s.t, json.Unmarshal(d.Body, p))
	return d, p
}

// ask is a message that wants an answer.
func (s *service) ask(correlation, body string) amqp.Publishing {
	return amqp.Publishing{ReplyTo: s.queue, CorrelationId: correlation, Body: []byte(body), ContentType: "application/json"}
}

// landed waits until commands have landed.
func (c *caller) landed(ids ...commands.ID) []commands.CommandView {
	c.t.Helper()
	views := c.settled(ids...)
	for _, view := range views {
		require.Equal(c.t, commands.StatusLanded, view.Status, "%s: %s %s", view.ID, view.Reason, view.Detail)
	}
	return views
}

// settled waits until commands have come to their outcomes.
func (c *caller) settled(ids ...commands.ID) (views []commands.CommandView) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), answerTime)
	defer cancel()
	for open := true; open; {
		var err error
		views, err = c.Status(ctx, ids...)
		require.NoError(c.t, err)
		open = false
		for _, view := range views {
			open = open || view.Status != commands.StatusLanded && view.Status != commands.StatusRejected
		}
		if open {
			pause(ctx, 5*time.Millisecond)
		}
	}
	return views
}

func matches(pattern, text string) bool { return regexp.MustCompile(pattern).MatchString(text) }
