package deploy

import (
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// connections counts those of a listener and turns away what is too many: with an answer, rather than a
// connection that is accepted and never served. One that is taken over by its handler is no longer
// counted.
type connections struct {
	open atomic.Int64
	most int64
}

func (c *connections) count() int { return int(c.open.Load()) }

// changed is http.Server's ConnState. It is called before a new connection is read from.
func (c *connections) changed(connection net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if c.open.Add(1) > c.most {
			turnAway(connection)
		}
	case http.StateClosed, http.StateHijacked:
		c.open.Add(-1)
	case http.StateActive, http.StateIdle:
	}
}

// turnAway answers a connection before it has asked, which fits into what its buffers hold, and closes it.
func turnAway(connection net.Conn) {
	p := problem.New(commands.Unavailable, "there are too many connections")
	p.RetryAfter = time.Second
	body := p.AppendTo(nil)
	_ = connection.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = fmt.Fprintf(connection, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: %s\r\nContent-Length: %d\r\n"+
		"Cache-Control: no-store\r\nRetry-After: 1\r\nConnection: close\r\n\r\n%s", problem.ContentType, len(body), body)
	_ = connection.Close() // the server finds it closed, and says so to changed
}
