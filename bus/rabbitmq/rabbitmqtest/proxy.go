package rabbitmqtest

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// Proxy stands between clients and a broker and can break what goes through it. Whatever it does counts for
// all connections. What the broker says is passed on in whole frames of the protocol, so that words can be
// put into its mouth.
type Proxy struct {
	target   *url.URL
	listener net.Listener

	mu      sync.Mutex
	changed *sync.Cond
	mute    bool // what the broker says is held back
	deaf    bool // what clients say is held back
	refuse  bool // connections are closed at once
	closed  bool
	forgets func(class, method uint16) bool // of the broker's methods, which are lost
	pairs   map[*pair]bool
	running sync.WaitGroup
	heard   atomic.Int64 // bytes from clients
}

// pair is one connection through the proxy.
type pair struct {
	client, broker net.Conn
	speaking       sync.Mutex // to the client
}

// NewProxy starts a proxy in front of the broker at the URL. The end of the test stops it.
func NewProxy(t testing.TB, broker string) *Proxy {
	t.Helper()
	target, err := url.Parse(broker)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{target: target, listener: listener, pairs: map[*pair]bool{}}
	p.changed = sync.NewCond(&p.mu)
	p.running.Go(p.accept)
	t.Cleanup(p.stop)
	return p
}

// URL is the broker's, through the proxy.
func (p *Proxy) URL() string {
	through := *p.target
	through.Host = p.listener.Addr().String()
	return through.String()
}

// Cut breaks all connections; new ones are let through.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		c.close()
	}
}

// Refuse breaks all connections and lets none through, or lets them through again.
func (p *Proxy) Refuse(refuse bool) {
	p.mu.Lock()
	p.refuse = refuse
	p.mu.Unlock()
	if refuse {
		p.Cut()
	}
}

// Heard is how many bytes clients have sent so far.
func (p *Proxy) Heard() int64 { return p.heard.Load() }

// Mute holds back what the broker says, confirmations among it, while it hears everything; or lets it
// through again.
func (p *Proxy) Mute(mute bool) {
	p.mu.Lock()
	p.mute = mute
	p.changed.Broadcast()
	p.mu.Unlock()
}

// Freeze lets nothing through in either direction while connections stay open, as when the broker's machine
// hangs, or goes on.
func (p *Proxy) Freeze(freeze bool) {
	p.mu.Lock()
	p.mute, p.deaf = freeze, freeze
	p.changed.Broadcast()
	p.mu.Unlock()
}

// Forget loses those methods of the broker's of which the function says so, as a broker does not answer one request while
// it answers others. Nil loses none.
func (p *Proxy) Forget(which func(class, method uint16) bool) {
	p.mu.Lock()
	p.forgets = which
	p.mu.Unlock()
}

// forgotten tells whether a frame is lost.
func (p *Proxy) forgotten(frame []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	const method = 1
	return p.forgets != nil && frame[0] == method && len(frame) >= 12 &&
		p.forgets(binary.BigEndian.Uint16(frame[7:]), binary.BigEndian.Uint16(frame[9:]))
}

// Block tells all clients that the broker takes no messages, as a broker does that runs out of memory; an
// empty reason tells them that it does again.
func (p *Proxy) Block(reason string) {
	const connection, blocked, unblocked = 10, 60, 61
	method := binary.BigEndian.AppendUint16(nil, connection)
	if reason == "" {
		method = binary.BigEndian.AppendUint16(method, unblocked)
	} else {
		method = binary.BigEndian.AppendUint16(method, blocked)
		method = append(append(method, byte(len(reason))), reason...)
	}
	frame := []byte{1, 0, 0}
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(method)))
	frame = append(append(frame, method...), frameEnd)
	p.mu.Lock()
	pairs := make([]*pair, 0, len(p.pairs))
	for c := range p.pairs {
		pairs = append(pairs, c)
	}
	p.mu.Unlock()
	for _, c := range pairs {
		_ = c.say(frame)
	}
}

const frameEnd = 0xce

func (c *pair) say(frame []byte) error {
	c.speaking.Lock()
	defer c.speaking.Unlock()
	_, err := c.client.Write(frame)
	return err
}

func (c *pair) close() {
	c.client.Close()
	c.broker.Close()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		broker, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.target.Host)
		if err != nil {
			client.Close()
			continue
		}
		c := &pair{client: client, broker: broker}
		p.mu.Lock()
		if p.refuse || p.closed {
			p.mu.Unlock()
			c.close()
			continue
		}
		p.pairs[c] = true
		p.mu.Unlock()
		p.running.Go(func() {
			p.hear(c)
			c.close()
		})
		p.running.Go(func() {
			p.speak(c)
			c.close()
			p.mu.Lock()
			delete(p.pairs, c)
			p.mu.Unlock()
		})
	}
}

// hear passes on what the client says.
func (p *Proxy) hear(c *pair) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := c.client.Read(buffer)
		p.heard.Add(int64(n))
		if err != nil {
			return
		}
		p.wait(func() bool { return p.deaf })
		if _, err := c.broker.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// wait waits while something is so, unless the proxy is stopped.
func (p *Proxy) wait(so func() bool) {
	p.mu.Lock()
	for so() && !p.closed {
		p.changed.Wait()
	}
	p.mu.Unlock()
}

// speak passes on what the broker says, frame by frame.
func (p *Proxy) speak(c *pair) {
	from := bufio.NewReader(c.broker)
	for {
		head, err := from.Peek(7) // type, channel, size
		if err != nil {
			return
		}
		frame := make([]byte, 7+int(binary.BigEndian.Uint32(head[3:]))+1)
		if _, err := io.ReadFull(from, frame); err != nil {
			return
		}
		p.wait(func() bool { return p.mute })
		if !p.forgotten(frame) && c.say(frame) != nil {
			return
		}
	}
}

func (p *Proxy) stop() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	p.changed.Broadcast()
	p.mu.Unlock()
	p.Cut()
	p.running.Wait()
}
