package sqlite

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/record"
)

// WaitingOf tells which commands of sessions are parked; see store.Reader. It asks the lot on disk even when
// nothing seems to be parked: Status may have told of a command that is on disk and not yet published.
func (s *Store) WaitingOf(ctx context.Context, sessions []string, limit int) ([]store.CommandStatus, error) {
	sessions = slices.Compact(slices.Sorted(slices.Values(sessions)))
	var found []store.CommandStatus
	err := s.readers.read(ctx, "read what waits", func(r *reader) error {
		numbers, err := r.parkedOf(sessions, max(limit, 0))
		if err != nil {
			return err
		}
		for _, number := range numbers {
			status, err := r.parkedStatus(number)
			if err != nil {
				return err
			}
			found = append(found, status)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(found) > 0 {
		s.fillUntil(found)
	}
	return found, nil
}

// parkedOf finds the numbers of the first commands parked of all the sessions together.
func (r *reader) parkedOf(sessions []string, limit int) ([]int64, error) {
	var numbers []int64
	for _, session := range sessions {
		s := r.parkedOfSession
		s.BindText(1, session)
		s.BindInt(2, int64(limit))
		for {
			row, err := s.Step()
			if err != nil {
				return nil, err
			}
			if !row {
				break
			}
			numbers = append(numbers, s.Int(0))
		}
		if len(numbers) > limit {
			slices.Sort(numbers)
			numbers = numbers[:limit]
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// parkedStatus reads what a session is told of a parked command. Its ticket stands in front of a body that may
// be large, so of that no more is read.
func (r *reader) parkedStatus(number int64) (status store.CommandStatus, err error) {
	w, err := r.parkedRow(number)
	if err != nil {
		return status, err
	}
	head, err := r.conn.BlobHead("parked", "body", number, record.EnvelopeHead)
	if err == nil {
		w.Ticket, err = record.EnvelopeTicket(head)
	}
	if err != nil {
		return status, fmt.Errorf("parked command %s: %w", w.ID, err)
	}
	return store.CommandStatus{ID: w.ID, Waiting: w}, nil
}

// parkedRow reads what there is of a parked command beside its body.
func (r *reader) parkedRow(number int64) (*aggregate.Waiting, error) {
	s := r.parkedAt
	s.BindInt(1, number)
	if _, err := s.Step(); err != nil {
		return nil, err
	}
	defer s.Reset()
	const session = waitingBody // in the place of the body
	w := &aggregate.Waiting{Seq: uint64(s.Int(waitingSeq)), Deadline: time.Duration(s.Int(waitingDeadline)),
		ParkedAt: time.UnixMicro(s.Int(waitingParkedAt)).UTC()}
	w.ID, w.Stream, w.Session = idAt(s, waitingID), parseStreamName(s.Text(waitingStream)), s.Text(session)
	return w, nil
}
