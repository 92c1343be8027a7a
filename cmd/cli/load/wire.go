package load

import (
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"time"
)

// wire is a set of connections to one server, numbered from 0. It is used by one goroutine.
type wire interface {
	// dial makes a connection, anew when there was one.
	dial(ctx context.Context, conn int) error
	// send hands bytes over; it keeps no reference to them. When the connection is broken, wait tells.
	send(conn int, b []byte)
	// wait calls got for what has arrived, at the latest at the given moment. The bytes are valid until
	// got returns; err says that the connection broke. got may send.
	wait(until time.Time, got func(conn int, data []byte, err error)) error
	close()
}

const dialTimeout = 2 * time.Second

func dialServer(ctx context.Context, base *url.URL) (net.Conn, error) {
	address := base.Host
	if base.Port() == "" {
		address = net.JoinHostPort(base.Hostname(), map[string]string{"http": "80", "https": "443"}[base.Scheme])
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	if base.Scheme == "https" {
		return (&tls.Dialer{NetDialer: dialer}).DialContext(ctx, "tcp", address)
	}
	return dialer.DialContext(ctx, "tcp", address)
}

// netWire is the portable wire, and the one for TLS: a goroutine a connection reads and tells.
type netWire struct {
	base   *url.URL
	conns  []netConn
	news   chan news
	closed chan struct{}
}

type netConn struct {
	net.Conn
	generation int // so that the last words of an earlier connection are not taken for the new one's
}

type news struct {
	conn, generation int
	data             []byte
	err              error
}

var _ wire = (*netWire)(nil)

func newNetWire(base *url.URL, connections int) *netWire {
	return &netWire{
		base: base, conns: make([]netConn, connections),
		news: make(chan news, connections), closed: make(chan struct{}),
	}
}

func (w *netWire) dial(ctx context.Context, conn int) error {
	c := &w.conns[conn]
	if c.Conn != nil {
		c.Close()
	}
	fresh, err := dialServer(ctx, w.base)
	if err != nil {
		return err
	}
	c.Conn = fresh
	c.generation++
	go w.read(conn, c.generation, fresh)
	return nil
}

func (w *netWire) read(conn, generation int, from net.Conn) {
	for {
		data := make([]byte, 4096)
		n, err := from.Read(data)
		select {
		case w.news <- news{conn, generation, data[:n], err}:
		case <-w.closed:
			return
		}
		if err != nil {
			return
		}
	}
}

func (w *netWire) send(conn int, b []byte) {
	c := w.conns[conn]
	if _, err := c.Write(b); err != nil {
		c.Close() // its reader tells
	}
}

func (w *netWire) wait(until time.Time, got func(int, []byte, error)) error {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	for first := true; ; first = false {
		var n news
		if first {
			select {
			case n = <-w.news:
			case <-timer.C:
				return nil
			}
		} else {
			select {
			case n = <-w.news:
			default:
				return nil
			}
		}
		if n.generation == w.conns[n.conn].generation {
			got(n.conn, n.data, n.err)
		}
	}
}

func (w *netWire) close() {
	close(w.closed)
	for _, c := range w.conns {
		if c.Conn != nil {
			c.Close()
		}
	}
}
