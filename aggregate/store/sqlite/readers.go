package sqlite

import (
	"context"
	"errors"
	"sync"

	"github.com/ticketed/doorman/aggregate/store/sqlite/engine"
	"github.com/ticketed/doorman/commands"
)

// The statements of a connection that reads.
const (
	outcomeColumns = `position, id, stream, version, body`

	sqlLogAfter    = `SELECT ` + outcomeColumns + ` FROM log WHERE position > ? ORDER BY position LIMIT ?`
	sqlLogAt       = `SELECT ` + outcomeColumns + ` FROM log WHERE position = ?`
	sqlOutcomeByID = `SELECT ` + outcomeColumns + ` FROM log WHERE id = ?`

	sqlStreamByName = `SELECT number, version, action, position, at, session, by_any, tail, state, state_version
		FROM streams WHERE name = ?`
	sqlState    = `SELECT state, state_version FROM streams WHERE number = ?`
	sqlSnapshot = `SELECT state, version FROM snapshots WHERE stream = ? AND version <= ?
		ORDER BY version DESC LIMIT 1`
	// The page that a version is on, and those after it.
	sqlPages = `SELECT landings FROM stream_pages WHERE stream = ?1 AND first_version >= (
		SELECT coalesce(max(first_version), 0) FROM stream_pages WHERE stream = ?1 AND first_version <= ?2
	) ORDER BY first_version`

	waitingColumns    = `id, stream, seq, deadline, parked_at, body`
	sqlParkedOnStream = `SELECT ` + waitingColumns + ` FROM parked WHERE stream = ? ORDER BY number`
	sqlParkedByID     = `SELECT ` + waitingColumns + ` FROM parked WHERE id = ?`
	// The second condition is that of the index.
	sqlParkedOfSession = `SELECT number FROM parked WHERE session = ? AND session <> '' ORDER BY number LIMIT ?`
	sqlParkedAt        = `SELECT id, stream, seq, deadline, parked_at, session FROM parked WHERE number = ?`
	sqlBacklog         = `SELECT id, stream, session, deadline, lane FROM parked ORDER BY number`
)

// Columns of outcomeColumns.
const (
	logPosition = iota
	logID
	logStream
	logVersion
	logBody
)

// Columns of waitingColumns.
const (
	waitingID = iota
	waitingStream
	waitingSeq
	waitingDeadline
	waitingParkedAt
	waitingBody
)

// reader is one connection that reads, with its statements.
type reader struct {
	conn *engine.Conn

	begin, end *engine.Stmt

	logAfter, logAt, outcomeByID, endOfLog *engine.Stmt

	streamByName, state, snapshot, pages *engine.Stmt

	parkedOnStream, parkedByID, parkedOfSession, parkedAt, backlog *engine.Stmt
}

func openReader(path string, pragmas []string) (*reader, error) {
	conn, err := engine.Open(path, engine.Options{Pragmas: append(pragmas, "query_only = ON")})
	if err != nil {
		return nil, err
	}
	r := &reader{conn: conn}
	err = prepare(conn, map[string]**engine.Stmt{
		`BEGIN`: &r.begin, sqlCommit: &r.end,
		sqlLogAfter: &r.logAfter, sqlLogAt: &r.logAt, sqlOutcomeByID: &r.outcomeByID, sqlEnd: &r.endOfLog,
		sqlStreamByName: &r.streamByName, sqlState: &r.state, sqlSnapshot: &r.snapshot, sqlPages: &r.pages,
		sqlParkedOnStream: &r.parkedOnStream, sqlParkedByID: &r.parkedByID, sqlParkedOfSession: &r.parkedOfSession,
		sqlParkedAt: &r.parkedAt, sqlBacklog: &r.backlog,
	})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return r, nil
}

// readers are the connections for reading, of which any number of callers use one at a time each.
type readers struct {
	idle   chan *reader
	all    []*reader
	closed chan struct{}
	once   sync.Once
}

func openReaders(path string, pragmas []string, count int) (*readers, error) {
	p := &readers{idle: make(chan *reader, count), closed: make(chan struct{})}
	for range count {
		r, err := openReader(path, pragmas)
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.all = append(p.all, r)
		p.idle <- r
	}
	return p, nil
}

// read runs within one read transaction: all it reads is of one moment.
func (p *readers) read(ctx context.Context, operation string, run func(*reader) error) error {
	if err := ctx.Err(); err != nil {
		return failed(operation, err)
	}
	select {
	case <-p.closed:
		return errClosed
	default:
	}
	var r *reader
	select {
	case r = <-p.idle:
	default:
		select {
		case r = <-p.idle:
		case <-p.closed:
			return errClosed
		case <-ctx.Done():
			return failed(operation, ctx.Err())
		}
	}
	defer func() { p.idle <- r }()
	if err := r.begin.Run(); err != nil {
		return failed(operation, err)
	}
	err := run(r)
	return failed(operation, errors.Join(err, r.end.Run()))
}

// close waits for reads under way.
func (p *readers) close() error {
	var errs []error
	p.once.Do(func() {
		close(p.closed)
		for range p.all {
			errs = append(errs, (<-p.idle).conn.Close())
		}
	})
	return errors.Join(errs...)
}

// readOutcome reads a row of the log, all but what is in its body.
func readOutcome(row *engine.Stmt) *commands.Outcome {
	return &commands.Outcome{
		Position: uint64(row.Int(logPosition)), ID: idAt(row, logID),
		Stream: parseStreamName(row.Text(logStream)), Version: uint64(row.Int(logVersion)),
	}
}
