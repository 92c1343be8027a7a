package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/sqlite/engine"
)

var (
	errClosed   = fmt.Errorf("%w: it is closed", store.ErrUnavailable)
	errNoClaims = errors.New("commit: a batch without claims")
)

// failed names the operation and says by our own errors what SQLite's comes to. Before the end of a
// transaction nothing of it is on disk, so what goes wrong there leaves the store as it was.
func failed(operation string, err error) error {
	if err == nil {
		return nil
	}
	var e *engine.Error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w: %w", operation, store.ErrUnavailable, err)
	case !errors.As(err, &e):
		return fmt.Errorf("%s: %w", operation, err)
	}
	switch e.Primary() {
	case engine.Constraint, engine.TooBig, engine.Mismatch:
		return fmt.Errorf("%s: %w", operation, err)
	}
	// Whatever else it is, it is not the batch's fault.
	return fmt.Errorf("%s: %w: %w", operation, store.ErrUnavailable, err)
}

// failedToKeep is failed for a row whose only unique column, besides those that the store counts itself, is
// the id of a command.
func failedToKeep(operation string, err error) error {
	if err == nil {
		return nil
	}
	switch engine.CodeOf(err) {
	case engine.ConstraintUnique, engine.ConstraintPrimaryKey:
		return fmt.Errorf("%s: %w: %w", operation, store.ErrIDKnown, err)
	}
	return failed(operation, err)
}

// failedToEnd is failed for the end of a transaction. The write-ahead log ends with the frame that makes the
// batch count. If that frame could not be written, nothing was committed; if it was written and could not be
// flushed, it may be found there after a crash.
func failedToEnd(err error) error {
	var e *engine.Error
	if errors.As(err, &e) && e.Primary() == engine.IOError && e.Code != engine.IOErrorWrite {
		return fmt.Errorf("commit: %w: %w", store.ErrFateUnknown, err)
	}
	return failed("commit", err)
}
