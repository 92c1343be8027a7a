package sqlite

import (
	"context"
	"fmt"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/record"
	"github.com/ticketed/doorman/aggregate/store/sqlite/engine"
)

// The statements about what an operator looks at, prepared when they are run.
const (
	sqlParkedNumbers   = `SELECT number FROM parked WHERE number > ?1 ORDER BY number LIMIT ?2`
	sqlParkedNumbersOf = `SELECT number FROM parked WHERE number > ?1 AND stream = ?3 ORDER BY number LIMIT ?2`
)

// ParkedList shows what is parked; see store.ParkedList.
func (s *Store) ParkedList(ctx context.Context, query store.ParkedQuery) ([]store.ParkedEntry, error) {
	sql := sqlParkedNumbers
	if query.Stream != nil {
		sql = sqlParkedNumbersOf
	}
	var numbers []uint64
	var found []store.CommandStatus
	err := s.readers.read(ctx, "list what is parked", func(r *reader) error {
		return rows(r.conn, sql, func(row *engine.Stmt) {
			row.BindInt(1, boundedNumber(query.After))
			row.BindInt(2, int64(max(query.Limit, 0)))
			if query.Stream != nil {
				row.BindText(3, streamName(*query.Stream))
			}
		}, func(row *engine.Stmt) error {
			status, err := r.parkedHead(row.Int(0))
			if err != nil {
				return err
			}
			numbers, found = append(numbers, uint64(row.Int(0))), append(found, status)
			return ctx.Err()
		})
	})
	if err != nil {
		return nil, err
	}
	s.fillUntil(found)
	entries := make([]store.ParkedEntry, len(found))
	for i, status := range found {
		entries[i] = store.ParkedEntry{N: numbers[i], CommandStatus: status}
	}
	return entries, nil
}

// parkedHead reads a parked command without its data, which may be large, and its session, which is a secret.
func (r *reader) parkedHead(number int64) (status store.CommandStatus, err error) {
	w, err := r.parkedRow(number)
	if err != nil {
		return status, err
	}
	head, err := r.conn.BlobHead("parked", "body", number, record.Head)
	if err == nil {
		err = record.DecodeEnvelopeHead(head, &w.Envelope)
	}
	if err != nil {
		return status, fmt.Errorf("parked command %s: %w", w.ID, err)
	}
	w.Session = ""
	return store.CommandStatus{ID: w.ID, Waiting: w}, nil
}
