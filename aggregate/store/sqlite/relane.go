package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/sqlite/engine"
)

const (
	sqlParkedPlaces = `SELECT number, stream, lane, deadline FROM parked`
	sqlMoveParked   = `UPDATE parked SET lane = ?, deadline = ? WHERE number = ?`
	sqlForgetLanes  = `DELETE FROM lanes`
	sqlNewLane      = `INSERT INTO lanes (lane, epoch, owner, relayed) VALUES (?, ?, '', ?)`
	sqlNewestEpoch  = `SELECT coalesce(max(epoch), 0) FROM lanes`
	sqlLeastRelayed = `SELECT coalesce(min(relayed), 0) FROM lanes`
)

// SetLanes changes the number of lanes of the store in a data directory that no process uses, in one
// transaction: what is parked moves to the lanes that its streams are on then, with the time it has left, and
// no claim made before commits any more. Heads, log and the log's epoch stay as they are. It returns the
// number there was.
func SetLanes(ctx context.Context, config Config, lanes int) (before int, err error) {
	if lanes < 1 || lanes > maxLanes {
		return 0, fmt.Errorf("sqlite: the number of lanes is %d, not 1 to %d", lanes, maxLanes)
	}
	config.Lanes, config.Migrate = 0, false
	s, err := Open(ctx, config)
	if err != nil {
		return 0, err
	}
	before = s.identity.Lanes
	s.writing.Lock()
	err = s.writer.transaction(func() error { return s.relane(lanes) })
	s.writing.Unlock()
	return before, errors.Join(err, s.Close())
}

// relane is the transaction of SetLanes. The store must be closed after it, as it goes by the number it had.
func (s *Store) relane(lanes int) error {
	conn := s.writer.conn
	var furthest time.Duration
	for _, c := range s.view.clocks {
		furthest = max(furthest, c.worked)
	}
	if err := s.moveParked(conn, lanes, furthest); err != nil {
		return failed("move what is parked", err)
	}
	if err := moveAsks(conn, lanes); err != nil {
		return failed("move those who asked", err)
	}
	// Epochs begin above all that ever were, those of lanes that once were included.
	epoch, err := conn.Int(sqlNewestEpoch)
	var relayed int64 // any lane's streams may have been on the one that is furthest behind
	if err == nil {
		relayed, err = conn.Int(sqlLeastRelayed)
	}
	if err == nil {
		err = conn.Exec(sqlForgetLanes)
	}
	if err != nil {
		return failed("read the lanes", err)
	}
	insert, err := conn.Prepare(sqlNewLane)
	if err != nil {
		return failed("make the lanes", err)
	}
	defer insert.Close()
	moved := make(clocks, lanes)
	for lane := range lanes {
		moved[lane].worked = furthest
		insert.BindInt(1, int64(lane))
		insert.BindInt(2, epoch+1)
		insert.BindInt(3, relayed)
		if err := insert.Run(); err != nil {
			return failed("make the lanes", err)
		}
	}
	if err := s.writer.set(metaLanes, int64(lanes)); err != nil {
		return failed("set the number of lanes", err)
	}
	s.writer.setMeta.BindBlob(1, moved.encode())
	s.writer.setMeta.BindText(2, metaClocks)
	return failed("save clocks", s.writer.setMeta.Run())
}

// moveParked sets deadlines by a clock that shows furthest on every lane.
func (s *Store) moveParked(conn *engine.Conn, lanes int, furthest time.Duration) error {
	type place struct{ number, lane, deadline int64 }
	var places []place
	var problem error
	err := each(conn, sqlParkedPlaces, func(row *engine.Stmt) {
		old := row.Int(2)
		if old < 0 || old >= int64(len(s.view.clocks)) {
			problem = fmt.Errorf("a command is parked on lane %d of %d", old, len(s.view.clocks))
			return
		}
		places = append(places, place{row.Int(0), int64(parseStreamName(row.Text(1)).Lane(lanes)),
			row.Int(3) + int64(furthest-s.view.clocks[old].worked)})
	})
	if err = errors.Join(err, problem); err != nil {
		return err
	}
	move, err := conn.Prepare(sqlMoveParked)
	if err != nil {
		return err
	}
	defer move.Close()
	for _, p := range places {
		move.BindInt(1, p.lane)
		move.BindInt(2, p.deadline)
		move.BindInt(3, p.number)
		if err := move.Run(); err != nil {
			return err
		}
	}
	return nil
}

// Lanes lists the lanes of the store in a data directory. It reads alone: a process may be using the directory.
func Lanes(ctx context.Context, config Config) ([]store.LaneState, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	path := filepath.Join(config.Dir, file)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: there is no store in %s yet", store.ErrSchema, path)
	}
	db, err := openToRead(path)
	if err == nil {
		var all []store.LaneState
		if all, err = readLanes(ctx, db); err == nil {
			return all, db.Close()
		}
		_ = db.Close()
	}
	return nil, fmt.Errorf("read the lanes of %s: %w", path, err)
}

func readLanes(ctx context.Context, db *sql.DB) ([]store.LaneState, error) {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // so that all is of one moment
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() //nolint:errcheck // it only read
	var lanes int
	var saved []byte
	err = tx.QueryRowContext(ctx, `SELECT (SELECT value FROM meta WHERE key = 'lanes'), (SELECT value FROM meta WHERE key = 'clocks')`).
		Scan(&lanes, &saved)
	if err != nil {
		return nil, err
	}
	times, err := decodeClocks(saved, lanes)
	if err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, `
SELECT l.lane, l.epoch, l.owner, (SELECT count(*) FROM parked p WHERE p.lane = l.lane) FROM lanes l ORDER BY l.lane`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []store.LaneState
	for rows.Next() {
		var l store.LaneState
		if err := rows.Scan(&l.Lane, &l.Epoch, &l.Owner, &l.Parked); err != nil {
			return nil, err
		}
		if l.Lane < len(times) {
			l.Worked = times[l.Lane].worked
			if times[l.Lane].at > 0 {
				l.WorkedAt = time.UnixMicro(times[l.Lane].at).UTC()
			}
		}
		all = append(all, l)
	}
	return all, rows.Err()
}
