package sqlite

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/record"
	"github.com/ticketed/doorman/aggregate/store/sqlite/engine"
	"github.com/ticketed/doorman/commands"
)

// The keys of meta.
const (
	metaEpoch   = "epoch"   // of the log's history
	metaLanes   = "lanes"   // how many
	metaSettled = "settled" // every row of streams reflects the log up to here
	metaClocks  = "clocks"  // of the lanes
)

const (
	sqlMeta       = `SELECT value FROM meta WHERE key = ?`
	sqlInsertMeta = `INSERT INTO meta (key, value) VALUES (?, ?)`
	sqlInsertLane = `INSERT INTO lanes (lane, epoch, owner) VALUES (?, 0, '')`
	sqlEpochs     = `SELECT epoch FROM lanes ORDER BY lane`
	sqlParkedIDs  = `SELECT id FROM parked`
	sqlLastNumber = `SELECT coalesce(max(number), 0) FROM streams`
	sqlEnd        = `SELECT coalesce(max(position), 0) FROM log`
)

// load reads what the store keeps in memory: identity, lanes, parked ids, and how far everything is. A new
// file is given its identity first.
func (s *Store) load() error {
	conn := s.writer.conn
	known, err := conn.Int(`SELECT count(*) FROM meta`)
	if err != nil {
		return err
	}
	if known == 0 {
		if err := s.writer.transaction(s.found); err != nil {
			return err
		}
	}
	var lanes, settled int64
	var epoch, saved []byte
	err = readMeta(conn, map[string]func(*engine.Stmt){
		metaEpoch:   func(row *engine.Stmt) { epoch = row.Blob(0) },
		metaLanes:   func(row *engine.Stmt) { lanes = row.Int(0) },
		metaSettled: func(row *engine.Stmt) { settled = row.Int(0) },
		metaClocks:  func(row *engine.Stmt) { saved = row.Blob(0) },
	})
	if err != nil {
		return err
	}
	if s.config.Lanes != 0 && int64(s.config.Lanes) != lanes {
		return fmt.Errorf("%w: it has %d lanes and %d are configured; configure %d, or change the number with 'doorman lanes set'",
			store.ErrSchema, lanes, s.config.Lanes, lanes)
	}
	s.identity = store.Identity{Epoch: string(epoch), Lanes: int(lanes)}
	if s.view.clocks, err = decodeClocks(saved, int(lanes)); err != nil {
		return err
	}
	s.settling.settled, s.settling.from = uint64(settled), uint64(settled)
	return s.loadRest(conn, int(lanes))
}

func (s *Store) loadRest(conn *engine.Conn, lanes int) error {
	err := each(conn, sqlEpochs, func(row *engine.Stmt) {
		s.view.epochs = append(s.view.epochs, uint64(row.Int(0)))
	})
	if err != nil {
		return err
	}
	if len(s.view.epochs) != lanes {
		return fmt.Errorf("%w: %d lanes are listed where %d should be", store.ErrSchema, len(s.view.epochs), lanes)
	}
	s.lot = newLot(lanes)
	err = each(conn, sqlParkedIDs, func(row *engine.Stmt) { s.lot.parked[idAt(row, 0)] = struct{}{} })
	if err != nil {
		return err
	}
	s.view.parked = len(s.lot.parked)
	if s.settling.numbers, err = conn.Int(sqlLastNumber); err != nil {
		return err
	}
	end, err := conn.Int(sqlEnd)
	s.view.end = uint64(end)
	return err
}

// found writes the identity of a new store.
func (s *Store) found() error {
	lanes := s.config.Lanes
	if lanes == 0 {
		lanes = defaultLanes
	}
	insert, err := s.writer.conn.Prepare(sqlInsertMeta)
	if err != nil {
		return err
	}
	defer insert.Close()
	insert.BindText(1, metaEpoch)
	insert.BindText(2, rand.Text()[:12])
	err = insert.Run()
	for key, value := range map[string]int64{metaLanes: int64(lanes), metaSettled: 0} {
		insert.BindText(1, key)
		insert.BindInt(2, value)
		err = errors.Join(err, insert.Run())
	}
	insert.BindText(1, metaClocks)
	insert.BindBlob(2, make(clocks, lanes).encode())
	err = errors.Join(err, insert.Run())
	lane, prepared := s.writer.conn.Prepare(sqlInsertLane)
	if err = errors.Join(err, prepared); err != nil {
		return err
	}
	defer lane.Close()
	for i := range lanes {
		lane.BindInt(1, int64(i))
		err = errors.Join(err, lane.Run())
	}
	return err
}

func readMeta(conn *engine.Conn, wanted map[string]func(*engine.Stmt)) error {
	s, err := conn.Prepare(sqlMeta)
	if err != nil {
		return err
	}
	defer s.Close()
	for key, take := range wanted {
		s.BindText(1, key)
		row, err := s.Step()
		if err != nil {
			return err
		}
		if !row {
			return fmt.Errorf("%w: %s is missing in it", store.ErrSchema, key)
		}
		take(s)
		s.Reset()
	}
	return nil
}

func each(conn *engine.Conn, sql string, take func(*engine.Stmt)) error {
	s, err := conn.Prepare(sql)
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		row, err := s.Step()
		if err != nil || !row {
			return err
		}
		take(s)
	}
}

func idAt(row *engine.Stmt, column int) (id commands.ID) {
	copy(id[:], row.View(column))
	return id
}

// replay brings the heads up to date with the end of the log, which no row may reflect yet. The rows
// themselves are left to the next sweep.
func (s *Store) replay() error {
	r := <-s.readers.idle
	defer func() { s.readers.idle <- r }()
	log, err := s.writer.conn.Prepare(sqlLogAfter)
	if err != nil {
		return err
	}
	defer log.Close()
	log.BindInt(1, int64(s.settling.settled))
	log.BindInt(2, -1)
	seen := map[commands.Stream]*stream{}
	for {
		row, err := log.Step()
		if err != nil || !row {
			return err
		}
		o := readOutcome(log)
		if err := record.DecodeOutcome(log.Blob(logBody), o); err != nil {
			return fmt.Errorf("position %d: %w", o.Position, err)
		}
		s.settling.age += unitsOf(o)
		if !o.Landed() {
			continue
		}
		known, ok := seen[o.Stream]
		if !ok {
			h, err := r.row(o.Stream)
			if err != nil {
				return err
			}
			known = newStream(o.Stream, h)
			seen[known.name] = known
		}
		s.redo(known, o)
	}
}

// redo applies a landing to a head unless its row reflects it.
func (s *Store) redo(known *stream, o *commands.Outcome) {
	h := known.head
	if o.Position <= h.Position {
		return
	}
	if len(o.Events) > 0 {
		h.land(landing{first: o.FirstVersion(), position: o.Position})
	}
	h.Version, h.Action, h.Position, h.At = o.Version, o.ID, o.Position, o.At
	h.Session, h.ByAny = strings.Clone(o.Session), o.Policy == commands.PolicyAny
	known.unsettled = true
	s.view.unsettled[known.name] = known
}

// settleAll writes every row that lags behind.
func (s *Store) settleAll() error {
	p := &s.settling
	s.staging.clear()
	p.begin(s.view)
	p.sweep(&s.staging, p.every)
	if err := s.writer.transaction(func() error { return p.write(s.writer) }); err != nil {
		return err
	}
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	p.committed(s.view)
	return nil
}
