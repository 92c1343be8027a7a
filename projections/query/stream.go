package query

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/commands/problem"
)

func (q *Query) getStream(w http.ResponseWriter, r *http.Request) error {
	stream, t, err := q.stream(r)
	if err != nil {
		return err
	}
	values, err := parameters(r, "version")
	if err != nil {
		return err
	}
	version, asOf, err := number(values, "version", 0, math.MaxInt64)
	if err != nil {
		return err
	}
	record, err := q.head(w, r, stream, !asOf)
	if err != nil {
		return err
	}
	if asOf && version > record.Head.Version {
		return nothing(record, "the stream is at version "+strconv.FormatUint(record.Head.Version, 10)+" only")
	}
	if record.Head.Version == 0 || asOf && version == 0 {
		return nothing(record, "no event has happened on this stream as of version 0")
	}
	ticket := record.Head.Ticket()
	if unchanged(w, r, ticket.String()) {
		return nil
	}
	view := commands.StreamView{
		Stream: stream, Version: record.Head.Version, Ticket: ticket, At: record.Head.At,
		Position: commands.Position{Epoch: q.config.Epoch, N: record.Head.Position},
	}
	if asOf {
		err = q.asOf(r.Context(), t, &view, version)
	} else {
		view.State, err = q.stateOf(r.Context(), record)
	}
	if err != nil {
		return fmt.Errorf("tell the state of %s: %w", stream, err)
	}
	body := q.body()
	text := view.AppendTo((*body)[:0])
	write(w, headers.Revalidate, text)
	q.giveBack(body, text)
	return nil
}

// nothing is the problem of a state that there is not, with the ticket to go on with.
func nothing(record *store.Record, detail string) error {
	p := problem.New(commands.NotFound, detail)
	p.Stream, p.Ticket = record.Stream, record.Head.Ticket()
	return p
}

// head reads a stream. If the client has what is there and would rather wait, it waits for a change
// first; where that may be so is for the caller to say.
func (q *Query) head(w http.ResponseWriter, r *http.Request, stream commands.Stream, mayWait bool) (*store.Record, error) {
	seconds, asked := headers.Wait(r.Header["Prefer"])
	has := r.Header["If-None-Match"]
	if !asked || !mayWait || len(has) == 0 {
		return q.read(r.Context(), stream)
	}
	watch, ok := q.config.Watch(stream)
	if !ok {
		return q.read(r.Context(), stream)
	}
	defer watch.Close()
	w.Header()["Preference-Applied"] = headers.Applied(seconds)
	ctx, cancel := context.WithTimeout(r.Context(), time.Duration(seconds)*time.Second)
	defer cancel()
	for {
		record, err := q.read(r.Context(), stream)
		if err != nil {
			return nil, err
		}
		named, whatever := headers.NamesTag(has, record.Head.Ticket().String())
		if !named || whatever || watch.Changed(ctx) != nil {
			return record, nil
		}
	}
}

// read is a stream's head; that of a stream of which nothing is known is at version 0.
func (q *Query) read(ctx context.Context, stream commands.Stream) (*store.Record, error) {
	record, known, err := q.config.Reader.Head(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("read the head of %s: %w", stream, err)
	}
	if !known {
		record = &store.Record{Stream: stream}
	}
	return record, nil
}

// asOf fills in what a stream looked like at a version, from 1 up to the head's.
func (q *Query) asOf(ctx context.Context, t aggregate.Type, view *commands.StreamView, version uint64) error {
	state, err := q.stateAt(ctx, t, view.Stream, version)
	if err != nil {
		return err
	}
	last, err := q.changes(ctx, view.Stream, version-1, 1)
	if err != nil {
		return err
	}
	view.State, view.Version, view.At, view.Position.N = state, version, last[0].At, last[0].Position
	return nil
}

// changes reads exactly n changes, which are there.
func (q *Query) changes(ctx context.Context, stream commands.Stream, after, n uint64) ([]store.Change, error) {
	changes, err := q.config.Reader.Changes(ctx, stream, after, int(n)) //nolint:gosec // the callers' bounds are small
	if err == nil && uint64(len(changes)) != n {
		err = errors.New("events are missing")
	}
	if err != nil {
		return nil, fmt.Errorf("read the %d changes after version %d: %w", n, after, err)
	}
	return changes, nil
}
