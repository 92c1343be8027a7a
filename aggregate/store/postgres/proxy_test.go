package postgres_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
)

// message is one message of Postgres's protocol; kind is 0 for the one that starts a session.
type message struct {
	kind byte
	body []byte
}

// isCommit tells the message with which a batch travels.
func (m message) isCommit() bool {
	return m.kind == 'B' && bytes.Contains(m.body, []byte("\x00commit_batch\x00"))
}

// fate is what becomes of a message that a proxy was shown.
type fate int

const (
	pass fate = iota
	swallow
	cut // the connection, without passing the message on
)

// proxy stands between a store and its server and passes on whole messages. A hook is shown each one
// before that, may block, and decides.
type proxy struct {
	t        testing.TB
	listener net.Listener
	server   string

	mu      sync.Mutex
	request func(message) fate
	reply   func(message) fate
	open    map[net.Conn]bool
	away    bool
}

func newProxy(t testing.TB) *proxy {
	config, err := pgx.ParseConfig(postgrestest.URL())
	require.NoError(t, err)
	p := &proxy{t: t, server: net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))), open: map[net.Conn]bool{}}
	p.listener, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go p.accept()
	t.Cleanup(func() {
		_ = p.listener.Close()
		p.leave()
	})
	return p
}

// url is the server's by way of the proxy.
func (p *proxy) url() string {
	direct, err := url.Parse(postgrestest.URL())
	require.NoError(p.t, err)
	direct.Host = p.listener.Addr().String()
	return direct.String()
}

func (p *proxy) onRequest(hook func(message) fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.request = hook
}

func (p *proxy) onReply(hook func(message) fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reply = hook
}

// leave cuts all connections and lets nobody in.
func (p *proxy) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = true
	for conn := range p.open {
		_ = conn.Close()
	}
}

func (p *proxy) comeBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = false
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil || !p.keep(client, server) {
			_ = client.Close()
			continue
		}
		go p.carry(client, server, true, func() func(message) fate { return p.request })
		go p.carry(server, client, false, func() func(message) fate { return p.reply })
	}
}

func (p *proxy) keep(client, server net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away {
		_ = server.Close()
		return false
	}
	p.open[client], p.open[server] = true, true
	return true
}

func (p *proxy) carry(from, to net.Conn, starts bool, hook func() func(message) fate) {
	defer func() {
		_, _ = from.Close(), to.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, from)
		delete(p.open, to)
	}()
	for {
		m, raw, err := readMessage(from, starts)
		if err != nil {
			return
		}
		starts = false
		p.mu.Lock()
		shown := hook()
		p.mu.Unlock()
		decided := pass
		if shown != nil {
			decided = shown(m)
		}
		switch decided {
		case cut:
			return
		case swallow:
			continue
		}
		if _, err := to.Write(raw); err != nil {
			return
		}
	}
}

func readMessage(from io.Reader, start bool) (message, []byte, error) {
	header := make([]byte, 5)
	if start {
		header = header[:4]
	}
	if _, err := io.ReadFull(from, header); err != nil {
		return message{}, nil, err
	}
	size := binary.BigEndian.Uint32(header[len(header)-4:])
	raw := make([]byte, len(header)+int(size)-4)
	copy(raw, header)
	if _, err := io.ReadFull(from, raw[len(header):]); err != nil {
		return message{}, nil, err
	}
	m := message{body: raw[len(header):]}
	if !start {
		m.kind = raw[0]
	}
	return m, raw, nil
}
