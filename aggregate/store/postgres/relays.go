package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/ticketed/doorman/aggregate/store"
)

// saveRelayed calls the function of migrations/00008_relays.sql.
var saveRelayed = &statement{"save_relayed", `select save_relayed($1, $2, $3)`}

// SaveRelayed notes how far the log of lanes has been passed on. It uses the connections for reading: nothing
// waits for it, and commits must not wait for a connection behind it.
func (s *Store) SaveRelayed(ctx context.Context, claims []store.Claim) error {
	if len(claims) == 0 {
		return nil
	}
	var lanes, epochs, positions column
	lanes.start(pgtype.Int4OID, len(claims))
	epochs.start(pgtype.Int8OID, len(claims))
	positions.start(pgtype.Int8OID, len(claims))
	for i := range claims {
		lanes.int32(int32(claims[i].Lane))
		epochs.int64(int64(claims[i].Epoch))
		positions.int64(int64(claims[i].Relayed))
	}
	held := 0
	err := s.reads.query(ctx, saveRelayed, func(r row) error {
		held = int(r.int64(0))
		return nil
	}, lanes.b, epochs.b, positions.b)
	if err != nil {
		return failure("save what was passed on", err)
	}
	if held < len(claims) {
		return fmt.Errorf("%w: of %d lanes %d are held still", store.ErrFenced, len(claims), held)
	}
	return nil
}
