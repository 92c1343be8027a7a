package deploy

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/asyncapi/asyncapitest"
	"github.com/ticketed/doorman/deploy/contracttest"
)

// tap is another service, with a queue for everything that a program tells over its broker.
type tap struct {
	t       *testing.T
	channel *amqp.Channel
	queue   string
	reading sync.WaitGroup

	mu    sync.Mutex
	came  []amqp.Delivery
	grown chan struct{}
}

// newTap binds the queue. The exchanges must be there.
func newTap(t *testing.T, prefix string) *tap {
	t.Helper()
	channel, err := rabbitmqtest.Connect(t).Channel()
	require.NoError(t, err)
	p := &tap{t: t, channel: channel, grown: make(chan struct{})}
	queue, err := channel.QueueDeclare("", false, true, true, false, nil) // it ends with the connection
	require.NoError(t, err)
	p.queue = queue.Name
	for _, exchange := range []string{bus.EventsExchange, bus.OutcomesExchange, bus.DeadExchange} {
		require.NoError(t, channel.QueueBind(p.queue, "#", prefix+"."+exchange, false, nil))
	}
	deliveries, err := channel.Consume(p.queue, "", true, true, false, false, nil)
	require.NoError(t, err)
	p.reading.Go(func() {
		for d := range deliveries {
			p.mu.Lock()
			p.came = append(p.came, d)
			close(p.grown)
			p.grown = make(chan struct{})
			p.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = channel.Close() // it is not used any more
		p.reading.Wait()
	})
	return p
}

// await waits until what came is enough, and gives it.
func (p *tap) await(what string, enough func([]amqp.Delivery) bool) []amqp.Delivery {
	p.t.Helper()
	late := time.After(time.Minute)
	for {
		p.mu.Lock()
		came, grown := p.came, p.grown
		p.mu.Unlock()
		if enough(came) {
			return came
		}
		select {
		case <-grown:
		case <-late:
			require.FailNow(p.t, "in vain: "+what, "%d messages came", len(came))
		}
	}
}

// whole waits until each outcome of a log and all of its events came.
func (p *tap) whole(log []*commands.Outcome) []amqp.Delivery {
	p.t.Helper()
	missing, seen := map[string]bool{}, 0
	for _, o := range log {
		missing[fmt.Sprint(o.Position)] = true
		for i := range o.Events {
			missing[fmt.Sprintf("%d.%d", o.Position, i)] = true
		}
	}
	return p.await("all events and outcomes", func(came []amqp.Delivery) bool {
		for _, d := range came[seen:] {
			if told(&d) {
				delete(missing, d.MessageId[strings.LastIndexByte(d.MessageId, '-')+1:])
			}
		}
		seen = len(came)
		return len(missing) == 0
	})
}

// told: it is of an event or an outcome, and no answer or dead letter.
func told(d *amqp.Delivery) bool {
	return strings.HasSuffix(d.Exchange, "."+bus.EventsExchange) || strings.HasSuffix(d.Exchange, "."+bus.OutcomesExchange)
}

// letters waits until each dead letter came.
func (p *tap) letters(all []store.DeadLetter) {
	p.t.Helper()
	missing := map[int64]bool{}
	for i := range all {
		missing[int64(all[i].N)] = true //nolint:gosec // they count from 1
	}
	p.await("all dead letters", func(came []amqp.Delivery) bool {
		for _, d := range came {
			if n, is := d.Headers["x-doorman-number"].(int64); is {
				delete(missing, n)
			}
		}
		return len(missing) == 0
	})
}

// deadLetters are those in a schema.
func deadLetters(t *testing.T, c *Config) []store.DeadLetter {
	t.Helper()
	s, err := postgres.Open(t.Context(), postgres.Config{URL: postgrestest.URL(), Schema: c.PostgresSchema})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	all, err := s.DeadLetters(t.Context(), store.DeadQuery{Limit: 1000})
	require.NoError(t, err)
	return all
}

// passed is a delivery as the document's checker sees it.
func passed(d *amqp.Delivery) *asyncapitest.Message {
	m := &asyncapitest.Message{
		Exchange: d.Exchange, RoutingKey: d.RoutingKey, Headers: map[string]any(d.Headers), Body: d.Body, Properties: map[string]any{},
	}
	for name, value := range map[string]string{
		"content_type": d.ContentType, "content_encoding": d.ContentEncoding, "correlation_id": d.CorrelationId, "reply_to": d.ReplyTo,
		"expiration": d.Expiration, "message_id": d.MessageId, "type": d.Type, "user_id": d.UserId, "app_id": d.AppId,
	} {
		if value != "" {
			m.Properties[name] = value
		}
	}
	for name, value := range map[string]uint8{"delivery_mode": d.DeliveryMode, "priority": d.Priority} {
		if value != 0 {
			m.Properties[name] = value
		}
	}
	if !d.Timestamp.IsZero() {
		m.Properties["timestamp"] = d.Timestamp
	}
	return m
}

// wholeLog is what committed in a schema.
func wholeLog(t *testing.T, c *Config) (log []*commands.Outcome) {
	t.Helper()
	s, err := postgres.Open(t.Context(), postgres.Config{URL: postgrestest.URL(), Schema: c.PostgresSchema})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	for {
		page, err := s.Log(t.Context(), uint64(len(log)), 1000)
		require.NoError(t, err)
		if log = append(log, page...); len(page) == 0 {
			return log
		}
	}
}

// messagesDescribed is a checker of the document about messages that a program tells of itself.
func messagesDescribed(t *testing.T, url string) *asyncapitest.Checker {
	t.Helper()
	got := newCaller(t, url).do(http.MethodGet, "/asyncapi.json", "")
	require.Equal(t, http.StatusOK, got.status)
	checker, err := asyncapitest.New([]byte(got.body))
	require.NoError(t, err)
	return checker
}

// The whole program keeps the HTTP contract over RabbitMQ, and what it says of itself is true: of all that passes
// over HTTP and over the broker meanwhile, and all messages that it tells of have been seen. It is no parallel test:
// a broker or database that gets no processor for seconds is away, which the contract's table does not expect.
func TestContractOverRabbitMQ(t *testing.T) {
	config, _, _ := overRabbitMQ(t)
	p, err := New(config, contracttest.Types())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	require.NoError(t, p.Start(t.Context()))
	service := newTap(t, config.RabbitMQPrefix)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	checker, messages := described(t, p.URL()), messagesDescribed(t, p.URL())
	client := &http.Client{Transport: checker.Watch(transport)}
	t.Run("table", func(t *testing.T) {
		contracttest.Run(t, contracttest.Doorman{URL: p.URL(), Limits: p.limitsView(), Client: client,
			RejectParked: operator(t, p.AdminURL())})
	})
	askMore(t, client, p.URL())
	askToBeTold(t, client, p.URL())
	for _, kind := range []string{"guarded", "hasty"} { // which the table has little to do with
		id, stream := commands.NewID().String(), kind+"/"+commands.NewID().String()
		answer := ask(t, client, http.MethodPost, p.URL()+"/v1/commands", `[
			{"id":"`+id+`","stream":"`+stream+`","type":"add","ticket":"genesis","data":{"n":1}},
			{"stream":"`+stream+`","type":"set","ticket":"`+id+`","data":{"n":1}}]`, "Content-Type: application/json")
		require.Equal(t, "application/json", answer.Get("Content-Type"))
	}
	sent := service.sendAll(config.RabbitMQPrefix, append(everyCommand(contracttest.Types()), mailings...))
	tag := ask(t, client, http.MethodGet, p.URL()+"/asyncapi.json", "", "").Get("ETag")
	ask(t, client, http.MethodGet, p.URL()+"/asyncapi.json", "", "If-None-Match: "+tag)

	service.letters(deadLetters(t, config))
	require.NoError(t, p.Stop()) // what committed is published first
	for _, d := range service.whole(wholeLog(t, config)) {
		messages.Observe(passed(&d))
	}
	for _, m := range sent {
		messages.Observe(m)
	}
	require.Empty(t, messages.Complaints(), "all that passed is as the program's AsyncAPI document says")
	require.Equal(t, []string{"dead unreadable"}, messages.Unmet(), "all that the document tells of has passed, but for what takes "+
		"a broken frame: brought about in aggregate/worker")
	require.Empty(t, checker.Complaints(), "all that passed is as the program's OpenAPI document says")
	requireMet(t, checker, unseen)
}

// Without a broker there is nothing to describe, and that is said.
func TestThereAreNoMessagesWithoutABroker(t *testing.T) {
	t.Parallel()
	_, call := start(t, local(t))
	got := call.do(http.MethodGet, "/asyncapi.json", "")
	require.Equal(t, http.StatusNotFound, got.status)
	require.Contains(t, got.body, `"code":"not_found"`)
	require.Contains(t, got.body, "has no broker")
	require.NotContains(t, call.do(http.MethodGet, "/openapi.json", "").body, "asyncapi")
	require.NotContains(t, call.do(http.MethodGet, "/", "").body, "asyncapi")
}
