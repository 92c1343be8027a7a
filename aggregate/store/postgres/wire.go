package postgres

import (
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/ticketed/doorman/commands"
)

// Parameters and results travel in Postgres's binary format and are written and read here, row by row,
// into buffers that are used again: the general codecs of pgx box every element of an array.

// column is one array parameter under construction.
type column struct{ b []byte }

// start begins an array of n elements, all of which must follow.
func (c *column) start(element uint32, n int) {
	c.b = c.b[:0]
	dimensions := uint32(1)
	if n == 0 {
		dimensions = 0
	}
	c.b = binary.BigEndian.AppendUint32(c.b, dimensions)
	c.b = binary.BigEndian.AppendUint32(c.b, 0)
	c.b = binary.BigEndian.AppendUint32(c.b, element)
	if n > 0 {
		c.b = binary.BigEndian.AppendUint32(c.b, uint32(n))
		c.b = binary.BigEndian.AppendUint32(c.b, 1)
	}
}

func (c *column) null() { c.b = binary.BigEndian.AppendUint32(c.b, 0xffff_ffff) }

func (c *column) int32(v int32) {
	c.b = binary.BigEndian.AppendUint32(c.b, 4)
	c.b = binary.BigEndian.AppendUint32(c.b, uint32(v))
}

func (c *column) int64(v int64) {
	c.b = binary.BigEndian.AppendUint32(c.b, 8)
	c.b = binary.BigEndian.AppendUint64(c.b, uint64(v))
}

func (c *column) bool(v bool) {
	c.b = binary.BigEndian.AppendUint32(c.b, 1)
	if v {
		c.b = append(c.b, 1)
	} else {
		c.b = append(c.b, 0)
	}
}

func (c *column) id(v commands.ID) {
	c.b = binary.BigEndian.AppendUint32(c.b, 16)
	c.b = append(c.b, v[:]...)
}

func (c *column) time(v time.Time) { c.int64(timestamp(v)) }

func (c *column) text(v string) {
	c.b = binary.BigEndian.AppendUint32(c.b, uint32(len(v)))
	c.b = append(c.b, v...)
}

func (c *column) bytes(v []byte) {
	c.b = binary.BigEndian.AppendUint32(c.b, uint32(len(v)))
	c.b = append(c.b, v...)
}

func (c *column) name(v commands.Stream) {
	c.built(func(b []byte) []byte { return appendName(b, v) })
}

// built appends an element that is written in place.
func (c *column) built(write func([]byte) []byte) {
	at := len(c.b)
	c.b = write(append(c.b, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(c.b[at:], uint32(len(c.b)-at-4))
}

// appendName writes how a stream is called in the tables: [tenant/]type/id.
func appendName(b []byte, s commands.Stream) []byte {
	if s.Tenant != "" {
		b = append(b, s.Tenant...)
		b = append(b, '/')
	}
	return s.AppendTo(b)
}

// parseName reads what appendName wrote. A type and an id hold no slash, so the last two part the name.
func parseName(name string) commands.Stream {
	var s commands.Stream
	at := lastSlash(name)
	name, s.ID = name[:max(at, 0)], name[at+1:]
	at = lastSlash(name)
	s.Type = name[at+1:]
	s.Tenant = name[:max(at, 0)]
	return s
}

func lastSlash(text string) int {
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] == '/' {
			return i
		}
	}
	return -1
}

// postgresEpoch is 2000-01-01, from which Postgres counts microseconds.
const postgresEpoch = 946684800 * 1_000_000

func timestamp(v time.Time) int64 { return v.UnixMicro() - postgresEpoch }

// Single parameters.

// numberParam writes a bigint. A number beyond all that are stored is as good as a quarter of the largest,
// of which several can be added up.
func numberParam(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, min(v, 1<<61)) }

// limitParam writes a bigint for the number of rows wanted; below zero it is none.
func limitParam(v int) []byte { return numberParam(uint64(max(v, 0))) }

func intParam(v int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(v)) }

func timeParam(v time.Time) []byte { return binary.BigEndian.AppendUint64(nil, uint64(timestamp(v))) }

func nameParam(s commands.Stream) []byte { return appendName(nil, s) }

func idsParam(ids []commands.ID) []byte {
	c := column{b: make([]byte, 0, 20+20*len(ids))}
	c.start(pgtype.UUIDOID, len(ids))
	for _, id := range ids {
		c.id(id)
	}
	return c.b
}

func numbersParam(ns []uint64) []byte {
	var c column
	c.start(pgtype.Int8OID, len(ns))
	for _, n := range ns {
		c.int64(int64(n))
	}
	return c.b
}

func lanesParam(lanes []int) []byte {
	var c column
	c.start(pgtype.Int4OID, len(lanes))
	for _, lane := range lanes {
		c.int32(int32(lane))
	}
	return c.b
}

// row is one row of a result. Its memory is that of the connection: what is kept must be copied.
type row [][]byte

func (r row) null(i int) bool { return r[i] == nil }

// int64 reads a bigint; null is 0.
func (r row) int64(i int) int64 {
	if len(r[i]) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(r[i]))
}

func (r row) uint64(i int) uint64 { return uint64(r.int64(i)) }

// int reads an integer; null is 0.
func (r row) int(i int) int {
	if len(r[i]) != 4 {
		return 0
	}
	return int(int32(binary.BigEndian.Uint32(r[i])))
}

func (r row) bool(i int) bool { return len(r[i]) == 1 && r[i][0] == 1 }

func (r row) id(i int) (id commands.ID) {
	copy(id[:], r[i])
	return id
}

func (r row) time(i int) time.Time { return time.UnixMicro(r.int64(i) + postgresEpoch).UTC() }

func (r row) text(i int) string { return string(r[i]) }

// bytes copies; null is nil.
func (r row) bytes(i int) []byte {
	if r[i] == nil {
		return nil
	}
	return append(make([]byte, 0, len(r[i])), r[i]...)
}

func (r row) stream(i int) commands.Stream { return parseName(string(r[i])) }

// list takes an array of one dimension apart; null and nulls in it are empty elements.
func (r row) list(i int) row {
	b := r[i]
	if len(b) < 20 {
		return nil
	}
	elements := make(row, binary.BigEndian.Uint32(b[12:]))
	b = b[20:]
	for n := range elements {
		size := int32(binary.BigEndian.Uint32(b))
		b = b[4:]
		if size >= 0 {
			elements[n] = b[:size:size]
			b = b[size:]
		}
	}
	return elements
}
