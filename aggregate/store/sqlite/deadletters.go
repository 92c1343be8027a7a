package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/record"
	"github.com/ticketed/doorman/aggregate/store/sqlite/engine"
	"github.com/ticketed/doorman/commands"
)

// The statements about dead letters. They are rare, so they are prepared when they are run.
const (
	sqlRefused = `SELECT count(*), coalesce(sum(length(cause) + length(envelope)), 0) FROM dead_letters WHERE origin = 'amqp'`
	sqlBuried  = `SELECT number FROM dead_letters WHERE key = ? AND at > ? ORDER BY number LIMIT 1`
	sqlBury    = `INSERT INTO dead_letters (at, origin, id, stream, reason, cause, envelope, key) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		RETURNING number`
	sqlLetGo = `DELETE FROM dead_letters
		WHERE number = (SELECT number FROM dead_letters WHERE origin = 'amqp' ORDER BY number LIMIT 1)
		RETURNING length(cause) + length(envelope)`
	sqlDecide = `UPDATE dead_letters SET resolution = ?2, decided_at = ?3, decided_by = ?4, why = ?5, retried_as = ?6
		WHERE number = ?1 AND resolution = '' RETURNING number`
	sqlTold = `UPDATE dead_letters SET told = 1 WHERE number = ? AND told = 0`

	letterStart = `SELECT number, at, id, stream, reason, origin, told, resolution, decided_at, decided_by, why, retried_as, `
	wholeLetter = letterStart + `cause, envelope FROM dead_letters `
	// What is listed of a body is read by itself, without the pages of the rest.
	shortLetter = letterStart + `substr(cause, 1, ?4), NULL FROM dead_letters `

	sqlLetter      = wholeLetter + `WHERE number = ?`
	sqlListLetters = shortLetter + `WHERE number > ?1 AND (?3 = '' OR origin = ?3) AND (?5 = '' OR resolution = ?5)
		ORDER BY number LIMIT ?2`
	sqlListOpen = shortLetter + `WHERE number > ?1 AND (?3 = '' OR origin = ?3) AND resolution = ''
		ORDER BY number LIMIT ?2`
	sqlUntold = wholeLetter + `WHERE told = 0 ORDER BY number LIMIT ?`
)

// refused is how much of refused messages is kept: the number of letters and their bytes. It is counted when it is
// needed first. Writing is held.
type refused struct {
	known          bool
	letters, bytes int64
}

// count finds out what is kept.
func (r *refused) count(conn *engine.Conn) error {
	if r.known {
		return nil
	}
	err := rows(conn, sqlRefused, nil, func(row *engine.Stmt) error {
		r.letters, r.bytes = row.Int(0), row.Int(1)
		return nil
	})
	r.known = err == nil
	return err
}

// Bury keeps letters that no batch brings; see store.DeadLetters.
func (s *Store) Bury(ctx context.Context, letters []store.DeadLetter) (gone int, err error) {
	if len(letters) == 0 {
		return 0, nil
	}
	bounded := make([]store.DeadLetter, len(letters))
	for i := range letters {
		if bounded[i], err = letters[i].Bounded(); err != nil {
			return 0, fmt.Errorf("bury: %w", err)
		}
	}
	var kept refused
	err = s.change(ctx, "bury", func(conn *engine.Conn) (err error) {
		kept = s.refused
		if err = kept.count(conn); err == nil {
			gone, err = kept.bury(conn, bounded, s.config.maxRefused, s.config.maxRefusedBytes)
		}
		return err
	}, func(err error) {
		kept.known = err == nil // otherwise it is counted anew
		s.refused = kept
	})
	if err != nil {
		return 0, err
	}
	for i := range letters {
		letters[i].N = bounded[i].N
	}
	return gone, nil
}

// bury keeps letters, and lets the oldest refused messages go until the others keep within the bounds.
func (r *refused) bury(conn *engine.Conn, letters []store.DeadLetter, mostLetters, mostBytes int64) (gone int, err error) {
	for i := range letters {
		if err := r.add(conn, &letters[i]); err != nil {
			return 0, err
		}
	}
	for r.letters > mostLetters || r.bytes > mostBytes {
		freed := int64(-1)
		err := rows(conn, sqlLetGo, nil, func(row *engine.Stmt) error {
			freed = row.Int(0)
			return nil
		})
		if err != nil {
			return 0, err
		}
		if freed < 0 {
			return gone, fmt.Errorf("%d letters are counted and none is there", r.letters)
		}
		r.letters--
		r.bytes -= freed
		gone++
	}
	return gone, nil
}

// add keeps one letter, unless it comes again and is kept, and fills in its number.
func (r *refused) add(conn *engine.Conn, l *store.DeadLetter) error {
	number := func(row *engine.Stmt) error {
		l.N = uint64(row.Int(0))
		return nil
	}
	if l.N = 0; l.Again && l.Key != commands.None {
		err := rows(conn, sqlBuried, func(row *engine.Stmt) {
			bindID(row, 1, &l.Key)
			row.BindInt(2, l.At.Add(-store.AgainWithin).UnixMicro())
		}, number)
		if err != nil || l.N > 0 {
			return err
		}
	}
	id, stream := commands.None, ""
	var body []byte
	if l.Message != nil {
		body = record.AppendMessage(nil, l.Message)
		r.letters++
		r.bytes += int64(len(body) + len(l.Cause))
	} else {
		id, stream, body = l.Envelope.ID, streamName(l.Envelope.Stream), record.AppendEnvelope(nil, l.Envelope)
	}
	return rows(conn, sqlBury, func(row *engine.Stmt) {
		row.BindInt(1, l.At.UnixMicro())
		row.BindText(2, string(l.Origin))
		bindID(row, 3, &id)
		row.BindText(4, stream)
		row.BindText(5, string(l.Reason))
		row.BindText(6, l.Cause)
		row.BindBlob(7, body)
		row.BindNull(8)
		if l.Key != commands.None {
			bindID(row, 8, &l.Key)
		}
	}, number)
}

// DeadLetter reads one letter; see store.DeadLetters.
func (s *Store) DeadLetter(ctx context.Context, n uint64) (letter store.DeadLetter, err error) {
	err = store.ErrNoDeadLetter
	failed := s.readers.read(ctx, "read dead letter", func(r *reader) error {
		return r.letters(sqlLetter, func(row *engine.Stmt) { row.BindInt(1, int64(n)) }, func(l *store.DeadLetter, _ int) error {
			letter, err = *l, nil
			return nil
		})
	})
	if failed != nil {
		err = failed
	}
	if err != nil {
		return store.DeadLetter{}, fmt.Errorf("dead letter %d: %w", n, err)
	}
	return letter, nil
}

// DeadLetters lists letters; see store.DeadLetters.
func (s *Store) DeadLetters(ctx context.Context, query store.DeadQuery) ([]store.DeadLetter, error) {
	sql := sqlListLetters
	if query.Resolution == store.Open {
		sql = sqlListOpen
	}
	var letters []store.DeadLetter
	err := s.readers.read(ctx, "list dead letters", func(r *reader) error {
		return r.letters(sql, func(row *engine.Stmt) {
			row.BindInt(1, boundedNumber(query.After))
			row.BindInt(2, int64(max(query.Limit, 0)))
			row.BindText(3, string(query.Origin))
			row.BindInt(4, store.MaxListedCause)
			if query.Resolution != store.Open {
				row.BindText(5, string(query.Resolution))
			}
		}, func(l *store.DeadLetter, _ int) error {
			letters = append(letters, *l)
			return ctx.Err()
		})
	})
	return letters, err
}

// Decide notes what becomes of a letter; see store.DeadLetters.
func (s *Store) Decide(ctx context.Context, n uint64, d store.Decision) (store.DeadLetter, error) {
	if err := d.Validate(); err != nil {
		return store.DeadLetter{}, fmt.Errorf("decide: %w", err)
	}
	first := false
	err := s.change(ctx, "decide", func(conn *engine.Conn) error {
		return rows(conn, sqlDecide, func(row *engine.Stmt) {
			row.BindInt(1, int64(n))
			row.BindText(2, string(d.Resolution))
			row.BindInt(3, d.At.UnixMicro())
			row.BindText(4, d.By)
			row.BindText(5, d.Why)
			row.BindNull(6)
			if d.RetriedAs != commands.None {
				bindID(row, 6, &d.RetriedAs)
			}
		}, func(*engine.Stmt) error {
			first = true
			return nil
		})
	}, nil)
	if err != nil {
		return store.DeadLetter{}, err
	}
	letter, err := s.DeadLetter(ctx, n)
	if err == nil && !first {
		err = fmt.Errorf("%w: number %d was %s", store.ErrDecided, n, letter.Decision.Resolution)
	}
	return letter, err
}

// Untold reads letters of which others have not been told; see store.DeadLetters.
func (s *Store) Untold(ctx context.Context, limit int) ([]store.DeadLetter, error) {
	var letters []store.DeadLetter
	bytes := 0
	err := s.readers.read(ctx, "read untold dead letters", func(r *reader) error {
		return r.letters(sqlUntold, func(row *engine.Stmt) { row.BindInt(1, int64(max(limit, 0))) },
			func(l *store.DeadLetter, size int) error {
				if bytes >= store.MaxUntoldBytes {
					return errEnough
				}
				bytes += size
				letters = append(letters, *l)
				return ctx.Err()
			})
	})
	return letters, err
}

// Told notes that others were told of letters; see store.DeadLetters.
func (s *Store) Told(ctx context.Context, ns []uint64) error {
	return s.changeEach(ctx, "note what was told", sqlTold, ns)
}

// letters reads rows of letters, and gives each with the size of what was read. A body that was not asked for is
// read as far as it is listed.
func (r *reader) letters(sql string, bind func(*engine.Stmt), each func(l *store.DeadLetter, size int) error) error {
	return rows(r.conn, sql, bind, func(row *engine.Stmt) error {
		l := store.DeadLetter{N: uint64(row.Int(0)), At: time.UnixMicro(row.Int(1)).UTC(), Reason: commands.Reason(row.Text(4)),
			Origin: store.Origin(row.Text(5)), Told: row.Int(6) != 0, Cause: row.Text(12)}
		if !row.IsNull(8) {
			l.Decision = store.Decision{Resolution: store.Resolution(row.Text(7)), At: time.UnixMicro(row.Int(8)).UTC(),
				By: row.Text(9), Why: row.Text(10)}
			if !row.IsNull(11) {
				l.Decision.RetriedAs = idAt(row, 11)
			}
		}
		body, short := row.Blob(13), row.IsNull(13)
		if short {
			var err error
			if body, err = r.conn.BlobHead("dead_letters", "envelope", row.Int(0), record.Head); err != nil {
				return err
			}
		}
		e := &commands.Envelope{Command: commands.Command{ID: idAt(row, 2), Stream: parseStreamName(row.Text(3))}}
		if err := record.DecodeLetter(body, short, e, &l); err != nil {
			return fmt.Errorf("dead letter %d: %w", l.N, err)
		}
		return each(&l, len(body)+len(l.Cause))
	})
}
