package query

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/commands/problem"
)

// maxIDs is how many commands may be asked for at once (DESIGN section 3).
const maxIDs = 256

func (q *Query) getCommand(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	id, ok := commands.ParseID(r.PathValue("id"))
	if !ok {
		return problem.New(commands.Malformed, "a command's id is a UUID, and neither the nil nor the max UUID")
	}
	status, err := q.await(w, r, id)
	if err != nil {
		return err
	}
	if status.Outcome == nil && status.Waiting == nil {
		p := problem.New(commands.NotFound, "nothing is known of this command, or not yet")
		p.ID = id
		return p
	}
	view, err := (&moment{query: q}).view(r.Context(), status)
	if err != nil {
		return err
	}
	body := q.body()
	text := view.AppendTo((*body)[:0])
	write(w, headers.NoStore, text)
	q.giveBack(body, text)
	return nil
}

// await reads where a command stands, and waits for its outcome if the client asked for that.
func (q *Query) await(w http.ResponseWriter, r *http.Request, id commands.ID) (*store.CommandStatus, error) {
	seconds, asked := headers.Wait(r.Header["Prefer"])
	var waiter Waiter
	if asked {
		if waiter, asked = q.config.Register(id); asked {
			defer waiter.Close()
			w.Header()["Preference-Applied"] = headers.Applied(seconds)
		}
	}
	status, err := q.status(r.Context(), id)
	if err != nil || !asked || seconds == 0 || status.Outcome != nil {
		return status, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Duration(seconds)*time.Second)
	defer cancel()
	if outcome, _, err := waiter.Wait(ctx); err == nil {
		return &store.CommandStatus{ID: id, Outcome: outcome}, nil
	}
	return q.status(r.Context(), id)
}

func (q *Query) status(ctx context.Context, id commands.ID) (*store.CommandStatus, error) {
	all, err := q.config.Reader.Status(ctx, []commands.ID{id})
	if err != nil {
		return nil, fmt.Errorf("read where %s stands: %w", id, err)
	}
	return &all[0], nil
}

func (q *Query) getCommands(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "id")
	if err != nil {
		return err
	}
	texts := values["id"]
	if len(texts) == 0 || len(texts) > maxIDs {
		return problem.Newf(commands.Malformed, `the query parameter "id" must be given, and %d times at most`, maxIDs)
	}
	ids := make([]commands.ID, len(texts))
	for i, text := range texts {
		var ok bool
		if ids[i], ok = commands.ParseID(text); !ok {
			return problem.Newf(commands.Malformed, `the query parameter "id" must be a UUID each time; number %d is not`, i+1)
		}
	}
	all, err := q.config.Reader.Status(r.Context(), ids)
	if err != nil {
		return fmt.Errorf("read where %d commands stand: %w", len(ids), err)
	}
	m := &moment{query: q}
	answer := parts{w: w, cache: headers.NoStore} // what a rejection's sender missed may be large, for each
	body := q.body()
	text := append((*body)[:0], '[')
	for i := range all {
		view, err := m.view(r.Context(), &all[i])
		if err != nil {
			return answer.failed(err)
		}
		if i > 0 {
			text = append(text, ',')
		}
		text = answer.sent(view.AppendTo(text))
	}
	text = append(text, ']')
	answer.end(text)
	q.giveBack(body, text)
	return nil
}

// view tells where a command stands.
func (m *moment) view(ctx context.Context, status *store.CommandStatus) (commands.CommandView, error) {
	switch waiting := status.Waiting; {
	case status.Outcome != nil:
		return m.tell(ctx, status.Outcome)
	case waiting != nil:
		return commands.CommandView{
			ID: waiting.ID, Stream: waiting.Stream, Type: waiting.Type, Status: commands.StatusParked,
			WaitsFor: waiting.Ticket, Until: status.Until,
		}, nil
	}
	return commands.CommandView{ID: status.ID, Status: commands.StatusUnknown}, nil
}
