package endtoend

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/contracttest"
)

// Promise 12: those who ask for a lot and do not read it take no memory to speak of, and keep nobody else waiting.
func TestManyWhoDoNotReadTheirSnapshotsTakeLittle(t *testing.T) {
	t.Parallel()
	const readers, streams, size = 100, 40, 200 << 10
	p := onSQLite(t)
	server := p.start(t)
	s := newSender(t, p.url(), 4)
	var names []string
	for range streams {
		stream := commands.Stream{Type: "document", ID: commands.NewID().String()}
		names = append(names, "stream="+stream.String())
		s.add(alone([]*commands.Command{command(stream, "create", commands.Genesis, map[string]any{"text": strings.Repeat("x", size)})}))
	}
	s.sendAll()
	query := strings.Join(names, "&")
	untilMark(t, contracttest.NewBlocks(watchAt(t, p, query).Body, 4<<10))
	idle, began := resident(t, server), time.Now()
	for range readers {
		_, err := io.CopyN(io.Discard, stallingAt(t, p, query), size/2)
		require.NoError(t, err)
	}
	untilMark(t, contracttest.NewBlocks(watchAt(t, p, query).Body, 4<<10))
	const writeTime = 20 * time.Second // after which a reader that does not read is disconnected
	if there := metric(t, p, "doorman_notify_connections"); time.Since(began) < writeTime {
		require.Equal(t, readers+2, there, "all are there still")
	}
	more := resident(t, server) - idle
	t.Logf("%d readers of %d MB each took %d MB", readers, streams*size>>20, more>>20)
	require.Less(t, more, crowdMemory)
}

// stallingAt begins to watch with next to no buffers, and is read by the caller alone.
func stallingAt(t *testing.T, p *place, query string) net.Conn {
	t.Helper()
	dialer := &net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2048) })
	}}
	conn, err := dialer.DialContext(t.Context(), "tcp", p.listen)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = fmt.Fprintf(conn, "%s /v1/notifications?%s HTTP/1.1\r\nHost: doorman\r\n\r\n", http.MethodGet, query)
	require.NoError(t, err)
	return conn
}
