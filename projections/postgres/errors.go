package postgres

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ticketed/doorman/aggregate/store"
)

// SQLSTATEs that mean something to us (Postgres, Appendix A).
const (
	stateUniqueViolation       = "23505"
	stateInsufficientPrivilege = "42501"
	stateUndefinedTable        = "42P01"
)

// contentClasses are the classes of answers that blame what was to be stored: data that the types cannot hold,
// violated constraints, limits. All others are about the server, the session or the schema, and go away when
// somebody mends those.
var contentClasses = map[string]bool{"22": true, "23": true, "54": true}

func state(err error) string {
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok {
		return answer.Code
	}
	return ""
}

// failed names the operation and says by our own errors what went wrong.
func failed(operation string, err error) error {
	if code := state(err); len(code) == 5 && contentClasses[code[:2]] {
		return fmt.Errorf("postgres: %s: %w", operation, err)
	}
	return fmt.Errorf("%w: postgres: %s: %w", store.ErrUnavailable, operation, err)
}
