package engine

import (
	"errors"
	"fmt"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Error is what SQLite says.
type Error struct {
	Code    int // the extended result code, sqlite.org/rescode.html
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("sqlite: %s (code %d)", e.Message, e.Code) }

// Primary is the primary result code, the low byte of the extended one.
func (e *Error) Primary() int { return e.Code & 0xff }

// Result codes that the store tells apart.
const (
	Busy       = sqlite3.SQLITE_BUSY
	Constraint = sqlite3.SQLITE_CONSTRAINT
	Corrupt    = sqlite3.SQLITE_CORRUPT
	Full       = sqlite3.SQLITE_FULL
	IOError    = sqlite3.SQLITE_IOERR
	CantOpen   = sqlite3.SQLITE_CANTOPEN
	Mismatch   = sqlite3.SQLITE_MISMATCH
	NoMemory   = sqlite3.SQLITE_NOMEM
	TooBig     = sqlite3.SQLITE_TOOBIG

	ConstraintUnique     = sqlite3.SQLITE_CONSTRAINT_UNIQUE
	ConstraintPrimaryKey = sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
	IOErrorWrite         = sqlite3.SQLITE_IOERR_WRITE
)

var errNoMemory = &Error{Code: NoMemory, Message: "out of memory"}

// CodeOf is the extended result code in an error, 0 when SQLite has nothing to do with it.
func CodeOf(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return 0
}

func (c *Conn) error(rc int32) error {
	if c.db == 0 {
		return &Error{Code: int(rc), Message: libc.GoString(sqlite3.Xsqlite3_errstr(c.tls, rc))}
	}
	// The message kept with the connection may be that of another call; it is of use when it is this one's.
	if known := sqlite3.Xsqlite3_extended_errcode(c.tls, c.db); known == rc {
		return &Error{Code: int(rc), Message: libc.GoString(sqlite3.Xsqlite3_errmsg(c.tls, c.db))}
	}
	return &Error{Code: int(rc), Message: libc.GoString(sqlite3.Xsqlite3_errstr(c.tls, rc))}
}
