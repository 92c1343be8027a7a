package postgres

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ticketed/doorman/aggregate/store"
)

// SQLSTATEs that mean something to us (Postgres, Appendix A). Those of class DM are raised by
// commit_batch.
const (
	stateFenced          = "DM001"
	stateIDKnown         = "DM002"
	stateNotAsBelieved   = "DM003"
	stateUniqueViolation = "23505"
	stateUndefinedTable  = "42P01"
	stateLockTimeout     = "55P03"
	stateTimeout         = "57014" // of a statement
	stateReadOnly        = "25006" // a standby
)

// notSentError: there was no connection, or the statement could not be prepared on it.
type notSentError struct{ err error }

func (e *notSentError) Error() string { return e.err.Error() }
func (e *notSentError) Unwrap() error { return e.err }

// rowError: a row that came cannot be read.
type rowError struct{ err error }

func (e *rowError) Error() string { return e.err.Error() }
func (e *rowError) Unwrap() error { return e.err }

// unavailableClasses are conditions of the server, not of the statement: connection exceptions,
// transaction rollbacks such as a deadlock, resources used up, limits of objects in use, operator
// intervention (also a cancelled or timed-out statement), and system errors.
var unavailableClasses = map[string]bool{"08": true, "40": true, "53": true, "55": true, "57": true, "58": true}

func state(err error) string {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return answer.Code
	}
	return ""
}

// failure maps an error of anything but a commit that was sent: whatever the server did not say itself is
// a broken connection, a context that is over or a closed pool.
func failure(doing string, err error) error {
	var (
		answer *pgconn.PgError
		row    *rowError
	)
	if errors.As(err, &row) || errors.As(err, &answer) && !unavailable(answer) {
		return fmt.Errorf("postgres: %s: %w", doing, err)
	}
	return fmt.Errorf("%w: postgres: %s: %w", store.ErrUnavailable, doing, err)
}

func unavailable(answer *pgconn.PgError) bool {
	return answer.Code == stateReadOnly || len(answer.Code) == 5 && unavailableClasses[answer.Code[:2]]
}

// commitFailure maps an error of a commit that may have been sent. executed says that the result of
// commit_batch had come, so that the commit itself had begun.
func commitFailure(err error, executed bool) error {
	var (
		answer  *pgconn.PgError
		notSent *notSentError
	)
	if errors.As(err, &notSent) || pgconn.SafeToRetry(err) {
		return failure("commit", err)
	}
	if !errors.As(err, &answer) {
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
