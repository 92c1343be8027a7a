//go:build unix

package faults

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

// relayed switches on the audit of what is published to other services.
const relayed = true

const (
	publishedQueue   = "doorman.faults.audit"
	eventsExchange   = "doorman.events"
	outcomesExchange = "doorman.outcomes"

	// publishedWithin is how long after the last outcome everything is to have been published.
	publishedWithin = 15 * time.Second
	// quiet is for how long nothing may come before all that was published is taken to have come.
	quiet = 300 * time.Millisecond
)

// published holds what came to the exchanges for other services, by way of a queue that outlives the broker,
// against what committed (promise 9): everything at least once, first deliveries per stream in order, and
// nothing else. It knows the log from its beginning: a relay may repeat what was published long ago.
type published struct {
	url   string
	found *complaints

	events   map[place]*told
	outcomes map[commands.ID]*told
	newest   map[commands.Stream]told // of first deliveries: what was told last
	missing  int                      // of what committed
}

// place is where an event is.
type place struct {
	stream  commands.Stream
	version uint64
}

// told is one thing that committed, and whether it was published.
type told struct {
	position, version uint64
	id                string // of the message; empty: it was not
}

// message is one of those that came, as the history keeps it.
type message struct {
	Exchange   string     `json:"exchange"`
	RoutingKey string     `json:"routing_key"`
	MessageID  string     `json:"message_id"`
	Headers    amqp.Table `json:"headers"`
	Body       string     `json:"body"`
}

func newPublished(t *testing.T, url string, found *complaints) *published {
	t.Helper()
	p := &published{url: url, found: found, events: map[place]*told{}, outcomes: map[commands.ID]*told{}, newest: map[commands.Stream]told{}}
	if !relayed {
		return p
	}
	conn, err := amqp.Dial(url)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	channel, err := conn.Channel()
	require.NoError(t, err)
	_, err = channel.QueueDeclare(publishedQueue, true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
	require.NoError(t, err)
	for _, exchange := range []string{eventsExchange, outcomesExchange} {
		require.NoError(t, channel.ExchangeDeclare(exchange, amqp.ExchangeTopic, true, false, false, false, nil))
		require.NoError(t, channel.QueueBind(publishedQueue, "#", exchange, false, nil))
	}
	return p
}

// expect takes what has committed.
func (p *published) expect(rows []row, all map[commands.ID]*sent) {
	for _, r := range rows {
		p.outcomes[r.id] = &told{position: r.position}
		p.missing++
		s := all[r.id]
		if s == nil || !r.landed {
			continue
		}
		for i := range uint64(effects(s.Type)) {
			p.events[place{r.stream, r.version - i}] = &told{position: r.position}
			p.missing++
		}
	}
}

// audit takes everything that was published, and returns it.
func (p *published) audit(rows []row, all map[commands.ID]*sent) (came []message) {
	if !relayed {
		return nil
	}
	p.expect(rows, all)
	late := time.Now().Add(publishedWithin)
	for {
		more, err := p.drain(late)
		came = append(came, more...)
		if err == nil {
			break
		}
		if time.Now().After(late) {
			p.found.add("what was published cannot be read: %v", err)
			break
		}
	}
	if p.missing > 0 {
		p.found.add("%d events and outcomes that committed were not published within %s, such as %s (promise 9)",
			p.missing, publishedWithin, p.example())
	}
	return came
}

// drain takes what is in the queue until nothing is missing and nothing more comes, or it is late.
func (p *published) drain(late time.Time) (came []message, err error) {
	conn, err := amqp.Dial(p.url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	channel, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	if err := channel.Qos(1000, 0, false); err != nil {
		return nil, err
	}
	deliveries, err := channel.Consume(publishedQueue, "", false, false, false, false, nil)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	for {
		select {
		case d, ok := <-deliveries:
			if !ok {
				return came, fmt.Errorf("the broker ended the subscription")
			}
			p.take(&d)
			came = append(came, message{d.Exchange, d.RoutingKey, d.MessageId, d.Headers, string(d.Body)})
			if err := d.Ack(false); err != nil {
				return came, err
			}
		case <-timer.C:
			if p.missing == 0 || time.Now().After(late) {
				return came, nil
			}
		}
		timer.Reset(quiet)
	}
}

func (p *published) take(d *amqp.Delivery) {
	if d.Exchange == outcomesExchange {
		p.takeOutcome(d)
		return
	}
	stream, err := commands.ParseStream(text(d.Headers["cloudEvents_subject"]))
	version, position := number(d.Headers["cloudEvents_sequence"]), number(d.Headers["cloudEvents_position"])
	if err != nil || version == 0 || position == 0 || d.MessageId == "" {
		p.found.add("an event was published as %q with the headers %v: %v", d.MessageId, d.Headers, err)
		return
	}
	e := p.events[place{stream, version}]
	if e == nil || e.position != position {
		p.found.add("version %d of %s at %d was published and has not committed (promise 9)", version, stream, position)
		return
	}
	if e.id != "" {
		if e.id != d.MessageId {
			p.found.add("version %d of %s was published as %s and as %s", version, stream, e.id, d.MessageId)
		}
		return
	}
	e.id = d.MessageId
	p.missing--
	newest := p.newest[stream]
	if version != newest.version+1 {
		p.found.add("version %d of %s was published first after version %d (promise 9)", version, stream, newest.version)
	}
	newest.version = max(newest.version, version)
	p.newest[stream] = newest
}

func (p *published) takeOutcome(d *amqp.Delivery) {
	var view commands.CommandView
	if err := json.Unmarshal(d.Body, &view); err != nil {
		p.found.add("an outcome was published as %q: %v", d.Body, err)
		return
	}
	o := p.outcomes[view.ID]
	if o == nil || o.position != view.Position.N {
		p.found.add("an outcome was published that has not committed (promise 9): %s", d.Body)
		return
	}
	if want := view.Stream.Type + "." + string(view.Status); d.RoutingKey != want || view.State != nil || view.Missed != nil {
		p.found.add("an outcome was published with the key %q: %s", d.RoutingKey, d.Body)
	}
	if o.id != "" {
		return
	}
	o.id = "told"
	p.missing--
	newest := p.newest[view.Stream]
	if o.position < newest.position {
		p.found.add("the outcome at %d on %s was published first after that at %d", o.position, view.Stream, newest.position)
	}
	newest.position = o.position
	p.newest[view.Stream] = newest
}

// example is something that is missing.
func (p *published) example() string {
	for where, e := range p.events {
		if e.id == "" {
			return fmt.Sprintf("version %d of %s at %d", where.version, where.stream, e.position)
		}
	}
	for id, o := range p.outcomes {
		if o.id == "" {
			return fmt.Sprintf("the outcome of %s at %d", id, o.position)
		}
	}
	return "none"
}

func text(header any) string {
	s, _ := header.(string)
	return s
}

// number reads a header that holds one, alone or after an epoch; 0: it does not.
func number(header any) uint64 {
	s := fmt.Sprint(header)
	n, _ := strconv.ParseUint(s[strings.LastIndexByte(s, '-')+1:], 10, 64)
	return n
}
