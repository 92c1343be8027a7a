package sqlite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/record"
	"github.com/ticketed/doorman/aggregate/store/sqlite/engine"
	"github.com/ticketed/doorman/commands"
)

// Lookup tells what is known of ids; see store.Lanes. One statement run for each id beats lists of ids: there
// is no text to parse, and a row costs the same.
func (s *Store) Lookup(ctx context.Context, ids []commands.ID) ([]aggregate.Fact, error) {
	facts := make([]aggregate.Fact, len(ids))
	var seen uint64
	err := s.readers.read(ctx, "look up", func(r *reader) error {
		for i := range ids {
			position, err := r.fact(&ids[i], &facts[i])
			if err != nil {
				return err
			}
			seen = max(seen, position)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return facts, s.view.await(ctx, seen)
}

func (r *reader) fact(id *commands.ID, fact *aggregate.Fact) (position uint64, err error) {
	s := r.outcomeByID
	bindID(s, 1, id)
	found, err := s.Step()
	if err != nil {
		return 0, err
	}
	if found {
		defer s.Reset()
		fact.Stream = parseStreamName(s.Text(logStream))
		if err := record.Fact(s.View(logBody), fact); err != nil {
			return 0, fmt.Errorf("command %s: %w", id, err)
		}
		fact.RootReason = commands.Reason(strings.Clone(string(fact.RootReason))) // it outlives the row
		if fact.Standing == aggregate.Landed {
			fact.Version = uint64(s.Int(logVersion))
		}
		return uint64(s.Int(logPosition)), nil
	}
	s = r.parkedByID
	bindID(s, 1, id)
	if found, err = s.Step(); err != nil || !found {
		return 0, err
	}
	defer s.Reset()
	fact.Standing, fact.Stream = aggregate.Parked, parseStreamName(s.Text(waitingStream))
	fact.Hash, err = record.EnvelopeHash(s.View(waitingBody))
	return 0, err
}

// Status tells where commands stand; see store.Reader.
func (s *Store) Status(ctx context.Context, ids []commands.ID) ([]store.CommandStatus, error) {
	found := make([]store.CommandStatus, len(ids))
	var seen uint64
	err := s.readers.read(ctx, "read status", func(r *reader) error {
		for i, id := range ids {
			found[i].ID = id
			if err := r.status(&found[i]); err != nil {
				return err
			}
			if found[i].Outcome != nil {
				seen = max(seen, found[i].Outcome.Position)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.view.await(ctx, seen); err != nil {
		return nil, err
	}
	s.fillUntil(found)
	return found, nil
}

func (r *reader) status(status *store.CommandStatus) error {
	s := r.outcomeByID
	bindID(s, 1, &status.ID)
	found, err := s.Step()
	if err != nil {
		return err
	}
	if found {
		defer s.Reset()
		status.Outcome, err = decodeRow(s)
		return err
	}
	s = r.parkedByID
	bindID(s, 1, &status.ID)
	if found, err = s.Step(); err != nil || !found {
		return err
	}
	defer s.Reset()
	status.Waiting, err = decodeWaiting(s)
	return err
}

func (s *Store) fillUntil(found []store.CommandStatus) {
	s.view.mu.RLock()
	clocks := s.view.clocks
	s.view.mu.RUnlock()
	now := time.Now()
	for i := range found {
		if w := found[i].Waiting; w != nil {
			found[i].Until = clocks[w.Stream.Lane(len(clocks))].until(w.Deadline, now)
		}
	}
}

// waiting reads what is parked on a stream, in the order of parking.
func (r *reader) waiting(name commands.Stream) ([]*aggregate.Waiting, error) {
	s := r.parkedOnStream
	s.BindText(1, streamName(name))
	var waiting []*aggregate.Waiting
	for {
		row, err := s.Step()
		if err != nil || !row {
			return waiting, err
		}
		w, err := decodeWaiting(s)
		if err != nil {
			s.Reset()
			return nil, err
		}
		waiting = append(waiting, w)
	}
}

func decodeWaiting(row *engine.Stmt) (*aggregate.Waiting, error) {
	w := &aggregate.Waiting{Seq: uint64(row.Int(waitingSeq)), Deadline: time.Duration(row.Int(waitingDeadline)),
		ParkedAt: time.UnixMicro(row.Int(waitingParkedAt)).UTC()}
	w.ID, w.Stream = idAt(row, waitingID), parseStreamName(row.Text(waitingStream))
	if err := record.DecodeEnvelope(row.Blob(waitingBody), &w.Envelope); err != nil {
		return nil, fmt.Errorf("parked command %s: %w", w.ID, err)
	}
	return w, nil
}

// Backlog lists what is parked on lanes; see store.Lanes.
func (s *Store) Backlog(ctx context.Context, lanes []int) ([]store.Parked, error) {
	var parked []store.Parked
	err := s.readers.read(ctx, "list backlog", func(r *reader) error {
		for {
			row, err := r.backlog.Step()
			if err != nil || !row {
				return err
			}
			if slices.Contains(lanes, int(r.backlog.Int(4))) {
				parked = append(parked, store.Parked{ID: idAt(r.backlog, 0),
					Stream: parseStreamName(r.backlog.Text(1)), Session: r.backlog.Text(2),
					Deadline: time.Duration(r.backlog.Int(3))})
			}
		}
	})
	return parked, err
}

// Log reads outcomes with positions above after; see store.Reader.
func (s *Store) Log(ctx context.Context, after uint64, limit int) ([]*commands.Outcome, error) {
	if limit < 0 {
		limit = 0
	}
	outcomes := make([]*commands.Outcome, 0, min(limit, 1024))
	err := s.readers.read(ctx, "read log", func(r *reader) error {
		r.logAfter.BindInt(1, int64(after))
		r.logAfter.BindInt(2, int64(limit))
		for {
			row, err := r.logAfter.Step()
			if err != nil || !row {
				return err
			}
			o, err := decodeRow(r.logAfter)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				r.logAfter.Reset()
				return err
			}
			outcomes = append(outcomes, o)
		}
	})
	switch {
	case err != nil:
		return nil, err
	case len(outcomes) > 0:
		if err := s.view.await(ctx, outcomes[len(outcomes)-1].Position); err != nil {
			return nil, err
		}
	case after > s.view.endOfLog():
		return nil, fmt.Errorf("read log after %d: %w", after, store.ErrNotKept)
	}
	return outcomes, nil
}

// End is the position of the newest outcome; see store.Reader.
func (s *Store) End(ctx context.Context) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, failed("read end of log", err)
	}
	return s.view.endOfLog(), nil
}
