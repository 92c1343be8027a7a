package deploy

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// cutWire is a way to a server that can be cut.
type cutWire struct {
	net.Listener
	to string

	mu      sync.Mutex
	cut     bool
	refused int // connections while it was cut
	ends    []net.Conn
}

// cuttable leads to an address.
func cuttable(t *testing.T, to string) *cutWire {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &cutWire{Listener: l, to: to}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := new(net.Dialer).Dial("tcp", to)
			if err != nil || !w.keep(near, far) {
				_ = near.Close()
				continue
			}
			running.Go(func() { join(near, far) })
			running.Go(func() { join(far, near) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.set(true)
		running.Wait()
	})
	return w
}

// onCuttablePostgres is onPostgres over such a way.
func onCuttablePostgres(t *testing.T) (*Config, *cutWire) {
	t.Helper()
	address, err := url.Parse(postgrestest.URL())
	require.NoError(t, err)
	way := cuttable(t, address.Host)
	address.Host = way.Addr().String()
	c := onPostgres(t)
	c.PostgresURL = address.String()
	return c, way
}

func join(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
	_ = from.Close()
}

func (w *cutWire) keep(ends ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		for _, end := range ends {
			_ = end.Close()
		}
		w.refused++
		return false
	}
	w.ends = append(w.ends, ends...)
	return true
}

// awaited tells whether somebody has tried to get through while it was cut.
func (w *cutWire) awaited() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refused > 0
}

func (w *cutWire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for _, end := range w.ends {
			_ = end.Close()
		}
		w.ends = nil
	}
}

// DESIGN section 7: database away, "stop taking, back off, resume; nothing is rejected for it".
func TestAStoreThatGoesAwayIsToldOfAndWaitedFor(t *testing.T) {
	t.Parallel()
	c, way := onCuttablePostgres(t)
	_, call := start(t, c)
	first := create(`{}`)
	_, err := call.Send(t.Context(), first, client.SendOptions{Wait: 5 * time.Second})
	require.NoError(t, err)

	way.set(true)
	require.Eventually(t, func() bool {
		ready := call.do("GET", "/readyz", "")
		return ready.status == http.StatusServiceUnavailable
	}, 30*time.Second, 10*time.Millisecond)
	require.Contains(t, call.do("GET", "/readyz", "").body, `"missing":[{"part":"store","detail":"`)
	require.Equal(t, http.StatusOK, call.do("GET", "/livez", "").status, "a restart would not help")
	require.Equal(t, http.StatusServiceUnavailable, call.do("GET", "/v1/streams/document/note", "").status)

	second := patch(first.ID, `{"a":1}`)
	sent := make(chan error, 1)
	go func() {
		told, err := call.Send(t.Context(), second, client.SendOptions{Wait: 20 * time.Second})
		if err == nil && told.Status != commands.StatusLanded {
			_, err = call.Await(t.Context(), second.ID)
		}
		sent <- err
	}()
	way.set(false)
	require.NoError(t, <-sent)
	require.NoError(t, call.AwaitReady(t.Context()))
	stream, err := call.Stream(t.Context(), note)
	require.NoError(t, err)
	require.Equal(t, second.ID, stream.Ticket)
}

func TestAStoreThatIsAwayHoldsUpNoStop(t *testing.T) {
	t.Parallel()
	c, way := onCuttablePostgres(t)
	c.ShutdownGrace = time.Second
	p, err := New(c, builtIn())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context()))
	call := newCaller(t, p.URL())
	way.set(true)
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan error, 1)
	go func() {
		_, err := call.Send(ctx, create(`{}`), client.SendOptions{})
		sent <- err
	}()
	admin := newCaller(t, p.AdminURL())
	require.Eventually(t, func() bool {
		return strings.Contains(admin.do("GET", "/metrics", "").body, "doorman_bus_pending 1\n")
	}, 30*time.Second, 10*time.Millisecond)
	began := time.Now()
	err = p.Stop()
	require.ErrorContains(t, err, "answering the requests under way: requests under way on ")
	require.ErrorContains(t, err, "were cut off")
	require.Less(t, time.Since(began), 10*c.ShutdownGrace)
	cancel()
	require.Error(t, <-sent)
}

// DESIGN section 3: 503 unavailable, nothing was accepted; /readyz names the failing parts.
func TestWhileTheStoreIsKnownToBeAwayAPostIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	c, way := onCuttablePostgres(t)
	p, call := start(t, c)
	way.set(true)
	// Somebody has to find out: this one may be accepted yet, or be of unknown fate.
	finding := create(`{}`)
	found := make(chan error, 1)
	go func() {
		_, err := call.Send(t.Context(), finding, client.SendOptions{})
		found <- err
	}()
	require.Eventually(t, func() bool { return p.workerReady() != nil }, 30*time.Second, time.Millisecond)

	refused := create(`{}`)
	refused.Stream.ID = "other"
	began := time.Now()
	answer := call.do("POST", "/v1/commands", string(refused.AppendTo(nil)), "Content-Type: application/json")
	require.Less(t, time.Since(began), 5*time.Second, "half of the time for which a confirmation is waited for")
	require.Equal(t, http.StatusServiceUnavailable, answer.status)
	require.Contains(t, answer.body, `"code":"unavailable"`)
	require.Regexp(t, "^[123]$", answer.header.Get("Retry-After"))
	ready := call.do("GET", "/readyz", "").body
	require.Contains(t, ready, `{"part":"store","detail":"`)
	require.Contains(t, ready, `{"part":"worker","detail":"`)

	way.set(false)
	require.NoError(t, call.AwaitReady(t.Context()), "it recovers by itself")
	require.NoError(t, <-found)
	_, err := call.Await(t.Context(), finding.ID)
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, call.do("GET", "/v1/commands/"+refused.ID.String(), "").status, "it was not accepted")
	told, err := call.Send(t.Context(), refused, client.SendOptions{Wait: 20 * time.Second})
	require.NoError(t, err)
	require.Equal(t, commands.StatusLanded, told.Status)
}
