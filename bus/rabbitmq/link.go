package rabbitmq

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/bus"
)

// link keeps one connection to the broker: when it is lost another one is made, for as long as it takes.
// Each connection is a session.
type link struct {
	config    *Config
	purpose   string // shown in the broker's list of connections
	heartbeat time.Duration
	greet     func(*session) error // before the session is used; an error gives it up
	began     func(*session)       // the session is there to be used
	blocked   func()               // the broker has stopped taking messages, or takes them again
	strain    int64                // room for messages of anybody's making, in bytes, which an inlet sees to; 0: there are none

	ctx     context.Context
	cancel  context.CancelFunc
	stopped chan struct{}

	mu      sync.Mutex
	session *session
	problem error         // why there is no session
	changed chan struct{} // closed when either changes, or whether the session takes messages
}

// session is one connection from its first handshake to its end.
type session struct {
	conn    *amqp.Connection
	socket  *cork
	purse   *purse // of an inlet, where the link has one
	closes  chan *amqp.Error
	blocks  chan amqp.Blocking
	blocked atomic.Pointer[string] // why the broker takes no messages; nil while it does
	ended   chan struct{}          // closed when the connection cannot be used any more
	outlet  *amqp.Channel          // to exchanges, where the connection is for those
	returns chan amqp.Return       // of that channel: notices that no queue wanted

	couriers chan *courier // that nobody uses at the moment, where the connection is for exchanges
	grave    chan struct{} // closed when the queue for dead letters is there, or cannot be made

	mu    sync.Mutex
	over  bool
	users sync.WaitGroup
}

func newLink(config *Config, purpose string, heartbeat time.Duration) *link {
	l := &link{
		config: config, purpose: purpose, heartbeat: heartbeat,
		greet: func(*session) error { return nil }, began: func(*session) {}, blocked: func() {},
		stopped: make(chan struct{}), changed: make(chan struct{}),
		problem: errors.New("not connected yet"),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// start begins to connect and waits for the first connection, up to the configured time or the context's
// end. A broker that knows the user not is not asked twice.
func (l *link) start(ctx context.Context) error {
	go l.keep()
	ctx, cancel := context.WithTimeout(ctx, l.config.ConnectTimeout)
	defer cancel()
	for {
		s, problem, changed := l.state()
		if s != nil {
			return nil
		}
		if refused := new(amqp.Error); errors.As(problem, &refused) && permanent(refused) {
			l.stop()
			return problem
		}
		select {
		case <-changed:
		case <-ctx.Done():
			l.stop()
			return fmt.Errorf("%w (%w)", problem, ctx.Err())
		}
	}
}

// permanent tells what another attempt will not change.
func permanent(refused *amqp.Error) bool {
	switch refused.Code {
	case amqp.AccessRefused, amqp.NotAllowed, amqp.PreconditionFailed:
		return true
	default:
		return false
	}
}

// stop ends the connection, if there is one, and waits until everything that lived with it has ended.
func (l *link) stop() {
	l.cancel()
	<-l.stopped
}

// state is the session, or why there is none, and what is closed when that changes.
func (l *link) state() (*session, error, <-chan struct{}) { //nolint:staticcheck // the error is not this call's
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session, l.problem, l.changed
}

// usable gives the session when messages can be published over it.
func (l *link) usable() (*session, error) {
	s, problem, _ := l.state()
	if s == nil {
		return nil, fmt.Errorf("%w: no connection to RabbitMQ: %w", bus.ErrUnavailable, problem)
	}
	if reason := s.blocked.Load(); reason != nil {
		return nil, fmt.Errorf("%w: RabbitMQ takes no messages at the moment: %s", bus.ErrUnavailable, *reason)
	}
	return s, nil
}

func (l *link) tell(s *session, problem error) {
	l.mu.Lock()
	l.session, l.problem = s, problem
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
}

func (l *link) keep() {
	defer close(l.stopped)
	log := l.config.Logger.With("connection", l.purpose)
	pause, silent, before := minBackoff, false, false
	for attempt := 0; l.ctx.Err() == nil; attempt++ {
		began := time.Now()
		err := l.live(attempt, func() {
			began, silent = time.Now(), false
			log.Info("connected to RabbitMQ")
			if before {
				l.config.Metrics.Reconnected(l.purpose)
			}
			before = true
		})
		if l.ctx.Err() != nil {
			break
		}
		if time.Since(began) >= steady && !silent {
			pause = minBackoff
		}
		l.tell(nil, err)
		if !silent { // the first of a row of failures
			log.Warn("no connection to RabbitMQ", "err", err)
			silent = true
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-l.ctx.Done():
		}
		pause = min(2*pause, l.config.MaxBackoff)
	}
	l.tell(nil, bus.ErrClosed)
}

// live makes one connection and returns when it has ended, with the reason.
func (l *link) live(attempt int, connected func()) error {
	s, err := l.dial(attempt)
	if err != nil {
		return err
	}
	unhook := context.AfterFunc(l.ctx, s.cut)
	err = l.greet(s)
	unhook()
	if err != nil {
		s.finish(closeGrace)
		return err
	}
	l.tell(s, nil)
	connected()
	l.began(s)
	err = s.watch(l.ctx, func() {
		l.config.Metrics.Blocked(l.purpose, s.blocked.Load() != nil)
		l.tell(s, nil)
		l.blocked()
	})
	if s.blocked.Load() != nil { // the next one is not
		l.config.Metrics.Blocked(l.purpose, false)
	}
	l.tell(nil, err)
	s.finish(0)
	return err
}

func (l *link) dial(attempt int) (*session, error) {
	urls := l.config.urls()
	url := urls[attempt%len(urls)]
	place := "the broker"
	if uri, err := amqp.ParseURI(url); err == nil { // without the password
		place = fmt.Sprintf("%s:%d", uri.Host, uri.Port)
	}
	s := &session{ended: make(chan struct{})}
	dialer := net.Dialer{Timeout: l.config.ConnectTimeout}
	unhook := func() bool { return true }
	var secure *tls.Config
	if l.strain > 0 {
		var err error
		if url, secure, err = unwrapped(url, l.config.TLS); err != nil {
			return nil, fmt.Errorf("connect to RabbitMQ at %s: %w", place, err)
		}
		s.purse = newPurse(l.strain)
	}
	conn, err := amqp.DialConfig(url, amqp.Config{
		Heartbeat:       l.heartbeat,
		TLSClientConfig: l.config.TLS,
		Properties: amqp.Table{
			"product": "doorman", "connection_name": l.config.Name + " " + l.purpose,
		},
		Dial: func(network, addr string) (net.Conn, error) {
			plain, err := dialer.DialContext(l.ctx, network, addr)
			if err != nil {
				return nil, err
			}
			unhook = context.AfterFunc(l.ctx, func() { plain.Close() })
			err = plain.SetDeadline(time.Now().Add(l.config.ConnectTimeout))
			socket := plain
			if s.purse != nil {
				if secure != nil {
					socket = tls.Client(socket, secure)
				}
				socket = newInlet(socket, s.purse, 2*l.heartbeat)
			}
			s.socket = &cork{Conn: socket}
			return s.socket, err
		},
	})
	unhook()
	if err != nil {
		if s.socket != nil {
			s.socket.Close()
		}
		return nil, fmt.Errorf("connect to RabbitMQ at %s: %w", place, err)
	}
	s.conn = conn
	s.closes = conn.NotifyClose(make(chan *amqp.Error, 1))
	s.blocks = conn.NotifyBlocked(make(chan amqp.Blocking, 8))
	return s, nil
}

// watch waits until the connection is lost, or ends it with the context. It tells when the broker stops
// taking messages, as it does when it runs out of memory or disk, and when it takes them again.
func (s *session) watch(ctx context.Context, changed func()) error {
	for {
		select {
		case problem, some := <-s.closes:
			if !some {
				return errors.New("the connection was closed")
			}
			return fmt.Errorf("the connection was lost: %w", problem)
		case change, open := <-s.blocks:
			switch {
			case !open:
				s.blocks = nil
			case change.Active:
				s.blocked.Store(&change.Reason)
				changed()
			default:
				s.blocked.Store(nil)
				changed()
			}
		case <-ctx.Done():
			_ = s.conn.CloseDeadline(time.Now().Add(closeGrace))
			return bus.ErrClosed
		}
	}
}

// run starts a goroutine that ends with the session. It reports false when that has ended already.
func (s *session) run(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.users.Go(f)
	return true
}

// cut ends the connection without a word. The socket is closed from outside because the library, when it
// finds a connection dead, first waits for whoever is stuck writing to it.
func (s *session) cut() { s.socket.Close() }

// finish ends the session and waits for its goroutines and the library's, after a goodbye when there is
// time for one.
func (s *session) finish(grace time.Duration) {
	if grace > 0 {
		_ = s.conn.CloseDeadline(time.Now().Add(grace))
	}
	s.cut()
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	close(s.ended)
	if s.blocks != nil {
		for range s.blocks { //nolint:revive // until the library has let go of it
		}
	}
	for range s.closes { //nolint:revive // as above
	}
	s.users.Wait()
}
