package rabbitmq

import (
	"net"
	"sync"
)

// corkedBytes is how much is gathered at most.
const corkedBytes = 64 << 10

// cork is a connection's socket on which writes can be gathered for a while. The library writes each
// message by itself, and for small ones the system's call costs as much as all the rest.
type cork struct {
	net.Conn

	mu     sync.Mutex
	in     bool
	gather []byte
}

// Write is net.Conn's.
func (c *cork) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.in {
		return c.Conn.Write(p)
	}
	if len(c.gather)+len(p) > corkedBytes {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) > corkedBytes {
		return c.Conn.Write(p)
	}
	c.gather = append(c.gather, p...)
	return len(p), nil
}

// put has what is written from now on gathered, until pull. Whoever puts it must pull it soon: heartbeats
// are among what is written.
func (c *cork) put() {
	c.mu.Lock()
	c.in = true
	c.mu.Unlock()
}

// pull writes what was gathered.
func (c *cork) pull() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in = false
	return c.flush()
}

// flush is called with mu held.
func (c *cork) flush() error {
	if len(c.gather) == 0 {
		return nil
	}
	_, err := c.Conn.Write(c.gather)
	c.gather = c.gather[:0]
	return err
}
