//go:build unix

package endtoend

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/cloudeventstest"
)

// argument is what follows the name of a setting on the command lines of a place.
func (p *place) argument(name string) string {
	return p.args[slices.Index(p.args, name)+1]
}

// listener is another service with a queue for all events and all outcomes.
type listener struct {
	t       *testing.T
	channel *amqp.Channel
	queue   string
	came    []amqp.Delivery
}

// listen makes a queue of another service, a quorum queue unless arguments are given. The exchanges must be there.
func listen(t *testing.T, p *place, name string, args amqp.Table) *listener {
	t.Helper()
	prefix := p.argument("--rabbitmq-prefix")
	t.Cleanup(func() { rabbitmqtest.DeleteQueues(t, prefix, name) })
	channel, err := rabbitmqtest.Connect(t).Channel()
	require.NoError(t, err)
	l := &listener{t: t, channel: channel, queue: prefix + "." + name}
	if args == nil {
		args = amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}
	}
	_, err = channel.QueueDeclare(l.queue, true, false, false, false, args)
	require.NoError(t, err)
	for _, exchange := range []string{"events", "outcomes"} {
		require.NoError(t, channel.QueueBind(l.queue, "#", prefix+"."+exchange, false, nil))
	}
	return l
}

// hear takes what comes until that is enough.
func (l *listener) hear(what string, enough func(*amqp.Delivery) bool) {
	l.t.Helper()
	deliveries, err := l.channel.ConsumeWithContext(soon(l.t), l.queue, "", true, false, false, false, nil)
	require.NoError(l.t, err)
	for d := range deliveries {
		l.came = append(l.came, d)
		if enough(&d) {
			return
		}
	}
	require.FailNow(l.t, "in vain: "+what, "%d messages came", len(l.came))
}

// DESIGN promise 9 and section 4: at least once, first deliveries per stream in order, nothing that did not commit,
// though workers are killed with kill -9 and others join while commands come.
func TestOtherServicesHearOfEverythingThoughWorkersDie(t *testing.T) {
	t.Parallel()
	random := seed(t)
	gate := overRabbitMQ(t)
	gateway := gate.start(t, "--roles", "gateway")
	staying, dying := gate.beside(t), gate.beside(t)
	stays := staying.start(t, "--roles", "worker")
	dies := dying.start(t, "--roles", "worker")
	service := listen(t, gate, "service", nil)

	load := newPlan(random, 60, 3)
	requests := load.requests()
	s := newSender(t, gate.url(), 8)
	s.add(requests)
	s.resume()
	for part := 1; part <= 3; part++ {
		s.await("commands are accepted", func() bool { return len(s.accepted) >= load.size*part/6 })
		linger(random)
		dies.kill()
		dies = dying.start(t, "--roles", "worker")
	}
	s.sendAll()
	s.add(alone(load.heldBack))
	s.sendAll()
	stand(t, gate, s.commands(), func(status commands.Status) bool {
		return status == commands.StatusLanded || status == commands.StatusRejected
	})
	log := wholeLog(t, gate)
	heard := newHeard(t, log)
	service.hear("all events and outcomes of the log", heard.take)
	dies.stop()
	stays.stop()
	gateway.stop()
	t.Logf("%d outcomes were told in %d messages", len(log), len(service.came))
}

// wholeLog is what committed, from the store itself.
func wholeLog(t *testing.T, p *place) (log []*commands.Outcome) {
	t.Helper()
	s, err := postgres.Open(t.Context(), postgres.Config{
		URL: strings.TrimPrefix(p.environ[0], "DOORMAN_POSTGRES_URL="), Schema: p.argument("--postgres-schema"),
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	for {
		page, err := s.Log(context.WithoutCancel(t.Context()), uint64(len(log)), 1000)
		require.NoError(t, err)
		if log = append(log, page...); len(page) == 0 {
			return log
		}
	}
}

// heard holds messages against the log.
type heard struct {
	t        *testing.T
	outcomes map[commands.ID]*commands.Outcome // of the log
	missing  map[string]bool                   // "<stream>@<version>", "<outcome's position>"
	newest   map[string]uint64                 // version by stream
	ids      map[string]string                 // message ids by what they are of
}

func newHeard(t *testing.T, log []*commands.Outcome) *heard {
	t.Helper()
	h := &heard{t: t, outcomes: map[commands.ID]*commands.Outcome{}, missing: map[string]bool{}, newest: map[string]uint64{}, ids: map[string]string{}}
	for _, o := range log {
		h.outcomes[o.ID] = o
		h.missing[strconv.FormatUint(o.Position, 10)] = true
		for i := range o.Events {
			h.missing[o.Stream.String()+"@"+strconv.FormatUint(o.FirstVersion()+uint64(i), 10)] = true
		}
	}
	return h
}

// take checks a message, and reports whether nothing is missing any more.
func (h *heard) take(d *amqp.Delivery) bool {
	var what string
	if strings.HasSuffix(d.Exchange, ".outcomes") {
		var view commands.CommandView
		require.NoError(h.t, json.Unmarshal(d.Body, &view))
		o := h.outcomes[view.ID]
		require.NotNil(h.t, o, "it did not commit: %s", d.Body)
		require.Equal(h.t, o.Position, view.Position.N)
		require.Equal(h.t, o.Reason, view.Reason)
		require.Equal(h.t, commands.OutcomeKey(o), d.RoutingKey)
		require.NotEqual(h.t, commands.None, view.Ticket, "the ticket to send next")
		require.Nil(h.t, view.State)
		what = strconv.FormatUint(o.Position, 10)
	} else {
		stream, sequence := d.Headers["cloudEvents_subject"].(string), d.Headers["cloudEvents_sequence"].(string)
		version, err := strconv.ParseUint(sequence, 10, 64)
		require.NoError(h.t, err)
		id, ok := commands.ParseID(d.Headers["cloudEvents_causationid"].(string))
		require.True(h.t, ok)
		o := h.outcomes[id]
		require.NotNil(h.t, o, "it did not commit: %v", d.Headers)
		event := o.Events[version-o.FirstVersion()]
		require.Equal(h.t, string(event.Data), string(d.Body))
		read, err := cloudeventstest.Read(d.Headers, d.ContentType, d.Body)
		require.NoError(h.t, err)
		require.Equal(h.t, d.MessageId, read.ID(), "the one that does not change when the event comes again")
		require.Equal(h.t, commands.EventKey(o.Stream.Type, event.Type), d.RoutingKey)
		if version > h.newest[stream] {
			require.Equal(h.t, h.newest[stream]+1, version, "first deliveries of %s in order", stream)
			h.newest[stream] = version
		}
		what = stream + "@" + sequence
	}
	require.Equal(h.t, cmp.Or(h.ids[what], d.MessageId), d.MessageId, "of %s", what)
	h.ids[what] = d.MessageId
	delete(h.missing, what)
	return len(h.missing) == 0
}

// DESIGN section 4: with each event goes the W3C trace context of the request that caused it, also when its command
// was parked over a restart in between.
func TestAnEventCarriesTheTraceOfItsRequest(t *testing.T) {
	t.Parallel()
	p := overRabbitMQ(t)
	server := p.start(t)
	service := listen(t, p, "service", nil)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	stream := commands.Stream{Type: "ledger", ID: commands.NewID().String()}
	first := command(stream, "add", commands.Genesis, added{1})
	second := command(stream, "add", first.ID, added{1})

	post(t, p, second, trace)
	stand(t, p, []*commands.Command{second}, func(status commands.Status) bool { return status == commands.StatusParked })
	server.kill()
	server = p.start(t)
	post(t, p, first, strings.ToUpper(trace))

	traces := map[string]any{}
	service.hear("both events", func(d *amqp.Delivery) bool {
		if strings.HasSuffix(d.Exchange, ".events") {
			traces[d.Headers["cloudEvents_causationid"].(string)] = d.Headers["traceparent"]
		}
		return len(traces) == 2
	})
	require.Equal(t, map[string]any{first.ID.String(): nil, second.ID.String(): trace}, traces, "a malformed one is passed over")
	server.stop()
}

// post sends one command with a trace context, again while it is told to.
func post(t *testing.T, p *place, c *commands.Command, trace string) {
	t.Helper()
	ctx, client := soon(t), newHTTP(t, 1)
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url()+"/v1/commands", bytes.NewReader(c.AppendTo(nil)))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Traceparent", trace)
		response, err := client.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		if response.StatusCode == http.StatusAccepted {
			return
		}
		require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
		after, err := strconv.Atoi(response.Header.Get("Retry-After"))
		require.NoError(t, err)
		time.Sleep(time.Duration(after) * time.Second)
	}
}
