package rabbitmq

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// The headers that tell what was left out of a message. Nobody else's word is taken for them.
const (
	wholeSize   = "x-doorman-body-bytes"   // of the body, when not all of it is kept
	leftOut     = "x-doorman-headers-left" // why headers are missing
	traceHeader = "traceparent"
)

// What a table of headers may hold to be handed on. The library reads 32 levels and 8,192 elements, and ends the
// connection for more; a broker takes as many as fit into a frame.
const (
	mostLevels   = 16
	mostElements = 1024
	mostKept     = 1024 // bytes of those that matter
)

// The places in the payload of a frame of properties: class and weight, the body's size, the flags of the properties
// that follow.
const (
	sizeAt  = frameHeader + 4
	flagsAt = sizeAt + 8
	propsAt = flagsAt + 2

	hasContentType     = 1 << 15
	hasContentEncoding = 1 << 14
	hasHeaders         = 1 << 13
)

// bodySize reads the size of the body that follows a frame of properties.
func bodySize(frame []byte) (uint64, bool) {
	if len(frame) < propsAt+1 {
		return 0, false
	}
	return binary.BigEndian.Uint64(frame[sizeAt:]), true
}

// strain makes the frame of properties that is handed on: for the body as far as it is kept, and with headers that
// can be read. Mostly it is the frame as it came.
func strain(frame []byte, size, kept uint64, frameMax int) []byte {
	binary.BigEndian.PutUint64(frame[sizeAt:], kept)
	flags := binary.BigEndian.Uint16(frame[flagsAt:])
	at, ok := propsAt, true
	for _, text := range [...]uint16{hasContentType, hasContentEncoding} {
		if ok && flags&text != 0 {
			at, ok = skipText(frame, at)
		}
	}
	if !ok {
		return frame
	}
	end := at
	var table []byte // without its length
	if flags&hasHeaders != 0 {
		if len(frame)-1-at < 4 {
			return frame
		}
		length := int(binary.BigEndian.Uint32(frame[at:]))
		if length > len(frame)-1-at-4 {
			return frame
		}
		end = at + 4 + length
		table = frame[at+4 : end]
	}
	f := look(table)
	if frameMax > 0 && len(frame) > frameMax { // with what the broker added
		f.complain("they do not fit into a frame")
	}
	switch {
	case f.problem != "":
		table = f.essence()
	case kept == size:
		return frame
	default:
		table = slices.Clip(table) // what follows it is still needed
	}
	if kept < size {
		table = appendNumber(table, wholeSize, int64(size)) //nolint:gosec // no body is that long
	}
	return rebuild(frame, flags|hasHeaders, at, end, table)
}

// rebuild puts another table of headers where one was, or where it belongs.
func rebuild(frame []byte, flags uint16, at, end int, table []byte) []byte {
	out := make([]byte, 0, len(frame)-(end-at)+4+len(table))
	out = append(out, frame[:at]...)
	binary.BigEndian.PutUint16(out[flagsAt:], flags)
	out = binary.BigEndian.AppendUint32(out, uint32(len(table))) //nolint:gosec // bounded by the frame
	out = append(out, table...)
	out = append(out, frame[end:]...)
	binary.BigEndian.PutUint32(out[3:], uint32(len(out)-frameHeader-1)) //nolint:gosec // as above
	return out
}

func skipText(b []byte, at int) (int, bool) {
	if at >= len(b)-1 || at+1+int(b[at]) > len(b)-1 {
		return at, false
	}
	return at + 1 + int(b[at]), true
}

func appendNumber(table []byte, name string, value int64) []byte {
	table = append(append(table, byte(len(name))), name...)
	return binary.BigEndian.AppendUint64(append(table, 'l'), uint64(value)) //nolint:gosec // its bits
}

func appendLong(table []byte, name string, value []byte) []byte {
	table = append(append(table, byte(len(name))), name...)
	table = binary.BigEndian.AppendUint32(append(table, 'S'), uint32(len(value))) //nolint:gosec // a part of a frame
	return append(table, value...)
}

// found is what a table of headers holds that matters here.
type found struct {
	problem  string // why it is not handed on; nothing when it is
	kept     []byte // the entries that matter in any case
	elements int
}

// complain notes why the table is not handed on. The first word stands.
func (f *found) complain(problem string) {
	if f.problem == "" {
		f.problem = problem
	}
}

// look walks over a table.
func look(table []byte) (f found) {
	if len(table) > keptTable {
		f.complain(fmt.Sprintf("they take %d bytes, and %d are read", len(table), keptTable))
	}
	for at := 0; at < len(table); {
		start := at
		named, ok := skipName(table, at)
		if ok {
			at, ok = skipValue(table, named)
		}
		if !ok {
			f.complain(unknownForm)
			return f
		}
		switch name := string(table[start+1 : named]); name {
		case deliveryCount, acquiredCount, traceHeader:
			holds := table[named] == 'A' || table[named] == 'F' // anything, that is
			if !holds && len(f.kept)+at-start <= mostKept {
				f.kept = append(f.kept, table[start:at]...)
			}
		case wholeSize, leftOut:
			f.complain("one of them is named " + name)
		}
		f.check(table[named:at], 1)
	}
	return f
}

const unknownForm = "they are of no form that is known"

// check walks over what is in a value, which is a whole one.
func (f *found) check(value []byte, level int) {
	f.elements++
	switch {
	case level > mostLevels:
		f.complain(fmt.Sprintf("they are nested deeper than %d levels", mostLevels))
	case f.elements > mostElements:
		f.complain(fmt.Sprintf("there are more than %d", mostElements))
	}
	if f.problem != "" || value[0] != 'A' && value[0] != 'F' {
		return
	}
	inner, isTable := value[5:], value[0] == 'F'
	for at := 0; at < len(inner) && f.problem == ""; {
		ok := true
		if isTable {
			at, ok = skipName(inner, at)
		}
		start := at
		if ok {
			at, ok = skipValue(inner, at)
		}
		if !ok {
			f.complain(unknownForm)
			return
		}
		f.check(inner[start:at], level+1)
	}
}

func skipName(b []byte, at int) (end int, ok bool) {
	end = at + 1 + int(b[at])
	return end, end <= len(b)
}

// skipValue finds the end of a value: its type, and what that has room for.
func skipValue(b []byte, at int) (end int, ok bool) {
	if at >= len(b) {
		return at, false
	}
	end = at + 1
	switch b[at] {
	case 'V':
	case 't', 'b', 'B':
		end++
	case 's', 'u':
		end += 2
	case 'I', 'i', 'f':
		end += 4
	case 'D':
		end += 5
	case 'l', 'd', 'T':
		end += 8
	case 'S', 'x', 'A', 'F':
		if len(b)-end < 4 {
			return at, false
		}
		length := binary.BigEndian.Uint32(b[end:])
		if uint64(length) > uint64(len(b)-end-4) {
			return at, false
		}
		end += 4 + int(length)
	default:
		return at, false
	}
	return end, end <= len(b)
}

// essence is the table that is handed on instead of one that is not.
func (f *found) essence() []byte {
	return appendLong(f.kept, leftOut, []byte(f.problem))
}
