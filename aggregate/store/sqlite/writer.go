package sqlite

import (
	"errors"
	"fmt"

	"github.com/ticketed/doorman/aggregate/store/sqlite/engine"
	"github.com/ticketed/doorman/commands"
)

// The statements of the one connection that writes.
const (
	sqlBegin    = `BEGIN IMMEDIATE`
	sqlCommit   = `COMMIT`
	sqlRollback = `ROLLBACK`

	sqlInsertOutcome = `INSERT INTO log (position, id, stream, version, body) VALUES (?, ?, ?, ?, ?)`
	sqlKnowsOutcome  = `SELECT 1 FROM log WHERE id = ?`

	sqlInsertStream = `INSERT INTO streams
		(version, action, position, at, session, by_any, tail, state, state_version, name, number)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	sqlUpdateHead = `UPDATE streams
		SET version = ?, action = ?, position = ?, at = ?, session = ?, by_any = ?, tail = ? WHERE number = ?`
	sqlUpdateHeadAndState = `UPDATE streams
		SET version = ?, action = ?, position = ?, at = ?, session = ?, by_any = ?, tail = ?,
		state = ?, state_version = ? WHERE number = ?`
	sqlInsertPage     = `INSERT INTO stream_pages (stream, first_version, landings) VALUES (?, ?, ?)`
	sqlInsertSnapshot = `INSERT OR REPLACE INTO snapshots (stream, version, state) VALUES (?, ?, ?)`

	sqlPark = `INSERT INTO parked (id, stream, lane, seq, session, deadline, parked_at, body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`
	sqlUnpark = `DELETE FROM parked WHERE id = ?`
	sqlExtend = `UPDATE parked SET deadline = ? WHERE id = ?`

	sqlInsertDeadLetter = `INSERT INTO dead_letters (at, id, stream, reason, cause, envelope)
		VALUES (?, ?, ?, ?, ?, ?)`
	sqlTakeLane = `UPDATE lanes SET epoch = ?, owner = ? WHERE lane = ?`

	sqlReadRelayed = `SELECT relayed FROM lanes WHERE lane = ?`
	sqlSaveRelayed = `UPDATE lanes SET relayed = ?1 WHERE lane = ?2 AND relayed < ?1`

	sqlSetMeta = `UPDATE meta SET value = ? WHERE key = ?`
)

// writer is the one connection that writes, with its statements.
type writer struct {
	conn *engine.Conn

	begin, commit, rollback *engine.Stmt

	insertOutcome, knowsOutcome *engine.Stmt

	insertStream, updateHead, updateHeadAndState, insertPage, insertSnapshot *engine.Stmt

	park, unpark, extend *engine.Stmt

	insertDeadLetter, takeLane, setMeta *engine.Stmt

	readRelayed, saveRelayed *engine.Stmt

	name, body []byte // scratch for making rows
}

func openWriter(path string, pragmas []string) (*writer, error) {
	conn, err := engine.Open(path, engine.Options{Pragmas: pragmas})
	if err != nil {
		return nil, err
	}
	w := &writer{conn: conn}
	err = prepare(conn, map[string]**engine.Stmt{
		sqlBegin: &w.begin, sqlCommit: &w.commit, sqlRollback: &w.rollback,
		sqlInsertOutcome: &w.insertOutcome, sqlKnowsOutcome: &w.knowsOutcome,
		sqlInsertStream: &w.insertStream, sqlUpdateHead: &w.updateHead,
		sqlUpdateHeadAndState: &w.updateHeadAndState,
		sqlInsertPage:         &w.insertPage, sqlInsertSnapshot: &w.insertSnapshot,
		sqlPark: &w.park, sqlUnpark: &w.unpark, sqlExtend: &w.extend,
		sqlInsertDeadLetter: &w.insertDeadLetter, sqlTakeLane: &w.takeLane, sqlSetMeta: &w.setMeta,
		sqlReadRelayed: &w.readRelayed, sqlSaveRelayed: &w.saveRelayed,
	})
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func prepare(conn *engine.Conn, statements map[string]**engine.Stmt) error {
	for sql, into := range statements {
		stmt, err := conn.Prepare(sql)
		if err != nil {
			return fmt.Errorf("prepare %s: %w", sql, err)
		}
		*into = stmt
	}
	return nil
}

// close closes the connection; SQLite finalizes with it what is still prepared on it.
func (w *writer) close() error { return w.conn.Close() }

// transaction runs change in one transaction. On an error nothing of it stays.
func (w *writer) transaction(change func() error) error {
	if err := w.undo(nil); err != nil {
		return err // an earlier transaction could not be rolled back then, and cannot now
	}
	if err := w.begin.Run(); err != nil {
		return failed("begin", err)
	}
	if err := change(); err != nil {
		return w.undo(err)
	}
	if err := w.commit.Run(); err != nil {
		return w.undo(failedToEnd(err))
	}
	return nil
}

// undo rolls back and gives the error that made it necessary. Some errors have rolled back already.
func (w *writer) undo(why error) error {
	if !w.conn.InTransaction() {
		return why
	}
	if err := w.rollback.Run(); err != nil {
		return errors.Join(why, failed("roll back", err))
	}
	return why
}

// set changes a number in meta.
func (w *writer) set(key string, value int64) error {
	w.setMeta.BindInt(1, value)
	w.setMeta.BindText(2, key)
	return w.setMeta.Run()
}

func bindID(s *engine.Stmt, i int, id *commands.ID) { s.BindBlob(i, id[:]) }

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
