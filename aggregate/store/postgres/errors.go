package postgres

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ticketed/doorman/aggregate/store"
)

// SQLSTATEs that mean something to us (Postgres, Appendix A). Those of class DM are raised by
// commit_batch and acquire_lanes.
const (
	stateFenced          = "DM001"
	stateIDKnown         = "DM002"
	stateNotAsBelieved   = "DM003"
	stateLanesChanged    = "DM004"
	stateUniqueViolation = "23505"
	stateUndefinedTable  = "42P01"
	stateNoDatabase      = "3D000"
	stateLockTimeout     = "55P03"
	stateTimeout         = "57014" // of a statement
)

// notSentError: there was no connection, or the statement could not be prepared on it.
type notSentError struct{ err error }

func (e *notSentError) Error() string { return e.err.Error() }
func (e *notSentError) Unwrap() error { return e.err }

// rowError: a row that came cannot be read.
type rowError struct{ err error }

func (e *rowError) Error() string { return e.err.Error() }
func (e *rowError) Unwrap() error { return e.err }

// contentClasses are the classes of answers that blame what was to be stored: data that the types cannot
// hold, violated constraints, limits such as the length of a row. All others are about the server, the
// session or the schema, and go away when somebody mends those.
var contentClasses = map[string]bool{"22": true, "23": true, "54": true}

func state(err error) string {
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok {
		return answer.Code
	}
	return ""
}

// failure maps an error of anything but a commit that was sent: whatever the server did not say itself is
// a broken connection, a context that is over or a closed pool.
func failure(doing string, err error) error {
	_, unreadable := errors.AsType[*rowError](err)
	if code := state(err); unreadable || len(code) == 5 && contentClasses[code[:2]] {
		return fmt.Errorf("postgres: %s: %w", doing, err)
	}
	return fmt.Errorf("%w: postgres: %s: %w", store.ErrUnavailable, doing, err)
}

// commitFailure maps an error of a commit that may have been sent. executed says that the result of
// commit_batch had come, so that the commit itself had begun.
func commitFailure(err error, executed bool) error {
	if _, notSent := errors.AsType[*notSentError](err); notSent || pgconn.SafeToRetry(err) {
		return failure("commit", err)
	}
	answer, answered := errors.AsType[*pgconn.PgError](err)
	if !answered {
		return fmt.Errorf("%w: postgres: %w", store.ErrFateUnknown, err)
	}
	// An error that leaves the session intact is the answer in place of a commit. One that ends the
	// session (FATAL) is that only when it came before the result.
	if executed && answer.SeverityUnlocalized != "ERROR" {
		return fmt.Errorf("%w: postgres: %w", store.ErrFateUnknown, err)
	}
	switch answer.Code {
	case stateFenced:
		return fmt.Errorf("%w: %s", store.ErrFenced, answer.Message)
	case stateIDKnown:
		return fmt.Errorf("%w: %s", store.ErrIDKnown, answer.Message)
	case stateNotAsBelieved:
		return fmt.Errorf("%w: %s", store.ErrFenced, answer.Message)
	case stateUniqueViolation:
		if answer.ConstraintName == "log_id_key" || answer.ConstraintName == "parked_pkey" {
			return fmt.Errorf("%w: %s", store.ErrIDKnown, answer.Detail)
		}
		// The head of a stream is not the one the batch was judged against.
		return fmt.Errorf("%w: %s: %s", store.ErrFenced, answer.Message, answer.Detail)
	}
	return failure("commit", err)
}
