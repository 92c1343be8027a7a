package worker_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/aggregate/worker"
	"github.com/ticketed/doorman/aggregate/worker/relay"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/frame"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
	"github.com/ticketed/doorman/commands"
)

// A sitting whose only content is somebody to be answered is committed; one of nothing but repeats is not.
func TestWhoIsToBeAnsweredIsWrittenWithItsBatch(t *testing.T) {
	r := start(t, newMemory(1), nil)
	first := command(1, "a", "add", commands.Genesis)
	r.send(first)
	commits := r.store.commits
	r.send(first)
	require.Equal(t, commits, r.store.commits)

	again, other := first, command(1, "a", "look", commands.Genesis)
	again.ReplyTo, again.CorrelationID = "answers", "7"
	other.ReplyTo = "answers"
	r.send(again)
	r.send(other)
	require.Equal(t, commits+2, r.store.commits)
	require.Equal(t, []store.Ask{
		{Stream: first.Stream, ID: first.ID, ReplyTo: "answers", CorrelationID: "7"},
		{Stream: first.Stream, ID: first.ID, ReplyTo: "answers", Conflict: true},
	}, r.store.asks)
}

// relayed is a worker with its relay, over connections of its own.
type relayed struct {
	worker     *worker.Worker
	relay      *relay.Relay
	subscriber *rabbitmq.Subscriber
	exchanges  *rabbitmq.Exchanges
}

const twoLanes = 2

func startRelayed(t *testing.T, s *postgres.Store, config rabbitmq.Config, replyPatience time.Duration) *relayed {
	t.Helper()
	r := &relayed{}
	var err error
	r.subscriber, err = rabbitmq.NewSubscriber(t.Context(), config)
	require.NoError(t, err)
	r.exchanges, err = rabbitmq.NewExchanges(t.Context(), config)
	require.NoError(t, err)
	r.relay, err = relay.New(relay.Config{Store: s, Publisher: r.exchanges, Source: "doorman/test", ReplyPatience: replyPatience})
	require.NoError(t, err)
	types, err := aggregate.NewRegistry(tally{})
	require.NoError(t, err)
	r.worker, err = worker.New(worker.Config{Store: s, Types: types, Subscriber: r.subscriber, Lanes: []int{0, 1}, Owner: t.Name(),
		Log: slog.New(slog.DiscardHandler), Acquired: r.relay.Acquired, Fenced: func() {},
		Observe: []func(store.Range, *aggregate.Result){r.relay.Observe}})
	require.NoError(t, err)
	r.relay.Start()
	require.NoError(t, r.worker.Start(t.Context()))
	t.Cleanup(r.stop)
	return r
}

// stop ends it; what it cannot do any more others do.
func (r *relayed) stop() {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = r.worker.Stop()
	_ = r.relay.Shutdown(ended)
	_ = r.subscriber.Close()
	_ = r.exchanges.Close()
}

// foreignQueue is the queue of another service.
func foreignQueue(t *testing.T, name string, args amqp.Table) *amqp.Channel {
	t.Helper()
	channel, err := rabbitmqtest.Connect(t).Channel()
	require.NoError(t, err)
	_, err = channel.QueueDeclare(name, false, false, false, false, args)
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = channel.QueueDelete(name, false, false, false) })
	return channel
}

// answers are what came to a queue, by what the requester calls it: a status or the code of a problem.
func answers(t *testing.T, channel *amqp.Channel, queue string) func(correlation string) string {
	t.Helper()
	deliveries, err := channel.Consume(queue, "", true, false, false, false, nil)
	require.NoError(t, err)
	got := map[string]string{}
	return func(correlation string) string {
		for late := time.After(patience); got[correlation] == ""; {
			var d amqp.Delivery
			select {
			case d = <-deliveries:
			case <-late:
				return ""
			}
			var body struct{ Status, Code any }
			require.NoError(t, json.Unmarshal(d.Body, &body))
			if kind, isText := body.Status.(string); isText {
				got[d.CorrelationId] = kind
			} else {
				got[d.CorrelationId] = body.Code.(string)
			}
		}
		return got[correlation]
	}
}

// asking is a command of somebody who wants to be told.
func asking(e commands.Envelope, queue, correlation string) commands.Envelope {
	e.ReplyTo, e.CorrelationID = queue, correlation
	return e
}

// DESIGN section 4, reply_to: at least once, to each requester, also when the command was parked over a takeover in
// between; and a queue that is gone or refuses keeps nobody else waiting.
func TestEveryRequesterIsAnsweredOverRabbitMQ(t *testing.T) {
	config := rabbitmqtest.Config(t)
	s, err := postgres.Open(t.Context(), postgres.Config{URL: postgrestest.URL(), Schema: postgrestest.Schema(t), Lanes: twoLanes, Migrate: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	publisher, err := rabbitmq.NewPublisher(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, publisher.Close()) })
	send := func(envelopes ...commands.Envelope) {
		for i := range envelopes {
			m := message.NewMessage(strconv.Itoa(i), frame.Append(nil, &envelopes[i]))
			require.NoError(t, publisher.Publish(bus.LaneTopic(envelopes[i].Stream.Lane(twoLanes)), m))
		}
	}
	first, second, full := config.Prefix+".a", config.Prefix+".b", config.Prefix+".full"
	told := answers(t, foreignQueue(t, first, nil), first)
	toldToo := answers(t, foreignQueue(t, second, nil), second)
	foreignQueue(t, full, amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"})

	const long = time.Hour // until what a queue does not take is passed over
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	through := config
	through.URL, through.AckEvery = proxy.URL(), time.Millisecond // what is not acknowledged is asked for again
	startRelayed(t, s, through, long)
	landed, parked := command(1, "a", "add", commands.Genesis), command(3, "b", "add", id(2))
	send(asking(landed, first, "landed"), asking(parked, first, "parked"), asking(parked, second, "again"))
	require.Equal(t, "landed", told("landed"))
	waiting := func(n int) {
		t.Helper()
		require.Eventually(t, func() bool {
			asks, err := s.Asked(t.Context(), []int{0, 1}, 0, 100)
			require.NoError(t, err)
			return len(asks) == n
		}, patience, 5*time.Millisecond)
	}
	waiting(1)

	proxy.Mute(true) // the worker is gone, as far as anybody can tell
	successor := startRelayed(t, s, config, long)
	proxy.Cut()
	send(asking(parked, second, "again later"))
	waiting(2)
	send(command(2, "b", "add", commands.Genesis))
	require.Equal(t, "landed", told("parked"))
	require.Equal(t, "landed", toldToo("again"))
	require.Equal(t, "landed", toldToo("again later"))

	other := command(1, "a", "look", commands.Genesis)
	send(asking(landed, config.Prefix+".nobody", "x"), asking(landed, full, "x"), asking(landed, full, "y"),
		asking(command(4, "a", "add", id(1)), full, "z"), asking(landed, second, "repeat"), asking(other, second, "conflict"),
		asking(command(5, "c", "refuse", commands.Genesis), first, "refused"))
	require.Equal(t, "landed", toldToo("repeat"))
	require.Equal(t, "id_conflict", toldToo("conflict"))
	require.Equal(t, "rejected", told("refused"), "nobody waits for a queue that refuses")
	successor.stop()
	startRelayed(t, s, config, time.Second)
	waiting(0) // what the full queue does not take is passed over after a while
}
