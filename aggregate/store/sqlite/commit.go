package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/record"
	"github.com/ticketed/doorman/commands"
)

// Commit makes a batch durable; see store.Lanes. It reads nothing but, for ids that are to be parked,
// whether the log knows them.
func (s *Store) Commit(ctx context.Context, batch *store.Batch) (store.Range, error) {
	if err := ctx.Err(); err != nil {
		return store.Range{}, failed("commit", err)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.mayCommit(batch.Claims); err != nil {
		return store.Range{}, err
	}
	covered := store.Range{First: s.view.end + 1, Last: s.view.end + uint64(len(batch.Outcomes))}
	if err := s.staging.stage(s, batch, covered.First); err != nil {
		return store.Range{}, err
	}
	if err := s.lot.admit(batch); err != nil {
		return store.Range{}, err
	}
	s.settling.choose(s.view, &s.staging, batch.Outcomes)
	worked := s.view.clocks.after(batch.Claims, time.Now())
	if err := s.writer.transaction(func() error { return s.write(batch, worked) }); err != nil {
		return store.Range{}, err
	}
	s.lot.committed(batch)
	s.publish(covered.Last, worked)
	s.checkpoints.committed(s.writer.conn)
	return covered, nil
}

// mayCommit checks every claim against the lanes' epochs. The lock on the data directory makes this process
// the only one that changes them, so memory is as good as the table.
func (s *Store) mayCommit(claims []store.Claim) error {
	if err := s.ready(); err != nil {
		return err
	}
	if len(claims) == 0 {
		return errNoClaims
	}
	for _, claim := range claims {
		if claim.Lane < 0 || claim.Lane >= len(s.view.epochs) { // any more
			return fmt.Errorf("commit: %w: there is no lane %d", store.ErrFenced, claim.Lane)
		}
		if claim.Epoch != s.view.epochs[claim.Lane] {
			return fmt.Errorf("commit: %w: lane %d is at epoch %d, the claim at %d",
				store.ErrFenced, claim.Lane, s.view.epochs[claim.Lane], claim.Epoch)
		}
	}
	return nil
}

// write carries the batch out inside a transaction.
func (s *Store) write(batch *store.Batch, worked clocks) error {
	w := s.writer
	if err := s.lot.free(w, batch.Unpark); err != nil {
		return err
	}
	for _, o := range batch.Outcomes {
		if err := w.append(o); err != nil {
			return err
		}
	}
	if err := s.lot.fill(w, batch); err != nil {
		return err
	}
	for i := range batch.Dead {
		if err := w.bury(&batch.Dead[i]); err != nil {
			return err
		}
	}
	if err := s.ask(batch.Asks); err != nil {
		return err
	}
	if err := s.settling.write(w); err != nil {
		return err
	}
	for i := range s.staging.staged {
		if g := &s.staging.staged[i]; g.keepsSnapshot() {
			if err := w.snapshot(g); err != nil {
				return err
			}
		}
	}
	w.setMeta.BindBlob(1, worked.encode())
	w.setMeta.BindText(2, metaClocks)
	return failed("save clocks", w.setMeta.Run())
}

// snapshot keeps a state for reads as of its version.
func (w *writer) snapshot(g *staged) error {
	s := w.insertSnapshot
	s.BindInt(1, g.head.number)
	s.BindInt(2, int64(g.change.StateVersion))
	s.BindBlob(3, g.change.State)
	return failed("keep snapshot", s.Run())
}

// append writes the row of an outcome.
func (w *writer) append(o *commands.Outcome) error {
	s := w.insertOutcome
	s.BindInt(1, int64(o.Position))
	bindID(s, 2, &o.ID)
	w.name = appendStreamName(w.name[:0], o.Stream)
	s.BindTextBytes(3, w.name)
	s.BindInt(4, int64(o.Version))
	w.body = record.AppendOutcome(w.body[:0], o)
	s.BindBlob(5, w.body)
	return failedToKeep("append to log", s.Run())
}

// bury writes a dead letter.
func (w *writer) bury(letter *store.DeadLetter) error {
	s := w.insertDeadLetter
	s.BindInt(1, letter.At.UnixMicro())
	bindID(s, 2, &letter.Envelope.ID)
	s.BindText(3, streamName(letter.Envelope.Stream))
	s.BindText(4, string(letter.Reason))
	s.BindText(5, letter.Cause)
	s.BindBlob(6, record.AppendEnvelope(nil, letter.Envelope))
	return failed("keep dead letter", s.Run())
}

// publish makes the batch visible in one step.
func (s *Store) publish(end uint64, worked clocks) {
	v := s.view
	v.mu.Lock()
	for i := range s.staging.staged {
		g := &s.staging.staged[i]
		published := g.head
		g.stream.head = &published
		if !g.stream.unsettled {
			g.stream.unsettled = true
			v.unsettled[g.stream.name] = g.stream
		}
	}
	s.settling.committed(v)
	v.clocks = worked
	v.parked = len(s.lot.parked)
	v.end = end
	v.mu.Unlock()
	v.published.Broadcast()
	s.staging.clear()
}
