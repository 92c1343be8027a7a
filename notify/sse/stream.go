package sse

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/notify/hub"
)

// stream tells by server-sent events. It returns once the connection is the hub's, or has ended where it
// could not be taken over. The error is for a client that has not been told anything.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, request *hub.Request) error {
	header := w.Header()
	header.Set("Content-Type", eventStream)
	header["Cache-Control"] = headers.NoStore
	header.Set("X-Accel-Buffering", "no")
	if r.ProtoMajor != 1 {
		return h.flushed(w, r, request)
	}
	s := &taken{handler: h, writer: w}
	conn, err := h.config.Hub.Open(r.Context(), request, s)
	switch {
	case err != nil && s.conn == nil:
		for _, name := range []string{"Content-Type", "Cache-Control", "X-Accel-Buffering"} {
			header.Del(name)
		}
		return err
	case err != nil: // half of the answer is out; all that is left is to break the connection
		s.Close("")
		return nil //nolint:nilerr // nobody can be told
	}
	// What comes from the reader is of no interest; that it has gone is.
	go func(conn *hub.Conn, from net.Conn) {
		var room [16]byte
		for {
			if _, err := from.Read(room[:]); err != nil {
				conn.Close()
				return
			}
		}
	}(conn, s.conn)
	return nil
}

// taken is a connection that was taken over from net/http.
type taken struct {
	handler *Handler
	writer  http.ResponseWriter // until it is taken over
	conn    net.Conn
	raw     syscall.RawConn // nil where writing without waiting is not to be had

	closing sync.Mutex // held while something is written without waiting, too
	closed  bool
	left    []byte // what could not be written yet; the reader may have the beginning of a message
	kept    int    // of the handler's room, for what is left
	torn    bool   // the reader has the beginning of a message, and will not be given the rest
}

var _ hub.Sink = (*taken)(nil)

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Put is hub.Sink's. The first call takes the connection over and sends the head of the answer.
func (s *taken) Put(d *hub.Delivery) (bool, error) {
	buffer := buffers.Get().(*[]byte)
	text := (*buffer)[:0]
	if s.conn == nil {
		head, err := s.take(text)
		if err != nil {
			return false, err
		}
		text = head
	}
	text = appendDelivery(text, d)
	left, kept, err := s.write(text)
	if !kept && cap(text) <= mostPooled {
		*buffer = text
		buffers.Put(buffer)
	}
	return left, err
}

const (
	// mostPooled is the size up to which a buffer is worth keeping for others: large states are told to many.
	mostPooled = 4 << 20
	// worthCopying is up to what size what is left is copied, so that the buffer is free for others.
	worthCopying = 64 << 10
)

// write writes what goes at once, and keeps the rest; kept tells that this is the text's own memory.
func (s *taken) write(text []byte) (left, kept bool, err error) {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed {
		return false, false, net.ErrClosed
	}
	n := 0
	if len(s.left) == 0 && s.raw != nil {
		n, err = tryWrite(s.raw, text)
	}
	switch text = text[n:]; {
	case len(text) == 0:
		return len(s.left) > 0, false, err
	case !s.handler.room.take(len(text)):
		s.torn = true
		return false, false, errors.Join(err, hub.ErrNoRoom)
	}
	s.kept += len(text)
	if len(s.left) == 0 && len(text) > worthCopying && len(text) > n && cap(text) < 2*len(text) {
		s.left = text // where most of it is left
		return true, true, err
	}
	s.left = append(s.left, text...)
	return true, false, err
}

// take takes the connection over, and appends the head of the answer and the first block.
func (s *taken) take(b []byte) ([]byte, error) {
	conn, _, err := http.NewResponseController(s.writer).Hijack()
	if err != nil {
		return b, fmt.Errorf("take the connection over: %w", err)
	}
	_ = conn.SetDeadline(time.Time{}) // the request's; it fails where writing fails too
	if c, ok := conn.(syscall.Conn); ok {
		if s.raw, err = c.SyscallConn(); err != nil {
			s.raw = nil
		}
	}
	b = append(b, "HTTP/1.1 200 OK\r\nConnection: close\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\n"...)
	for name, values := range s.writer.Header() {
		for _, value := range values {
			b = append(append(append(append(b, name...), ": "...), oneLine.Replace(value)...), "\r\n"...)
		}
	}
	b = append(b, "\r\n: ok\n"...)
	b = append(appendRetry(b, time.Second, 5*time.Second), '\n')
	s.writer = nil
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.conn = conn; s.closed {
		_ = conn.Close()
		return b, net.ErrClosed
	}
	return b, nil
}

var oneLine = strings.NewReplacer("\r", " ", "\n", " ")

// Flush is hub.Sink's.
func (s *taken) Flush() error {
	_ = s.conn.SetWriteDeadline(time.Now().Add(s.handler.config.WriteTime))
	if _, err := s.conn.Write(s.left); err != nil {
		return fmt.Errorf("write to the reader: %w", err)
	}
	_ = s.conn.SetWriteDeadline(time.Time{})
	s.closing.Lock()
	s.left = nil
	s.leave()
	s.closing.Unlock()
	return nil
}

// leave gives back the room for what is left. The caller holds closing.
func (s *taken) leave() {
	s.handler.room.give(s.kept)
	s.kept = 0
}

// Close is hub.Sink's. Why, and when to come back, is told if there is room for it, and if the reader has
// whole messages only: after half of one, whatever follows would make the reader take it for whole.
func (s *taken) Close(reason string) {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.leave()
	if s.conn == nil {
		return
	}
	if reason != "" && s.raw != nil && len(s.left) == 0 && !s.torn {
		_, _ = tryWrite(s.raw, farewell(reason)) // it is no loss if it does not fit
	}
	_ = s.conn.Close()
}

// farewell is a block of its own.
func farewell(reason string) []byte {
	b := append([]byte(": "), reason...)
	return append(appendRetry(append(b, '\n'), time.Second, 5*time.Second), '\n')
}

// flushed tells by server-sent events through the ResponseWriter, until the reader has gone.
func (h *Handler) flushed(w http.ResponseWriter, r *http.Request, request *hub.Request) error {
	s := &flushing{handler: h, writer: w, done: make(chan struct{})}
	conn, err := h.config.Hub.Open(r.Context(), request, s)
	if err != nil && !s.begun {
		return err
	}
	if err == nil {
		select {
		case <-r.Context().Done():
		case <-s.done:
		}
		conn.Close()
	}
	s.mu.Lock() // whoever writes still is through with it, and nobody will again
	s.over = true
	s.mu.Unlock()
	return nil
}

// flushing writes through a ResponseWriter.
type flushing struct {
	handler *Handler
	done    chan struct{}
	once    sync.Once

	mu     sync.Mutex
	writer http.ResponseWriter
	begun  bool
	over   bool
	left   []byte
}

var _ hub.Sink = (*flushing)(nil)

// Put is hub.Sink's.
func (s *flushing) Put(d *hub.Delivery) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.begun {
		s.begun = true
		s.left = append(appendRetry([]byte(": ok\n"), time.Second, 5*time.Second), '\n')
	}
	s.left = appendDelivery(s.left, d)
	return len(s.left) > 0, nil
}

// Flush is hub.Sink's.
func (s *flushing) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return net.ErrClosed
	}
	controller := http.NewResponseController(s.writer)
	_ = controller.SetWriteDeadline(time.Now().Add(s.handler.config.WriteTime))
	_, err := s.writer.Write(s.left)
	s.left = nil
	if err = errors.Join(err, controller.Flush()); err != nil {
		return fmt.Errorf("write to the reader: %w", err)
	}
	_ = controller.SetWriteDeadline(time.Time{})
	return nil
}

// Close is hub.Sink's.
func (s *flushing) Close(string) { s.once.Do(func() { close(s.done) }) }
