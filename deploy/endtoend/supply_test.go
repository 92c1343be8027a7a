//go:build unix

package endtoend

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

// supply is a Postgres that can be taken away and given back. It is away at first.
type supply interface {
	url() string
	on(t *testing.T)
	off(t *testing.T)
}

// cable is the way to the Postgres of all tests: it can be cut, which ends every connection in the middle of
// whatever is said.
type cable struct {
	address, target string
	carrying        sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil while it is cut
	ends     []net.Conn
}

func newCable(t *testing.T) *cable {
	t.Helper()
	target, err := url.Parse(postgrestest.URL())
	require.NoError(t, err)
	c := &cable{address: rabbitmqtest.FreeAddress(t), target: target.Host}
	if target.Port() == "" {
		c.target = net.JoinHostPort(target.Hostname(), "5432")
	}
	t.Cleanup(func() { c.off(t) })
	return c
}

func (c *cable) url() string {
	u, _ := url.Parse(postgrestest.URL()) // newCable has parsed it
	u.Host = c.address
	return u.String()
}

func (c *cable) on(t *testing.T) {
	t.Helper()
	l := c.listen(t)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listener = l
	c.carrying.Go(func() { c.carry(l) })
}

// listen takes the address again. The listener before is closed; a process that another test began just then may
// still have it, until it becomes the program that it is to be.
func (c *cable) listen(t *testing.T) net.Listener {
	t.Helper()
	ctx := soon(t)
	for {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", c.address)
		if err == nil {
			return l
		}
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		require.NoError(t, ctx.Err(), "%s is not free", c.address)
		pass(time.Millisecond)
	}
}

func (c *cable) carry(l net.Listener) {
	for {
		near, err := l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", c.target) //nolint:noctx // it ends with the connection
		if err != nil {
			_ = near.Close()
			continue
		}
		if !c.join(l, near, far) {
			_ = near.Close()
			_ = far.Close()
			return
		}
	}
}

// join carries a connection, unless the cable was cut while it came about: nobody would end it any more.
func (c *cable) join(l net.Listener, near, far net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listener != l {
		return false
	}
	c.ends = append(c.ends, near, far)
	c.carrying.Go(func() { pipe(near, far) })
	c.carrying.Go(func() { pipe(far, near) })
	return true
}

func pipe(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
	_ = from.Close()
}

func (c *cable) off(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	l, ends := c.listener, c.ends
	c.listener, c.ends = nil, nil
	c.mu.Unlock()
	if l == nil {
		return
	}
	_ = l.Close()
	for _, end := range ends {
		_ = end.Close()
	}
	comesToAnEnd(t, "every connection through the cable ends", c.carrying.Wait)
}

// comesToAnEnd waits for what is bound to end. When it does not, the test fails and tells what its processes say,
// instead of hanging.
func comesToAnEnd(t *testing.T, what string, wait func()) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		wait()
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		require.FailNow(t, "in vain: "+what)
	}
}

// A cable that is cut while connections come about leaves none of them behind, which would be an outage for some
// and not for others.
func TestACableThatIsCutCarriesNothing(t *testing.T) {
	t.Parallel()
	far, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &cable{address: rabbitmqtest.FreeAddress(t), target: far.Addr().String()}
	var others sync.WaitGroup
	arrived := make(chan struct{}, 1)
	others.Go(func() {
		for {
			conn, err := far.Accept()
			if err != nil {
				return
			}
			select {
			case arrived <- struct{}{}:
			default:
			}
			others.Go(func() { pipe(conn, conn) })
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 8 {
		others.Go(func() { comeAndWait(ctx, c.address) })
	}
	for range 100 {
		c.on(t)
		comesToAnEnd(t, "somebody comes through", func() { <-arrived })
		c.off(t)
	}
	cancel()
	require.NoError(t, far.Close())
	comesToAnEnd(t, "everybody is told", others.Wait)
}

// comeAndWait connects again and again, and each time waits for the end of the connection.
func comeAndWait(ctx context.Context, address string) {
	for ctx.Err() == nil {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			pass(100 * time.Microsecond)
			continue
		}
		// Of a connection that comes about as its listener closes, the system may forget to tell this end.
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		_, _ = conn.Read(make([]byte, 1))
		stop()
		_ = conn.Close()
	}
}

// ownServer is a Postgres of the test's own, that crashes.
type ownServer struct{ *postgrestest.Server }

func (s ownServer) url() string    { return s.URL() }
func (s ownServer) on(*testing.T)  { s.Start() }
func (s ownServer) off(*testing.T) { s.Crash() }

var (
	_ supply = (*cable)(nil)
	_ supply = ownServer{}
)
