package sqlite

import (
	"fmt"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/record"
	"github.com/ticketed/doorman/commands"
)

// lot knows the ids of all parked commands, 50,000 at most by default, so that the ids of a batch are checked
// against them without reading.
type lot struct {
	parked  map[commands.ID]struct{}
	leaving map[commands.ID]struct{} // of the batch under way
	lanes   int
}

func newLot(lanes int) *lot {
	return &lot{parked: map[commands.ID]struct{}{}, leaving: map[commands.ID]struct{}{}, lanes: lanes}
}

// admit refuses a batch that settles or parks an id which is parked, unless it takes it off the lot.
func (l *lot) admit(batch *store.Batch) error {
	clear(l.leaving)
	if len(l.parked) == 0 {
		return nil
	}
	for _, id := range batch.Unpark {
		l.leaving[id] = struct{}{}
	}
	for _, w := range batch.Park {
		if _, known := l.parked[w.ID]; known {
			return fmt.Errorf("park %s: %w", w.ID, store.ErrIDKnown)
		}
	}
	for _, o := range batch.Outcomes {
		if _, known := l.parked[o.ID]; known {
			if _, leaves := l.leaving[o.ID]; !leaves {
				return fmt.Errorf("append %s: %w: it is parked", o.ID, store.ErrIDKnown)
			}
		}
	}
	return nil
}

// free takes rows off the lot, inside a transaction.
func (l *lot) free(w *writer, ids []commands.ID) error {
	for i := range ids {
		bindID(w.unpark, 1, &ids[i])
		if err := w.unpark.Run(); err != nil {
			return failed("unpark", err)
		}
	}
	return nil
}

// fill parks and extends, inside a transaction, after the batch's outcomes are in the log.
func (l *lot) fill(w *writer, batch *store.Batch) error {
	for _, waiting := range batch.Park {
		bindID(w.knowsOutcome, 1, &waiting.ID)
		known, err := w.knowsOutcome.Step()
		w.knowsOutcome.Reset()
		if err != nil {
			return failed("park", err)
		}
		if known {
			return fmt.Errorf("park %s: %w", waiting.ID, store.ErrIDKnown)
		}
		s := w.park
		bindID(s, 1, &waiting.ID)
		w.name = appendStreamName(w.name[:0], waiting.Stream)
		s.BindTextBytes(2, w.name)
		s.BindInt(3, int64(waiting.Stream.Lane(l.lanes)))
		s.BindInt(4, int64(waiting.Seq))
		s.BindText(5, waiting.Session)
		s.BindInt(6, int64(waiting.Deadline))
		s.BindInt(7, waiting.ParkedAt.UnixMicro())
		w.body = record.AppendEnvelope(w.body[:0], &waiting.Envelope)
		s.BindBlob(8, w.body)
		if err := s.Run(); err != nil {
			return failedToKeep("park", err)
		}
	}
	for _, waiting := range batch.Extend {
		w.extend.BindInt(1, int64(waiting.Deadline))
		bindID(w.extend, 2, &waiting.ID)
		if err := w.extend.Run(); err != nil {
			return failed("extend", err)
		}
	}
	return nil
}

// committed takes over what was written, which is durable now.
func (l *lot) committed(batch *store.Batch) {
	for _, id := range batch.Unpark {
		delete(l.parked, id)
	}
	for _, w := range batch.Park {
		l.parked[w.ID] = struct{}{}
	}
}
