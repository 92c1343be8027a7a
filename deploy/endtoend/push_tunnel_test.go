//go:build unix

package endtoend

import (
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// tunnel is a way to a server that can go dead without either side being told: what is under way is taken, and
// lost. The far end believes that it was sent.
type tunnel struct {
	address, target string
	listener        net.Listener
	carrying        sync.WaitGroup

	mu    sync.Mutex
	lines map[*line]bool // whether they are alive
	over  bool           // there are to be no more
}

// line is one connection through a tunnel.
type line struct{ near, far net.Conn }

func newTunnel(t *testing.T, target string) *tunnel {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &tunnel{address: l.Addr().String(), target: target, listener: l, lines: map[*line]bool{}}
	w.carrying.Go(w.carry)
	t.Cleanup(func() {
		_ = l.Close()
		w.mu.Lock()
		w.over = true
		for each := range w.lines {
			each.close()
		}
		w.mu.Unlock()
		comesToAnEnd(t, "every line of the tunnel ends", w.carrying.Wait)
	})
	return w
}

func (l *line) close() {
	_ = l.near.Close()
	_ = l.far.Close()
}

func (w *tunnel) carry() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", w.target) //nolint:noctx // it ends with the connection
		if err != nil {
			_ = near.Close()
			continue
		}
		each := &line{near, far}
		w.mu.Lock()
		over := w.over
		w.lines[each] = true
		w.mu.Unlock()
		if over { // nobody would close it any more
			each.close()
			return
		}
		w.carrying.Go(func() { w.copy(each, near, far) })
		w.carrying.Go(func() { w.copy(each, far, near) })
	}
}

// copy hands on what comes until either side ends, or the line is dead, when it takes everything and hands
// nothing on.
func (w *tunnel) copy(each *line, from, to net.Conn) {
	defer each.close()
	buffer := make([]byte, 4<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		w.mu.Lock()
		alive := w.lines[each]
		w.mu.Unlock()
		if !alive {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// freeze makes the lines that there are go dead. Their readers notice that nothing comes any more, and hang up.
func (w *tunnel) freeze() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for each := range w.lines {
		w.lines[each] = false
	}
}
