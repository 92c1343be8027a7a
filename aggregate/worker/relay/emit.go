package relay

import (
	"context"
	"fmt"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/commands"
)

// mostKeys is how many routing keys of a batch are asked for one after another, at most. A batch of more is
// published in full.
const mostKeys = 16

const contentType = "application/json"

// audience is whether anybody listens to an exchange.
type audience struct {
	there bool
	asked time.Time // when somebody was found last
}

// place is one message of a batch: an event of an outcome, or with event 0 the outcome.
type place struct{ outcome, event int }

func (p place) before(q place) bool {
	return p.outcome < q.outcome || p.outcome == q.outcome && p.event < q.event
}

// emitter publishes events and outcomes to the exchanges.
type emitter struct {
	cfg      *Config
	identity store.Identity
	events   audience
	outcomes audience
	silent   bool // nobody wanted anything of the last batch
	tickets  tickets
	scratch  scratch
}

// scratch is memory that is used again.
type scratch struct {
	notices []bus.Notice
	keys    map[key]struct{}
}

type key struct{ stream, kind string }

// emit publishes what is to be said about outcomes, and returns once that is confirmed.
func (r *emitter) emit(ctx context.Context, batch []*commands.Outcome) error {
	if len(batch) == 0 {
		return nil
	}
	events, asked, err := r.ask(ctx, batch, &r.events, eventPlaces,
		func(o *commands.Outcome, i int) (bus.Notice, error) { return r.event(o, i), nil })
	if err != nil {
		return err
	}
	outcomes, askedToo, err := r.ask(ctx, batch, &r.outcomes, outcomePlaces,
		func(o *commands.Outcome, _ int) (bus.Notice, error) { return r.outcome(ctx, o, false) })
	if err != nil {
		return err
	}
	notices, unheard := r.scratch.notices[:0], 0
	told := outcomes.outcome < len(batch)
	if !told {
		r.tickets.forget()
	}
	for k, o := range batch {
		if told && o.Landed() {
			r.tickets.landed(o)
		}
		for i := range o.Events {
			if (place{k, i}).before(events) {
				unheard++
				continue
			}
			notices = append(notices, r.event(o, i))
		}
		if (place{k, 0}).before(outcomes) {
			unheard++
			continue
		}
		notice, err := r.outcome(ctx, o, true)
		if err != nil {
			return err
		}
		notices = append(notices, notice)
	}
	r.scratch.notices = notices
	defer clear(notices)
	if len(notices) > 0 {
		if err := r.cfg.Publisher.Publish(ctx, notices); err != nil {
			return fmt.Errorf("relay: publish positions %d to %d: %w", batch[0].Position, batch[len(batch)-1].Position, err)
		}
	}
	wanted := asked + askedToo
	r.silent = len(notices)+wanted == 0
	r.cfg.Metrics.Published(len(notices)+wanted, unheard-wanted)
	return nil
}

// unheard tells whether nobody wanted anything of the last batch.
func (r *emitter) unheard() bool { return r.silent }

// eventPlaces and outcomePlaces are how many messages there are of an outcome on each exchange, and their keys.
func eventPlaces(o *commands.Outcome) (n int, kind func(i int) string) {
	return len(o.Events), func(i int) string { return o.Events[i].Type }
}

func outcomePlaces(o *commands.Outcome) (n int, kind func(i int) string) {
	status := "rejected"
	if o.Landed() {
		status = "landed"
	}
	return 1, func(int) string { return status }
}

// ask finds out from which message of a batch on somebody listens: everything before that one reaches nobody. It
// publishes the first message of each routing key by itself until one is wanted, and counts that one; see the
// package comment.
func (r *emitter) ask(
	ctx context.Context, batch []*commands.Outcome, a *audience,
	places func(*commands.Outcome) (int, func(int) string), notice func(o *commands.Outcome, i int) (bus.Notice, error),
) (from place, wanted int, err error) {
	if r.cfg.Always || a.there && time.Since(a.asked) < r.cfg.AskEvery {
		return place{}, 0, nil
	}
	if r.scratch.keys == nil {
		r.scratch.keys = map[key]struct{}{}
	}
	keys := r.scratch.keys
	clear(keys)
	var last key
	for k, o := range batch {
		n, kind := places(o)
		for i := range n {
			this := key{o.Stream.Type, kind(i)}
			if this == last {
				continue
			}
			last = this
			if _, known := keys[this]; known {
				continue
			}
			keys[this] = struct{}{}
			if len(keys) > mostKeys {
				a.there, a.asked = true, time.Now()
				return place{k, i}, 0, nil
			}
			asking, err := notice(o, i)
			if err != nil {
				return place{}, 0, err
			}
			heard, err := r.cfg.Publisher.Offer(ctx, asking)
			if err != nil {
				return place{}, 0, fmt.Errorf("relay: publish position %d: %w", o.Position, err)
			}
			if heard {
				a.there, a.asked = true, time.Now()
				return place{k, i + 1}, 1, nil
			}
		}
	}
	if len(keys) > 0 {
		a.there = false
	}
	return place{outcome: len(batch)}, 0, nil
}

// event is the message about one event of a landing.
func (r *emitter) event(o *commands.Outcome, i int) bus.Notice {
	e := commands.NewCloudEvent(r.cfg.Source, r.identity.Epoch, o, i)
	return bus.Notice{
		Exchange: bus.EventsExchange, RoutingKey: commands.EventKey(o.Stream.Type, e.Type), MessageID: e.ID,
		ContentType: contentType, CorrelationID: o.CorrelationID, Headers: e.Headers(), Body: e.Data, Persistent: true,
	}
}

// outcome is the message about an outcome: what GET /v1/commands/{id} tells of it, without state and missed changes.
// In order are those whose landings before it were all told.
func (r *emitter) outcome(ctx context.Context, o *commands.Outcome, inOrder bool) (bus.Notice, error) {
	view := commands.ViewOutcome(r.identity.Epoch, o)
	if !o.Landed() {
		if err := r.tickets.fill(ctx, &view, inOrder); err != nil {
			return bus.Notice{}, err
		}
	}
	n := bus.Notice{
		Exchange: bus.OutcomesExchange, RoutingKey: commands.OutcomeKey(o), MessageID: view.Position.String(),
		ContentType: contentType, CorrelationID: o.CorrelationID, Body: view.AppendTo(make([]byte, 0, 384)), Persistent: true,
	}
	if o.TraceParent != "" {
		n.Headers = map[string]any{"traceparent": o.TraceParent}
	}
	return n, nil
}
