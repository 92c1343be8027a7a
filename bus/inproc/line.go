package inproc

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
)

// entry is one published message from the moment it is taken until it is acknowledged.
type entry struct {
	message *message.Message
	done    func(error) // nil when nobody waits for the acknowledgement
	seq     uint64      // place within the topic
	handled bool        // a consumer has had it in hand at least once
	next    *entry

	// Of the delivery under way; made anew for each.
	copy   *message.Message
	cancel context.CancelFunc
}

// line is a queue of entries that costs no memory of its own.
type line struct {
	first, last *entry
	n           int
}

func (l *line) push(e *entry) {
	e.next = nil
	if l.last == nil {
		l.first = e
	} else {
		l.last.next = e
	}
	l.last = e
	l.n++
}

func (l *line) pop() *entry {
	e := l.first
	if l.first = e.next; l.first == nil {
		l.last = nil
	}
	e.next = nil
	l.n--
	return e
}

// putBack inserts an entry at its place by seq. What is put back was at the head a moment ago, so the
// place is near.
func (l *line) putBack(e *entry) {
	at := &l.first
	for *at != nil && (*at).seq < e.seq {
		at = &(*at).next
	}
	if e.next = *at; e.next == nil {
		l.last = e
	}
	*at = e
	l.n++
}
