package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	driver "modernc.org/sqlite"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/projections/runner"
)

// ErrDamaged says that the file was not as SQLite wrote it. It has been put aside, and passes by itself: the
// projections in it begin anew.
var ErrDamaged = errors.New("the file is damaged")

// errNotOpen says that the file could not be opened again after it was put aside, or is closed.
var errNotOpen = errors.New("the file is not open")

// SQLite's primary result codes (sqlite.org/rescode.html).
const (
	codeError      = 1 // also: a table that is missing, or there already
	codeCorrupt    = 11
	codeConstraint = 19
	codeTooBig     = 18
	codeMismatch   = 20
	codeNotADB     = 26
)

// failed names the operation and says by our own errors what SQLite's comes to.
func (p *Projections) failed(operation string, err error) error {
	if err == nil || errors.Is(err, runner.ErrMoved) {
		return err
	}
	answer, answered := errors.AsType[*driver.Error](err)
	switch {
	case errors.Is(err, errNotOpen), errors.Is(err, ErrDamaged):
		return fmt.Errorf("%s: %s: %w: %w", operation, p.path, store.ErrUnavailable, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, sql.ErrConnDone):
		return fmt.Errorf("%s: %w: %w", operation, store.ErrUnavailable, err)
	case !answered:
		return fmt.Errorf("%s: %w", operation, err)
	}
	switch answer.Code() & 0xff {
	case codeCorrupt, codeNotADB:
		return fmt.Errorf("%s: %s: %w: %w: %w", operation, p.path, store.ErrUnavailable, ErrDamaged, err)
	case codeConstraint, codeTooBig, codeMismatch:
		return fmt.Errorf("%s: %w", operation, err)
	}
	// It is full, or cannot be read or written now.
	return fmt.Errorf("%s: %w: %w", operation, store.ErrUnavailable, err)
}

// unopened says what it comes to that the schema could not be brought up to date. A file that SQLite can read
// and in which the tables are not as the migrations left them is damaged as well.
func (p *Projections) unopened(ctx context.Context, err error) error {
	answer, answered := errors.AsType[*driver.Error](err)
	switch {
	case errors.Is(err, store.ErrSchema), ctx.Err() != nil:
	case !answered, answer.Code()&0xff == codeError, answer.Code()&0xff == codeConstraint, answer.Code()&0xff == codeMismatch:
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return p.failed("migrate "+p.path, err)
}

// unread says what it comes to that a row could not be taken over. The schema is strict: a value that is not
// of its column's type was not written by SQLite.
func unread(ctx context.Context, err error) error {
	if _, answered := errors.AsType[*driver.Error](err); err == nil || answered || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}
