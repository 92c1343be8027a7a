package deploy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// listener is an address that is served.
type listener struct {
	net.Listener
	server      *http.Server
	handler     *switched
	connections connections
}

// switched serves what it is given last: health alone while the program starts, then everything.
type switched struct{ current atomic.Pointer[http.Handler] }

func (s *switched) set(h http.Handler) { s.current.Store(&h) }

// ServeHTTP is http.Handler's.
func (s *switched) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*s.current.Load()).ServeHTTP(w, r)
}

// listen takes both addresses first of all, so that one that is taken is told at once, and health is
// answered while the rest starts.
func (p *Program) listen() error {
	var err error
	if p.admin, err = p.open("admin_listen", p.config.AdminListen); err != nil {
		return err
	}
	p.onStop("closing "+p.config.AdminListen, p.admin.close)
	if p.public, err = p.open("listen", p.config.Listen); err != nil {
		return err
	}
	p.onStop("closing "+p.config.Listen, p.public.close)
	p.public.server.WriteTimeout = longestAnswer // profiles at the other one take as long as they are asked to
	p.admin.serve(p.adminRoutes(adminText, http.HandlerFunc(p.noOperators)), p.fail)
	starting := http.NewServeMux()
	p.health.routes(starting)
	starting.HandleFunc(anyRoute, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
			// A browser's EventSource gives up for good at an answer that is an error
			// (https://html.spec.whatwg.org/multipage/server-sent-events.html#sse-processing-model), and
			// comes again as long as there is none. It came back from the process before this one.
			panic(http.ErrAbortHandler)
		}
		refused := problem.New(commands.Unavailable, "the program is starting")
		refused.RetryAfter = time.Second
		problem.Write(w, refused)
	})
	p.public.serve(starting, p.fail)
	return nil
}

func (p *Program) open(key, address string) (*listener, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: the address %s is in use; stop the other program, or set %s to another one", key, address, key)
	case err != nil:
		return nil, fmt.Errorf("%s: cannot listen on %s: %w", key, address, err)
	}
	made := &listener{Listener: l, handler: &switched{}}
	made.connections.most = int64(p.config.HTTPMaxConnections)
	made.server = &http.Server{
		Handler:           made.handler,
		ReadHeaderTimeout: p.config.HTTPReadHeaderTimeout,
		IdleTimeout:       p.config.HTTPIdleTimeout,
		MaxHeaderBytes:    p.config.HTTPMaxHeaderBytes,
		// No ReadTimeout: it would end answers that wait on purpose. Bodies are bounded in time by the edge.
		ConnState: made.connections.changed,
		ErrorLog:  slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	return made, nil
}

func (l *listener) serve(h http.Handler, fail func(error)) {
	l.handler.set(h)
	go func() {
		if err := l.server.Serve(l.Listener); !errors.Is(err, http.ErrServerClosed) {
			fail(fmt.Errorf("serving %s ended: %w", l.Addr(), err))
		}
	}()
}

// drain stops taking requests and waits for those under way.
func (l *listener) drain(ctx context.Context) error {
	if err := l.server.Shutdown(ctx); err != nil {
		return fmt.Errorf("requests under way on %s were cut off: %w", l.Addr(), errors.Join(err, l.server.Close()))
	}
	return nil
}

// close ends what is left at once.
func (l *listener) close(context.Context) error {
	err := errors.Join(l.server.Close(), l.Listener.Close())
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (l *listener) loopback() bool {
	address, ok := l.Addr().(*net.TCPAddr)
	return ok && address.IP.IsLoopback()
}

// url names the listener in a way that can be followed on this machine.
func (l *listener) url() string {
	address, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return "http://" + l.Addr().String()
	}
	return localURL(address.IP.String(), fmt.Sprint(address.Port))
}

// localURL is how an address to listen on is asked for on the same machine.
func localURL(host, port string) string {
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}
