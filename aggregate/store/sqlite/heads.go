package sqlite

import (
	"encoding/binary"
	"errors"
	"iter"
	"strings"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// head is what is known of a stream as of one commit. A published head never changes, so readers keep what
// they were given; the next commit makes a new one that may share its memory's unused end.
type head struct {
	aggregate.Head
	number       int64  // of its row in streams; 0 while it has none
	state        []byte // nil: that of the row, if there is one
	stateVersion uint64 // of state
	sealed       []page // full pages that are not in stream_pages yet
	tail         page   // the newest landings
}

// hold is the value of a store.Handle: a stream, as loaded under one epoch of its lane.
type hold struct {
	store  *Store
	stream *stream
	lane   int
	epoch  uint64
}

// stream is a stream that a worker holds, or whose row lags behind.
type stream struct {
	name      commands.Stream
	head      *head // as published
	unsettled bool  // its row lags behind, so it is in the view
}

// landing says where a landing with events is in the log.
type landing struct {
	first    uint64 // version of its first event
	position uint64
}

// page lists landings one after another. Each is written as two varints: how far its first version and its
// position are from those of the one before, the first of all from 0.
type page struct {
	landings []byte
	count    int
	first    uint64  // version of the first event of the first landing
	last     landing // the newest
}

// pageSize is how many landings fill a page: reading a changelog from some version on reads one page more
// than it needs, and a stream's row carries one page less one at most.
const pageSize = 64

// land adds a landing to the tail and seals the tail when it is full.
func (h *head) land(l landing) {
	if h.tail.count == pageSize {
		h.sealed = append(h.sealed, h.tail)
		h.tail = page{}
	}
	h.tail.add(l)
}

func (p *page) add(l landing) {
	if p.count == 0 {
		p.first = l.first
	}
	p.landings = binary.AppendUvarint(p.landings, l.first-p.last.first)
	p.landings = binary.AppendUvarint(p.landings, l.position-p.last.position)
	p.last = l
	p.count++
}

var errDamagedPage = errors.New("a page of landings is damaged")

// bytes are the landings as they are written, never nil.
func (p *page) bytes() []byte {
	if p.landings == nil {
		return []byte{}
	}
	return p.landings
}

// decodePage reads landings as they were written, sharing their memory.
func decodePage(landings []byte) (page, error) {
	p := page{landings: landings}
	for rest := landings; len(rest) > 0; {
		if rest = p.last.next(rest); rest == nil {
			return page{}, errDamagedPage
		}
		if p.count == 0 {
			p.first = p.last.first
		}
		p.count++
	}
	return p, nil
}

// next reads the landing after l, and gives what follows it; nil when it is damaged.
func (l *landing) next(rest []byte) []byte {
	version, n := binary.Uvarint(rest)
	if n <= 0 {
		return nil
	}
	position, m := binary.Uvarint(rest[n:])
	if m <= 0 {
		return nil
	}
	l.first += version
	l.position += position
	return rest[n+m:]
}

// all gives the landings, oldest first.
func (p *page) all() iter.Seq[landing] {
	return func(yield func(landing) bool) {
		var l landing
		for rest := p.landings; len(rest) > 0; {
			if rest = l.next(rest); rest == nil || !yield(l) {
				return
			}
		}
	}
}

// appendStreamName appends how a stream is named in a row: type/id, and tenant/type/id where there is a tenant.
func appendStreamName(b []byte, s commands.Stream) []byte {
	if s.Tenant != "" {
		b = append(append(b, s.Tenant...), '/')
	}
	return s.AppendTo(b)
}

func streamName(s commands.Stream) string { return string(appendStreamName(nil, s)) }

// parseStreamName shares the text's memory. Neither type nor id contains a slash.
func parseStreamName(name string) commands.Stream {
	var s commands.Stream
	cut := strings.LastIndexByte(name, '/')
	if cut < 0 {
		return commands.Stream{ID: name}
	}
	s.ID, name = name[cut+1:], name[:cut]
	if cut = strings.LastIndexByte(name, '/'); cut >= 0 {
		s.Tenant, name = name[:cut], name[cut+1:]
	}
	s.Type = name
	return s
}

// cloneStream is the stream in memory of its own, so that keeping it keeps nothing else.
func cloneStream(s commands.Stream) commands.Stream {
	return commands.Stream{Tenant: strings.Clone(s.Tenant), Type: strings.Clone(s.Type), ID: strings.Clone(s.ID)}
}
