package query

import (
	"context"
	"errors"
	"fmt"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// States tells states to who pushes them, with the bounds that reads have on the code of types.
type States struct{ query *Query }

// States are those of the types that are served.
func (q *Query) States() States { return States{q} }

// StateOf is the state at the head of a record; nil before the first event.
func (s States) StateOf(ctx context.Context, record *store.Record) ([]byte, error) {
	state, err := s.query.stateOf(ctx, record)
	return state, passing(err)
}

// passing has the error that nothing can be told just now match the store's.
func passing(err error) error {
	if p, ok := errors.AsType[*problem.Problem](err); ok && p.Code == commands.Unavailable {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return err
}

// StateAt is a stream's state as of a version it has had; nil for version 0.
func (s States) StateAt(ctx context.Context, stream commands.Stream, version uint64) ([]byte, error) {
	t, err := s.query.typeOf(stream)
	if err != nil {
		return nil, err
	}
	state, err := s.query.stateAt(ctx, t, stream, version)
	return state, passing(err)
}

// Fold is the state after further events.
func (s States) Fold(ctx context.Context, stream commands.Stream, state []byte, events []commands.Event) ([]byte, error) {
	t, err := s.query.typeOf(stream)
	if err != nil {
		return nil, err
	}
	folded, err := s.query.folds.fold(ctx, t, state, events)
	return folded, passing(err)
}

func (q *Query) typeOf(stream commands.Stream) (aggregate.Type, error) {
	t, served := q.config.Type(stream.Type)
	if !served {
		return nil, fmt.Errorf("the type %s is not served", stream.Type)
	}
	return t, nil
}

// stateAt folds a stream up to a version, from the newest state that is kept below it.
func (q *Query) stateAt(ctx context.Context, t aggregate.Type, stream commands.Stream, version uint64) ([]byte, error) {
	kept, err := q.config.Reader.StateBefore(ctx, stream, version)
	if err != nil {
		return nil, fmt.Errorf("read a kept state: %w", err)
	}
	state, batch := kept.State, fewChanges
	for at := kept.Version; at < version; {
		changes, err := q.changes(ctx, stream, at, min(uint64(batch), version-at))
		if err != nil {
			return nil, err
		}
		events := make([]commands.Event, len(changes))
		for i := range changes {
			events[i] = changes[i].Event
		}
		if state, err = q.folds.fold(ctx, t, state, events); err != nil {
			return nil, err
		}
		at, batch = at+uint64(len(changes)), batch.next(changes)
	}
	return state, nil
}
