package sqlite

import (
	"context"
	"errors"
	"math"

	"github.com/ticketed/doorman/aggregate/store/sqlite/engine"
)

// errEnough ends the reading of rows.
var errEnough = errors.New("enough")

// rows runs a statement that is not worth keeping prepared.
func rows(conn *engine.Conn, sql string, bind func(*engine.Stmt), each func(*engine.Stmt) error) error {
	stmt, err := conn.Prepare(sql)
	if err != nil {
		return err
	}
	defer stmt.Close()
	if bind != nil {
		bind(stmt)
	}
	for {
		row, err := stmt.Step()
		if err != nil || !row {
			return err
		}
		if each == nil {
			continue
		}
		if err := each(stmt); err != nil {
			if errors.Is(err, errEnough) {
				err = nil
			}
			return err
		}
	}
}

// change runs one transaction beside commits, and then, before anybody else may write, tells how it ended.
func (s *Store) change(ctx context.Context, operation string, change func(*engine.Conn) error, ended func(error)) error {
	if err := ctx.Err(); err != nil {
		return failed(operation, err)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.ready(); err != nil {
		return err
	}
	err := s.writer.transaction(func() error { return failed(operation, change(s.writer.conn)) })
	if ended != nil {
		ended(err)
	}
	if err == nil {
		s.checkpoints.committed(s.writer.conn)
	}
	return err
}

// changeEach runs a statement with one parameter for each number, in one transaction.
func (s *Store) changeEach(ctx context.Context, operation, sql string, ns []uint64) error {
	if len(ns) == 0 {
		return nil
	}
	return s.change(ctx, operation, func(conn *engine.Conn) error {
		stmt, err := conn.Prepare(sql)
		if err != nil {
			return err
		}
		defer stmt.Close()
		for _, n := range ns {
			stmt.BindInt(1, boundedNumber(n))
			if err := stmt.Run(); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}

// boundedNumber is a number as SQLite has them: those beyond are as good as its largest.
func boundedNumber(n uint64) int64 { return int64(min(n, math.MaxInt64)) }
