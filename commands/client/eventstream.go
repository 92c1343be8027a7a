package client

import (
	"bytes"
	"errors"
	"strconv"
	"time"
)

// eventStream takes server-sent events apart (WHATWG HTML, section 9.2.6), however the bytes are cut on
// their way. What it tells of a message is valid until the next bytes are taken.
//
//	for chunk := read(); len(chunk) > 0; {
//	    chunk, whole, err = events.take(chunk)
//	    if whole { … events.event, events.data, events.id }
//	}
type eventStream struct {
	most int // bytes of one message

	begun   bool // the byte order mark, if any, has passed
	afterCR bool // a line feed would belong to the line that has ended
	whole   bool // the message was handed out
	line    []byte
	mark    []byte // the beginning of a byte order mark

	event, data []byte
	some        bool // there is data, be it empty
	id          []byte
	marked      bool // the message has an id

	retry time.Duration // what the server said last; 0: nothing yet
}

// errTooLong ends a stream whose message is longer than the reader keeps.
var errTooLong = errors.New("a message is longer than a message may be")

var byteOrderMark = []byte("\ufeff")

// take goes on with what has arrived. It returns at the end of a message, with what comes behind it, or
// when all has been taken. A message that ends without data is whole when it has an id.
func (s *eventStream) take(chunk []byte) (rest []byte, whole bool, err error) {
	if s.whole {
		s.whole, s.some, s.marked = false, false, false
		s.event, s.data, s.id = s.event[:0], s.data[:0], s.id[:0]
	}
	if !s.begun {
		if chunk = s.begin(chunk); !s.begun {
			return nil, false, nil
		}
	}
	for len(chunk) > 0 {
		if s.afterCR {
			s.afterCR = false
			if chunk[0] == '\n' {
				chunk = chunk[1:]
				continue
			}
		}
		end := bytes.IndexAny(chunk, "\r\n")
		if end < 0 {
			s.line = append(s.line, chunk...)
			return nil, false, s.bounded()
		}
		line := chunk[:end]
		if len(s.line) > 0 {
			s.line = append(s.line, line...)
			line, s.line = s.line, s.line[:0]
		}
		s.afterCR = chunk[end] == '\r'
		chunk = chunk[end+1:]
		if len(line) > 0 {
			s.field(line)
			if err := s.bounded(); err != nil {
				return nil, false, err
			}
			continue
		}
		if s.whole = true; s.some || s.marked {
			return chunk, true, nil
		}
		s.whole, s.event = false, s.event[:0]
	}
	return nil, false, nil
}

// begin takes a byte order mark off the beginning, which may come in pieces.
func (s *eventStream) begin(chunk []byte) []byte {
	s.mark = append(s.mark, chunk...)
	if len(s.mark) < len(byteOrderMark) && bytes.HasPrefix(byteOrderMark, s.mark) {
		return nil
	}
	chunk, s.mark = bytes.TrimPrefix(s.mark, byteOrderMark), nil
	s.begun = true
	return chunk
}

// field takes one line that is not empty.
func (s *eventStream) field(line []byte) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	switch string(name) { // a comment has no name
	case "event":
		s.event = append(s.event[:0], value...)
	case "data":
		if s.some {
			s.data = append(s.data, '\n')
		}
		s.data, s.some = append(s.data, value...), true
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			s.id, s.marked = append(s.id[:0], value...), true
		}
	case "retry":
		const most = time.Hour
		if n, err := strconv.ParseUint(string(value), 10, 31); err == nil && value[0] != '+' {
			s.retry = min(time.Duration(n)*time.Millisecond, most)
		}
	}
}

func (s *eventStream) bounded() error {
	if len(s.line)+len(s.event)+len(s.data)+len(s.id) > s.most {
		return errTooLong
	}
	return nil
}

// cut forgets what of a message came before the connection broke.
func (s *eventStream) cut() {
	*s = eventStream{most: s.most, retry: s.retry, line: s.line[:0], event: s.event[:0], data: s.data[:0], id: s.id[:0]}
}
