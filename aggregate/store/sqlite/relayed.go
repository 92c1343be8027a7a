package sqlite

import (
	"context"
	"fmt"

	"github.com/ticketed/doorman/aggregate/store"
)

// SaveRelayed notes how far the log of lanes has been passed on; see store.Lanes.
func (s *Store) SaveRelayed(ctx context.Context, claims []store.Claim) error {
	if err := ctx.Err(); err != nil {
		return failed("save what was passed on", err)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.ready(); err != nil {
		return err
	}
	var fenced error
	held := make([]store.Claim, 0, len(claims))
	for _, claim := range claims {
		if claim.Lane < 0 || claim.Lane >= len(s.view.epochs) || claim.Epoch != s.view.epochs[claim.Lane] {
			fenced = fmt.Errorf("save what was passed on: %w: lane %d is not held at epoch %d", store.ErrFenced, claim.Lane, claim.Epoch)
			continue
		}
		held = append(held, claim)
	}
	if len(held) == 0 {
		return fenced
	}
	err := s.writer.transaction(func() error {
		for _, claim := range held {
			s.writer.saveRelayed.BindInt(1, int64(claim.Relayed))
			s.writer.saveRelayed.BindInt(2, int64(claim.Lane))
			if err := s.writer.saveRelayed.Run(); err != nil {
				return failed("save what was passed on", err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return fenced
}

// relayedOf reads how far a lane's log has been passed on.
func (w *writer) relayedOf(lane int) (uint64, error) {
	defer w.readRelayed.Reset()
	w.readRelayed.BindInt(1, int64(lane))
	row, err := w.readRelayed.Step()
	if err != nil || !row {
		return 0, err
	}
	return uint64(w.readRelayed.Int(0)), nil
}
