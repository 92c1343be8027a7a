package sse

import (
	"bytes"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/notify/hub"
)

// connected is a connection that was taken over, and its reader's end, which reads nothing by itself.
func connected(t *testing.T) (*taken, net.Conn) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	reader, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	conn, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = reader.Close()
		_ = conn.Close()
	})
	raw, err := conn.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	return &taken{handler: &Handler{config: Config{WriteTime: time.Minute}}, conn: conn, raw: raw}, reader
}

func state(size int) *hub.Delivery {
	data := []byte(`{"text":"` + strings.Repeat("x", size) + `"}`)
	return &hub.Delivery{Messages: []hub.Message{{Event: commands.PushState, Data: data}}}
}

const more = 32 << 20 // than any system keeps for a reader that does not read

// DESIGN section 3: retry tells when to come back. Who has read everything is told.
func TestAReaderIsToldWhyItIsDisconnected(t *testing.T) {
	s, reader := connected(t)
	left, err := s.Put(state(10))
	require.NoError(t, err)
	require.False(t, left)
	s.Close("stopping")
	s.Close("twice")
	text, err := io.ReadAll(reader)
	require.NoError(t, err)
	require.Regexp(t, "^event: state\ndata: .*\n\n: stopping\nretry: [0-9]+\n\n$", string(text))
	_, err = s.Put(state(10))
	require.ErrorIs(t, err, net.ErrClosed)
}

// Promise 8: a message that broke off must not be taken for a whole one, which a line break would make it.
func TestNothingFollowsHalfAMessage(t *testing.T) {
	for _, reason := range []string{"slow", "stopping", ""} {
		s, reader := connected(t)
		left, err := s.Put(state(more))
		require.NoError(t, err)
		require.True(t, left)
		// There is room again, so that a farewell would go through.
		text := make([]byte, 1<<20)
		_, err = io.ReadFull(reader, text)
		require.NoError(t, err)
		s.Close(reason)
		rest, _ := io.ReadAll(reader)
		text = slices.Concat(text, rest)
		require.Less(t, len(text), more)
		require.Equal(t, 2, bytes.Count(text, []byte(":"))-1, "the event, its data, and what is in the data")
		require.True(t, bytes.HasSuffix(text, []byte("xxx")), "%q", text[len(text)-40:])
	}
}

// DESIGN section 5, promise 12: what is held for slow readers is bounded, for all of them together. Who would need more
// is disconnected, and takes no room after that.
func TestWhatIsHeldForAllReadersIsBounded(t *testing.T) {
	h := &Handler{config: Config{WriteTime: time.Minute}, room: room{most: more + 1<<20}}
	first, _ := connected(t)
	second, reader := connected(t)
	third, _ := connected(t)
	first.handler, second.handler, third.handler = h, h, h
	left, err := first.Put(state(more))
	require.NoError(t, err)
	require.True(t, left)
	_, err = second.Put(state(more))
	require.ErrorIs(t, err, hub.ErrNoRoom)
	second.Close("slow")
	text, _ := io.ReadAll(reader)
	require.True(t, bytes.HasSuffix(text, []byte("xxx")), "nothing follows half a message")

	first.Close("")
	require.Zero(t, h.room.held.Load())
	left, err = third.Put(state(more))
	require.NoError(t, err)
	require.True(t, left)

	polled := &gathered{room: &h.room, some: make(chan struct{}), ended: make(chan struct{})}
	_, err = polled.Put(state(more))
	require.ErrorIs(t, err, hub.ErrNoRoom)
	third.Close("")
	_, err = polled.Put(state(more))
	require.NoError(t, err)
	polled.leave()
	require.Zero(t, h.room.held.Load())
}

// Whoever is asked to stop does not wait for readers that do not read.
func TestClosingWaitsForNoReader(t *testing.T) {
	s, reader := connected(t)
	left, err := s.Put(state(2 * more))
	require.NoError(t, err)
	require.True(t, left)
	flushed := make(chan error, 1)
	go func() { flushed <- s.Flush() }()
	_, err = io.CopyN(io.Discard, reader, more) // which comes when the rest is being written
	require.NoError(t, err)
	began := time.Now()
	s.Close("stopping")
	require.Error(t, <-flushed)
	require.Less(t, time.Since(began), 10*time.Second)
}

// Promise 8, for a reader that is behind: what is left of a message, whether little or most of it, is followed by
// the next one.
func TestWhatIsLeftIsWrittenInOrder(t *testing.T) {
	for _, size := range []int{10, 8 << 20, more} {
		s, reader := connected(t)
		var want []byte
		for _, d := range []*hub.Delivery{state(size), state(20), state(mostPooled)} {
			want = appendDelivery(want, d)
			_, err := s.Put(d)
			require.NoError(t, err)
		}
		flushed := make(chan error, 1)
		go func() { flushed <- s.Flush() }()
		got := make([]byte, len(want))
		_, err := io.ReadFull(reader, got)
		require.NoError(t, err)
		require.NoError(t, <-flushed)
		require.True(t, bytes.Equal(want, got), "with %d bytes at first", size)
	}
}
