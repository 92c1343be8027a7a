package record

import (
	"encoding/binary"
	"fmt"
	"time"
	"unsafe"

	"github.com/ticketed/doorman/commands"
)

// reader takes a body apart from the front. After the first thing that does not fit it gives zero values
// and remembers what was wrong.
type reader struct {
	rest []byte
	what string
}

// early is what is wrong with a body that has been cut.
const early = "it ends early"

func (r *reader) fail(what string) {
	if r.what == "" {
		r.what = what
	}
	r.rest = nil
}

func (r *reader) err() error {
	if r.what != "" {
		return fmt.Errorf("%w: %s", ErrCorrupt, r.what)
	}
	return nil
}

// end is err for a body that must have been read to its end.
func (r *reader) end() error {
	if r.what == "" && len(r.rest) > 0 {
		r.fail("bytes are left over")
	}
	return r.err()
}

func (r *reader) flags(known byte) byte {
	if version := r.byte(); r.what == "" && version != layout {
		r.fail(fmt.Sprintf("layout %d is not known, a newer program may have written it", version))
	}
	flags := r.byte()
	if flags&^known != 0 || flags&hasTicket != 0 && flags&genesis != 0 {
		r.fail("flags contradict each other or are not known")
		return 0
	}
	return flags
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.fail(early)
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) sixteen() (id commands.ID) {
	if len(r.rest) < len(id) {
		r.fail(early)
		return id
	}
	copy(id[:], r.rest)
	r.rest = r.rest[len(id):]
	return id
}

func (r *reader) ticket(flags byte) commands.ID {
	switch {
	case flags&genesis != 0:
		return commands.Genesis
	case flags&hasTicket != 0:
		return r.sixteen()
	}
	return commands.None
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.fail("a number is damaged")
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *reader) time() time.Time {
	micros, size := binary.Varint(r.rest)
	if size <= 0 {
		r.fail("a time is damaged")
		return time.Time{}
	}
	r.rest = r.rest[size:]
	return time.UnixMicro(micros).UTC()
}

// bytes takes n bytes; none of them is not nil.
func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail(early)
		return nil
	}
	if n == 0 {
		return []byte{}
	}
	taken := r.rest[:n:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) text() string {
	taken := r.bytes(r.number())
	return unsafe.String(unsafe.SliceData(taken), len(taken))
}

// data reads what appendData wrote.
func (r *reader) data() []byte {
	if size := r.number(); size > 0 {
		return r.bytes(size - 1)
	}
	return nil
}

// leastEvent is the size of the smallest event: a length, a schema, a length.
const leastEvent = 3

func (r *reader) events() []commands.Event {
	n := r.number()
	if n == 0 {
		return nil
	}
	if n > uint64(len(r.rest)/leastEvent) {
		r.fail(early)
		return nil
	}
	events := make([]commands.Event, n)
	for i := range events {
		event := &events[i]
		event.Type = r.text()
		event.Schema = int(r.number())
		event.Data = r.data()
	}
	if r.what != "" {
		return nil
	}
	return events
}
