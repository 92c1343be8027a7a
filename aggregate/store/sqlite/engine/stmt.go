package engine

import (
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Stmt is a prepared statement. Bind its parameters, counted from 1, then Run it, or Step through its rows
// and Reset it. A failed Bind shows in the next Step.
type Stmt struct {
	conn   *Conn
	handle uintptr
	params []param
	failed error
}

// param is memory for the text or blob bound to one parameter; SQLite reads it in place.
type param struct {
	at   uintptr
	size int
}

// keepRoom is the most bytes of room that a parameter keeps after a smaller value has been bound.
const keepRoom = 64 << 10

// Prepare compiles one statement.
func (c *Conn) Prepare(sql string) (*Stmt, error) {
	text, err := libc.CString(sql)
	if err != nil {
		return nil, errNoMemory
	}
	defer libc.Xfree(c.tls, text)
	rc := sqlite3.Xsqlite3_prepare_v3(c.tls, c.db, text, -1, sqlite3.SQLITE_PREPARE_PERSISTENT, c.room, 0)
	if rc != sqlite3.SQLITE_OK {
		return nil, c.error(rc)
	}
	s := &Stmt{conn: c, handle: c.word(0)}
	s.params = make([]param, sqlite3.Xsqlite3_bind_parameter_count(c.tls, s.handle))
	c.open[s] = struct{}{}
	return s, nil
}

// Close releases the statement.
func (s *Stmt) Close() {
	if s.handle == 0 {
		return
	}
	sqlite3.Xsqlite3_finalize(s.conn.tls, s.handle)
	for _, p := range s.params {
		if p.at != 0 {
			libc.Xfree(s.conn.tls, p.at)
		}
	}
	s.handle, s.params = 0, nil
	delete(s.conn.open, s)
}

func (s *Stmt) check(rc int32) {
	if rc != sqlite3.SQLITE_OK && s.failed == nil {
		s.failed = s.conn.error(rc)
	}
}

// BindInt binds a number.
func (s *Stmt) BindInt(i int, value int64) {
	s.check(sqlite3.Xsqlite3_bind_int64(s.conn.tls, s.handle, int32(i), value))
}

// BindNull binds NULL.
func (s *Stmt) BindNull(i int) {
	s.check(sqlite3.Xsqlite3_bind_null(s.conn.tls, s.handle, int32(i)))
}

// BindBlob binds a copy of the bytes; nil is NULL, and no bytes are not.
func (s *Stmt) BindBlob(i int, value []byte) {
	if value == nil {
		s.BindNull(i)
		return
	}
	if at, ok := s.put(i, unsafe.String(unsafe.SliceData(value), len(value))); ok {
		s.check(sqlite3.Xsqlite3_bind_blob(s.conn.tls, s.handle, int32(i), at, int32(len(value)), 0))
	}
}

// BindText binds a copy of the text.
func (s *Stmt) BindText(i int, value string) {
	if at, ok := s.put(i, value); ok {
		s.check(sqlite3.Xsqlite3_bind_text(s.conn.tls, s.handle, int32(i), at, int32(len(value)), 0))
	}
}

// BindTextBytes binds a copy of the bytes as text.
func (s *Stmt) BindTextBytes(i int, value []byte) {
	s.BindText(i, unsafe.String(unsafe.SliceData(value), len(value)))
}

// put copies bytes to the room of a parameter. There is always room, so that no bytes have an address too,
// by which SQLite tells them from NULL.
func (s *Stmt) put(i int, value string) (uintptr, bool) {
	if i < 1 || i > len(s.params) {
		s.check(sqlite3.SQLITE_RANGE)
		return 0, false
	}
	p := &s.params[i-1]
	if p.size < len(value) || p.at == 0 || p.size > keepRoom && len(value) < p.size/2 {
		if p.at != 0 {
			// What is bound must not point at freed memory, not even until the next line.
			s.BindNull(i)
			libc.Xfree(s.conn.tls, p.at)
		}
		p.size = max(64, len(value)+len(value)/4)
		if p.at = libc.Xmalloc(s.conn.tls, libc.Tsize_t(p.size)); p.at == 0 {
			p.size = 0
			s.failed = errNoMemory
			return 0, false
		}
	}
	copy(bytesAt(p.at, p.size), value)
	return p.at, true
}

// Step goes to the next row; row is false when there is none. After an error, and after the last row, the
// statement is reset.
func (s *Stmt) Step() (row bool, err error) {
	if s.failed != nil {
		err, s.failed = s.failed, nil
		return false, err
	}
	switch rc := sqlite3.Xsqlite3_step(s.conn.tls, s.handle); rc {
	case sqlite3.SQLITE_ROW:
		return true, nil
	case sqlite3.SQLITE_DONE:
		s.Reset()
		return false, nil
	default:
		err = s.conn.error(rc)
		s.Reset()
		return false, err
	}
}

// Run steps to the end.
func (s *Stmt) Run() error {
	for {
		if row, err := s.Step(); err != nil || !row {
			return err
		}
	}
}

// Reset makes the statement ready to run again; what is bound stays bound.
func (s *Stmt) Reset() {
	// The code it returns is that of the last step, which has been reported.
	sqlite3.Xsqlite3_reset(s.conn.tls, s.handle)
}

// Int is a column of the row, counted from 0, as a number.
func (s *Stmt) Int(column int) int64 {
	return sqlite3.Xsqlite3_column_int64(s.conn.tls, s.handle, int32(column))
}

// IsNull tells whether a column of the row is NULL.
func (s *Stmt) IsNull(column int) bool {
	return sqlite3.Xsqlite3_column_type(s.conn.tls, s.handle, int32(column)) == sqlite3.SQLITE_NULL
}

// View is a column's bytes where SQLite has them, until the next Step or Reset. It is nil for NULL and for
// no bytes.
func (s *Stmt) View(column int) []byte {
	at := sqlite3.Xsqlite3_column_blob(s.conn.tls, s.handle, int32(column))
	n := sqlite3.Xsqlite3_column_bytes(s.conn.tls, s.handle, int32(column))
	if at == 0 || n == 0 {
		return nil
	}
	return bytesAt(at, int(n))
}

// Blob is a copy of a column's bytes; nil for NULL.
func (s *Stmt) Blob(column int) []byte {
	view := s.View(column)
	if len(view) == 0 {
		if s.IsNull(column) {
			return nil
		}
		return []byte{}
	}
	return append(make([]byte, 0, len(view)), view...)
}

// Text is a column as text.
func (s *Stmt) Text(column int) string { return string(s.View(column)) }
