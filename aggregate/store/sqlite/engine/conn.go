package engine

import (
	"fmt"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Options say how a connection is opened.
type Options struct {
	// Create makes the database if there is none.
	Create bool
	// Pragmas are set in this order, each "name = value".
	Pragmas []string
}

// Conn is one connection to a database file.
type Conn struct {
	tls  *libc.TLS
	db   uintptr
	room uintptr // for results that SQLite hands out through pointers: four words
	open map[*Stmt]struct{}
}

// word is the size of a pointer, and of what SQLite hands out through one.
const word = unsafe.Sizeof(uintptr(0))

// Open opens the file.
func Open(path string, options Options) (*Conn, error) {
	c := &Conn{tls: libc.NewTLS(), open: map[*Stmt]struct{}{}}
	if c.room = libc.Xmalloc(c.tls, libc.Tsize_t(4*word)); c.room == 0 {
		c.tls.Close()
		return nil, errNoMemory
	}
	flags := int32(sqlite3.SQLITE_OPEN_READWRITE | sqlite3.SQLITE_OPEN_NOMUTEX)
	if options.Create {
		flags |= sqlite3.SQLITE_OPEN_CREATE
	}
	if err := c.connect(path, flags); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	for _, pragma := range options.Pragmas {
		if err := c.Exec("PRAGMA " + pragma); err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("open %s: PRAGMA %s: %w", path, pragma, err)
		}
	}
	return c, nil
}

func (c *Conn) connect(path string, flags int32) error {
	name, err := libc.CString(path)
	if err != nil {
		return errNoMemory
	}
	defer libc.Xfree(c.tls, name)
	c.setWord(0, 0)
	rc := sqlite3.Xsqlite3_open_v2(c.tls, name, c.room, flags, 0)
	c.db = c.word(0)
	if rc != sqlite3.SQLITE_OK {
		return c.error(rc)
	}
	sqlite3.Xsqlite3_extended_result_codes(c.tls, c.db, 1)
	return nil
}

func (c *Conn) word(i uintptr) uintptr { return *(*uintptr)(pointer(c.room + i*word)) }

func (c *Conn) setWord(i, value uintptr) { *(*uintptr)(pointer(c.room + i*word)) = value }

// Close closes the connection with all its statements. It is safe to call twice.
func (c *Conn) Close() error {
	if c.tls == nil {
		return nil
	}
	for s := range c.open {
		s.Close()
	}
	var err error
	if c.db != 0 {
		if rc := sqlite3.Xsqlite3_close_v2(c.tls, c.db); rc != sqlite3.SQLITE_OK {
			err = c.error(rc)
		}
	}
	libc.Xfree(c.tls, c.room)
	c.tls.Close()
	c.tls, c.db, c.room = nil, 0, 0
	return err
}

// Exec runs one statement that has no parameters; rows are dropped.
func (c *Conn) Exec(sql string) error {
	s, err := c.Prepare(sql)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Run()
}

// Int runs one statement that has no parameters and gives the first column of its first row; 0 when there
// is no row.
func (c *Conn) Int(sql string) (int64, error) {
	s, err := c.Prepare(sql)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	row, err := s.Step()
	if err != nil || !row {
		return 0, err
	}
	return s.Int(0), nil
}

// InTransaction tells whether a transaction is open.
func (c *Conn) InTransaction() bool { return sqlite3.Xsqlite3_get_autocommit(c.tls, c.db) == 0 }

// Changes is how many rows the last INSERT, UPDATE or DELETE changed.
func (c *Conn) Changes() int { return int(sqlite3.Xsqlite3_changes(c.tls, c.db)) }

// Checkpoint modes (sqlite.org/c3ref/wal_checkpoint_v2.html).
const (
	Look     = sqlite3.SQLITE_CHECKPOINT_NOOP     // move nothing, only tell
	Passive  = sqlite3.SQLITE_CHECKPOINT_PASSIVE  // as far as it goes without waiting for anybody
	Restart  = sqlite3.SQLITE_CHECKPOINT_RESTART  // all of it, waiting, and the next write begins at the front
	Truncate = sqlite3.SQLITE_CHECKPOINT_TRUNCATE // all of it, waiting, and the log is emptied
)

// Checkpoint moves pages from the write-ahead log into the database file. It tells how many frames the log
// has and how many of them are in the database file now.
func (c *Conn) Checkpoint(mode int) (frames, moved int, err error) {
	rc := sqlite3.Xsqlite3_wal_checkpoint_v2(c.tls, c.db, 0, int32(mode), c.room, c.room+word)
	if rc != sqlite3.SQLITE_OK {
		return 0, 0, c.error(rc)
	}
	return int(*(*int32)(pointer(c.room))), int(*(*int32)(pointer(c.room + word))), nil
}
