package hub

import (
	"context"
	"fmt"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// readTime bounds what telling a connection may read.
const readTime = 10 * time.Second

var null = []byte("null")

// render makes messages of what is owed.
func (h *Hub) render(c *Conn, t *turn) error {
	for i := range t.items {
		it := &t.items[i]
		if it.private != nil {
			m, known, err := h.renderPrivate(c, it.private)
			if err != nil {
				return err
			}
			if known {
				t.messages = append(t.messages, m)
			}
			continue
		}
		text, err := h.renderItem(it, c.deliver == DeliverTicket)
		if err != nil {
			return err
		}
		t.messages = append(t.messages, Message{commands.PushState, text})
	}
	return nil
}

// renderItem renders one landing, or several told at once. Watchers of one stream share the text.
func (h *Hub) renderItem(it *item, ticket bool) ([]byte, error) {
	if len(it.merged) == 0 {
		return h.renderLanding(it.landing, ticket)
	}
	if last := it.topic.merged.Load(); last != nil && last.first == it.first && last.last == it.landing.number && last.ticket == ticket {
		return last.text, nil
	}
	view, err := h.viewLanding(it.landing, ticket)
	if err != nil {
		return nil, err
	}
	view.Merged = it.landing.number - it.first + 1
	if !ticket {
		view.Events = make([]commands.ChangeView, 0, len(it.merged))
		for _, l := range it.merged {
			view.Events = h.appendEvents(view.Events, l.outcome)
		}
		view.Events = view.Events[max(0, len(view.Events)-commands.MaxMissed):]
	}
	text := oneLine(view.AppendTo(nil))
	it.topic.merged.Store(&mergedText{first: it.first, last: it.landing.number, ticket: ticket, text: text})
	return text, nil
}

func (h *Hub) renderLanding(l *landing, ticket bool) ([]byte, error) {
	variant := 0
	if ticket {
		variant = 1
	}
	if text := l.texts[variant].Load(); text != nil {
		return *text, nil
	}
	view, err := h.viewLanding(l, ticket)
	if err != nil {
		return nil, err
	}
	if !ticket {
		view.Events = h.appendEvents([]commands.ChangeView{}, l.outcome)
	}
	text := oneLine(view.AppendTo(nil))
	l.texts[variant].Store(&text)
	return text, nil
}

// viewLanding is a landing without its events.
func (h *Hub) viewLanding(l *landing, ticket bool) (commands.PushView, error) {
	o := l.outcome
	actor := viewActor(o)
	view := commands.PushView{Stream: o.Stream, Version: o.Version, Ticket: o.ID, Position: h.position(o.Position),
		Command: &actor, At: o.At}
	if ticket {
		return view, nil
	}
	state := l.state
	if !l.told {
		ctx, cancel := context.WithTimeout(h.ctx, readTime)
		defer cancel()
		var err error
		if state, err = h.config.States.StateAt(ctx, o.Stream, o.Version); err != nil {
			return view, fmt.Errorf("tell the state of %s at version %d: %w", o.Stream, o.Version, err)
		}
	}
	if view.State = state; state == nil {
		view.State = null
	}
	return view, nil
}

func (h *Hub) appendEvents(views []commands.ChangeView, o *commands.Outcome) []commands.ChangeView {
	for i := range o.Events {
		views = append(views, commands.ChangeView{
			Version: o.FirstVersion() + uint64(i), Position: h.position(o.Position),
			Type: o.Events[i].Type, Data: o.Events[i].Data, Command: viewActor(o), At: o.At,
		})
	}
	return views
}

func viewActor(o *commands.Outcome) commands.ActorView {
	return commands.ActorView{ID: o.ID, Type: o.Type, Actor: o.Actor, Override: o.Policy == commands.PolicyAny}
}

func (h *Hub) position(n uint64) commands.Position {
	return commands.Position{Epoch: h.config.Epoch, N: n}
}

// renderPrivate renders what only a session is told; known is false when there is nothing to tell.
func (h *Hub) renderPrivate(c *Conn, p *private) (m Message, known bool, err error) {
	ctx, cancel := context.WithTimeout(h.ctx, readTime)
	defer cancel()
	switch {
	case p.waiting != nil:
		return Message{commands.PushParked, p.waiting.AppendTo(nil)}, !c.ahead[p.waiting.ID], nil
	case p.outcome != nil:
		delete(c.ahead, p.outcome.ID)
		m, err = h.renderOutcome(ctx, p.outcome)
		return m, err == nil, err
	case p.answer.Ruling == aggregate.Conflict:
		view := commands.RefusedView{ID: p.answer.ID, Stream: p.answer.Stream, Code: commands.IDConflict,
			Detail: "another command has this id"}
		return Message{commands.PushRefused, view.AppendTo(nil)}, true, nil
	}
	return h.renderAgain(ctx, c, p.answer.ID, p.position)
}

// renderAgain tells a session that sent a command again what became of it. That may be more than it is told up to
// this position: that the command waits, which comes in between, is not told any more.
func (h *Hub) renderAgain(ctx context.Context, c *Conn, id commands.ID, position uint64) (m Message, known bool, err error) {
	found, err := h.config.Reader.Status(ctx, []commands.ID{id})
	if err != nil {
		return m, false, fmt.Errorf("read where a command stands: %w", err)
	}
	switch {
	case found[0].Outcome != nil:
		if found[0].Outcome.Position > max(position, c.privateAfter) {
			if c.ahead == nil {
				c.ahead = map[commands.ID]bool{}
			}
			c.ahead[id] = true
		}
		m, err = h.renderOutcome(ctx, found[0].Outcome)
		return m, err == nil, err
	case found[0].Waiting != nil:
		return Message{commands.PushParked, viewParked(&found[0]).AppendTo(nil)}, true, nil
	}
	return m, false, nil
}

func viewParked(s *commandStatus) *commands.ParkedView {
	return &commands.ParkedView{ID: s.ID, Stream: s.Waiting.Stream, WaitsFor: s.Waiting.Ticket, Until: s.Until}
}

func (h *Hub) renderOutcome(ctx context.Context, o *commands.Outcome) (Message, error) {
	if o.Landed() {
		view := commands.LandedView{ID: o.ID, Stream: o.Stream, Version: o.Version, Ticket: o.ID, Position: h.position(o.Position)}
		return Message{commands.PushLanded, view.AppendTo(nil)}, nil
	}
	view, err := h.config.Tell(ctx, o)
	if err != nil {
		return Message{}, fmt.Errorf("tell the rejection of %s: %w", o.ID, err)
	}
	return Message{commands.PushRejected, oneLine(view.AppendTo(nil))}, nil
}

// oneLine makes line breaks spaces. They are between the values of JSON, never inside.
func oneLine(text []byte) []byte {
	for i, c := range text {
		if c == '\n' || c == '\r' {
			text[i] = ' '
		}
	}
	return text
}
