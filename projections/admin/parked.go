package admin

import (
	"context"
	"fmt"
	"net/http"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// commandID reads the id that a path names.
func commandID(r *http.Request) (commands.ID, error) {
	id, ok := commands.ParseID(r.PathValue("id"))
	if !ok {
		return id, problem.New(commands.Malformed, "a command's id is a UUID, and neither the nil nor the max UUID")
	}
	return id, nil
}

// status reads where a command stands, and fails when nothing is known of it.
func (a *API) status(ctx context.Context, id commands.ID) (*store.CommandStatus, error) {
	all, err := a.config.Store.Status(ctx, []commands.ID{id})
	if err != nil {
		return nil, fmt.Errorf("read where %s stands: %w", id, err)
	}
	if all[0].Outcome == nil && all[0].Waiting == nil {
		p := problem.New(commands.NotFound, "nothing is known of this command, or not yet")
		p.ID = id
		return nil, p
	}
	return &all[0], nil
}

// became says what a command came to that does not wait any more.
func (a *API) became(o *commands.Outcome) string {
	became := "it landed"
	if !o.Landed() {
		became = "it was rejected: " + string(o.Reason)
	}
	return became + ", at position " + commands.Position{Epoch: a.config.Epoch, N: o.Position}.String()
}

func (a *API) notParked(o *commands.Outcome) error {
	p := problem.New(commands.NotParked, a.became(o))
	p.ID, p.Stream = o.ID, o.Stream
	p.Instance = "/v1/commands/" + o.ID.String()
	return p
}

// listParked tells what is parked, in the order of parking.
func (a *API) listParked(w http.ResponseWriter, r *http.Request) error {
	p, err := pageOf(r, "stream")
	if err != nil {
		return err
	}
	query := store.ParkedQuery{After: p.after, Limit: p.limit + 1}
	if name := p.values.Get("stream"); name != "" {
		stream, err := commands.ParseStream(name)
		if err != nil {
			return problem.New(commands.Malformed, "the query parameter \"stream\": "+err.Error())
		}
		query.Stream = &stream
	}
	entries, err := a.config.Store.ParkedList(r.Context(), query)
	if err != nil {
		return fmt.Errorf("list what is parked: %w", err)
	}
	entries, after := pageEnd(entries, p.limit, func(e *store.ParkedEntry) uint64 { return e.N })
	view := ParkedListView{Items: make([]ParkedView, len(entries)), After: after}
	for i := range entries {
		view.Items[i] = viewParked(&entries[i].CommandStatus)
	}
	return answer(w, view)
}

// getParked tells of a command that waits, whole, and of all that waits on it.
func (a *API) getParked(w http.ResponseWriter, r *http.Request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	id, err := commandID(r)
	if err != nil {
		return err
	}
	status, err := a.status(r.Context(), id)
	if err != nil {
		return err
	}
	if status.Waiting == nil {
		p := problem.New(commands.NotFound, a.became(status.Outcome))
		p.ID, p.Stream = id, status.Outcome.Stream
		return p
	}
	waiting, err := a.waitingOn(r.Context(), status.Waiting)
	if err != nil {
		return err
	}
	return answer(w, ParkedWholeView{
		ParkedView: viewParked(status), Policy: status.Waiting.Policy.String(), ReceivedAt: Moment(status.Waiting.ReceivedAt),
		Payload: payloadOf(status.Waiting.Data), Waiting: waiting,
	})
}

// waitingOn lists what waits on a command, directly or not, in the order of parking. How much can wait on one stream
// is bounded.
func (a *API) waitingOn(ctx context.Context, root *aggregate.Waiting) ([]ParkedView, error) {
	var all []store.ParkedEntry
	for after, more := uint64(0), true; more; {
		stream := root.Stream
		entries, err := a.config.Store.ParkedList(ctx, store.ParkedQuery{Stream: &stream, After: after, Limit: maxPage})
		if err != nil {
			return nil, fmt.Errorf("list what is parked on %s: %w", stream, err)
		}
		if more = len(entries) == maxPage; more {
			after = entries[len(entries)-1].N
		}
		all = append(all, entries...)
	}
	byTicket := map[commands.ID][]commands.ID{}
	for i := range all {
		w := all[i].Waiting
		byTicket[w.Ticket] = append(byTicket[w.Ticket], w.ID)
	}
	on := map[commands.ID]bool{}
	for next := byTicket[root.ID]; len(next) > 0; {
		id := next[0]
		if next = next[1:]; !on[id] {
			on[id] = true
			next = append(next, byTicket[id]...)
		}
	}
	items := []ParkedView{}
	for i := range all {
		if on[all[i].ID] {
			items = append(items, viewParked(&all[i].CommandStatus))
		}
	}
	return items, nil
}

// rejectParked sends the order, and tells what comes of it. It may be asked for again as long as that is not known:
// of several orders about one command the first that arrives is carried out.
func (a *API) rejectParked(w http.ResponseWriter, r *http.Request) error {
	id, err := commandID(r)
	if err != nil {
		return err
	}
	d, err := decode(r)
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeout(r.Context(), a.config.Within)
	defer cancel()
	waiter, ok := a.config.Register(id)
	if !ok {
		return problem.New(commands.RateLimited, "too many wait for what becomes of their commands")
	}
	defer waiter.Close()
	status, err := a.status(r.Context(), id)
	if err != nil {
		return err
	}
	if status.Outcome != nil {
		return a.answerRejected(w, r, status.Outcome)
	}
	order := commands.RejectOrder(id, status.Waiting.Stream.Clone(), d.by, d.why, a.config.Now())
	if err := a.send(within, &order); err != nil {
		return err
	}
	a.config.Log.Info("an operator rejects a parked command", "command_id", id, "stream", order.Stream.String(), "by", d.by, "why", d.why)
	outcome, _, err := waiter.Wait(within)
	if err == nil {
		return a.answerRejected(w, r, outcome)
	}
	if status, err = a.status(r.Context(), id); err != nil {
		return err
	}
	if status.Outcome != nil {
		return a.answerRejected(w, r, status.Outcome)
	}
	view := parkedView(status)
	write(w, http.StatusAccepted, view.AppendTo(nil))
	return nil
}

// send hands something to the bus and waits until it is durable there.
func (a *API) send(ctx context.Context, env *commands.Envelope) error {
	sent := make(chan error, 1)
	a.config.Send(env, func(err error) { sent <- err })
	select {
	case err := <-sent:
		return a.refusal(env, err)
	case <-ctx.Done():
	}
	select {
	case err := <-sent: // just in time
		return a.refusal(env, err)
	default:
		return a.refusal(env, fmt.Errorf("the bus has not confirmed it in time: %w", context.Cause(ctx)))
	}
}

// refusal tells what an error of the bus means to who asked; nil when there is none.
func (a *API) refusal(env *commands.Envelope, err error) error {
	if err == nil {
		return nil
	}
	p := problem.New(a.config.Refusal(err), err.Error())
	if p.ID, p.Stream = env.ID, env.Stream; env.Order != commands.NoOrder {
		p.ID = env.Ticket
	}
	return p
}

// answerRejected tells of a command that has ended: as asked for, or otherwise.
func (a *API) answerRejected(w http.ResponseWriter, r *http.Request, o *commands.Outcome) error {
	if o.Reason != commands.RejectedByOperator {
		return a.notParked(o)
	}
	view, err := a.config.Tell(r.Context(), o)
	if err != nil {
		return fmt.Errorf("tell the outcome of %s: %w", o.ID, err)
	}
	write(w, http.StatusOK, view.AppendTo(nil))
	return nil
}

func parkedView(status *store.CommandStatus) commands.CommandView {
	w := status.Waiting
	return commands.CommandView{ID: w.ID, Stream: w.Stream, Type: w.Type, Status: commands.StatusParked,
		WaitsFor: w.Ticket, Until: status.Until}
}
