package engine

import (
	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// BlobHead reads the first bytes of a blob, n at most, without the pages that hold the rest of it. A SELECT of
// a part of the column would read all of them.
func (c *Conn) BlobHead(table, column string, row int64, n int) ([]byte, error) {
	names := make([]uintptr, 0, 3)
	defer func() {
		for _, name := range names {
			libc.Xfree(c.tls, name)
		}
	}()
	for _, text := range []string{"main", table, column} {
		name, err := libc.CString(text)
		if err != nil {
			return nil, errNoMemory
		}
		names = append(names, name)
	}
	c.setWord(0, 0)
	rc := sqlite3.Xsqlite3_blob_open(c.tls, c.db, names[0], names[1], names[2], row, 0, c.room)
	if rc != sqlite3.SQLITE_OK {
		return nil, c.error(rc)
	}
	blob := c.word(0)
	defer sqlite3.Xsqlite3_blob_close(c.tls, blob)
	n = min(n, int(sqlite3.Xsqlite3_blob_bytes(c.tls, blob)))
	if n <= 0 {
		return []byte{}, nil
	}
	at := libc.Xmalloc(c.tls, libc.Tsize_t(n))
	if at == 0 {
		return nil, errNoMemory
	}
	defer libc.Xfree(c.tls, at)
	if rc := sqlite3.Xsqlite3_blob_read(c.tls, blob, at, int32(n), 0); rc != sqlite3.SQLITE_OK {
		return nil, c.error(rc)
	}
	return append(make([]byte, 0, n), bytesAt(at, n)...), nil
}
