package sqlite

import (
	"context"
	"slices"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/sqlite/engine"
)

// The statements about those who asked. They are few, so these are prepared when they are run.
const (
	sqlAsk = `INSERT INTO asks (lane, id, stream, conflict, reply_to, correlation) VALUES (?, ?, ?, ?, ?, ?)`
	// The table is short: who asked is answered at once, but for commands that are parked.
	sqlAsked     = `SELECT number, stream, id, reply_to, correlation, conflict, lane FROM asks WHERE number > ?1 ORDER BY number`
	sqlForgetAsk = `DELETE FROM asks WHERE number = ?`

	sqlMoveAsks  = `UPDATE asks SET lane = ?1 WHERE stream = ?2`
	sqlAskPlaces = `SELECT DISTINCT stream FROM asks`
)

// ask writes who asked, inside a commit.
func (s *Store) ask(asks []store.Ask) error {
	if len(asks) == 0 {
		return nil
	}
	stmt, err := s.writer.conn.Prepare(sqlAsk)
	if err != nil {
		return failed("note who asked", err)
	}
	defer stmt.Close()
	for i := range asks {
		ask := &asks[i]
		stmt.BindInt(1, int64(ask.Stream.Lane(s.identity.Lanes)))
		bindID(stmt, 2, &ask.ID)
		stmt.BindText(3, streamName(ask.Stream))
		stmt.BindInt(4, bit(ask.Conflict))
		stmt.BindText(5, ask.ReplyTo)
		stmt.BindText(6, ask.CorrelationID)
		if err := stmt.Run(); err != nil {
			return failed("note who asked", err)
		}
	}
	return nil
}

// Asked reads who is to be told; see store.Replies.
func (s *Store) Asked(ctx context.Context, lanes []int, after uint64, limit int) ([]store.Ask, error) {
	var asks []store.Ask
	err := s.readers.read(ctx, "read who asked", func(r *reader) error {
		return rows(r.conn, sqlAsked, func(row *engine.Stmt) { row.BindInt(1, boundedNumber(after)) },
			func(row *engine.Stmt) error {
				switch {
				case len(asks) >= limit:
					return errEnough
				case !slices.Contains(lanes, int(row.Int(6))):
					return nil
				}
				asks = append(asks, store.Ask{N: uint64(row.Int(0)), Stream: parseStreamName(row.Text(1)), ID: idAt(row, 2),
					ReplyTo: row.Text(3), CorrelationID: row.Text(4), Conflict: row.Int(5) != 0})
				return ctx.Err()
			})
	})
	return asks, err
}

// Answered forgets asks; see store.Replies.
func (s *Store) Answered(ctx context.Context, ns []uint64) error {
	return s.changeEach(ctx, "forget who was answered", sqlForgetAsk, ns)
}

// moveAsks notes with each ask the lane that its stream is on among so many.
func moveAsks(conn *engine.Conn, lanes int) error {
	var streams []string
	err := rows(conn, sqlAskPlaces, nil, func(row *engine.Stmt) error {
		streams = append(streams, row.Text(0))
		return nil
	})
	for _, stream := range streams {
		if err != nil {
			break
		}
		err = rows(conn, sqlMoveAsks, func(row *engine.Stmt) {
			row.BindInt(1, int64(parseStreamName(stream).Lane(lanes)))
			row.BindText(2, stream)
		}, nil)
	}
	return err
}
