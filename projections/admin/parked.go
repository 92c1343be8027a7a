package admin

import (
	"context"
	"fmt"
	"net/http"

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
	all, err := a.config.Reader.Status(ctx, []commands.ID{id})
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

// notParked says what became of a command that does not wait any more.
func (a *API) notParked(o *commands.Outcome) error {
	became := "it landed"
	if !o.Landed() {
		became = "it was rejected: " + string(o.Reason)
	}
	p := problem.Newf(commands.NotParked, "%s, at position %s", became, commands.Position{Epoch: a.config.Epoch, N: o.Position})
	p.ID, p.Stream = o.ID, o.Stream
	p.Instance = "/v1/commands/" + o.ID.String()
	return p
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
	var err error
	select {
	case err = <-sent:
		if err == nil {
			return nil
		}
	case <-ctx.Done():
		err = fmt.Errorf("the bus has not confirmed it in time: %w", context.Cause(ctx))
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
