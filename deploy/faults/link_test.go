//go:build unix

package faults

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// link is a process's way to the database or the broker, which can be cut or go dead.
type link struct {
	name  string
	proxy *toxiproxy.Proxy
}

func (c *cluster) newLink(t *testing.T, name, target string) *link {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &link{name, toxiproxy.NewProxy(server, name, "127.0.0.1:0", target)}
	require.NoError(t, l.proxy.Start())
	t.Cleanup(l.proxy.Stop)
	return l
}

func (l *link) address() string { return l.proxy.Listen }

// cut ends all connections; new ones are let through.
func (l *link) cut(t *testing.T) {
	t.Helper()
	l.proxy.Stop()
	require.NoError(t, l.proxy.Start())
}

// loseReplies loses what the far side says from now on, while it hears everything.
func (l *link) loseReplies(t *testing.T) {
	t.Helper()
	l.add(t, `{"name":"replies","type":"timeout","stream":"downstream","attributes":{"timeout":0}}`)
}

// die has the connections that there are go dead: neither side is told, and what is said is lost. New ones
// are let through.
func (l *link) die(t *testing.T) {
	t.Helper()
	before := time.Now().Add(50 * time.Millisecond).UnixNano() // nobody notices so soon
	for _, direction := range []string{"upstream", "downstream"} {
		l.add(t, fmt.Sprintf(`{"name":"dead_%s","type":%q,"stream":%q,"attributes":{"before":%d}}`, direction, silent, direction, before))
	}
}

func (l *link) add(t *testing.T, toxic string) {
	t.Helper()
	_, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic))
	require.NoError(t, err)
}

// heal ends the connections to which something was done, and does no more to new ones.
func (l *link) heal() { l.proxy.Toxics.ResetToxics(context.Background()) }

// silent names the kind of toxic that is a silence.
const silent = "doorman_silence"

func init() { toxics.Register(silent, new(silence)) } //nolint:gochecknoinits // toxiproxy knows its toxics by name

// silence is a toxic by which connections that were open before a moment pass nothing on, not even their end.
type silence struct {
	Before int64 `json:"before"` // nanoseconds since 1970
}

var (
	_ toxics.Toxic         = (*silence)(nil)
	_ toxics.StatefulToxic = (*silence)(nil)
	_ toxics.CleanupToxic  = (*silence)(nil)
)

// NewState says whether a connection is dead.
func (s *silence) NewState() any { return time.Now().UnixNano() < s.Before }

// Pipe takes everything and passes nothing on, or everything.
func (s *silence) Pipe(stub *toxics.ToxicStub) {
	if dead, _ := stub.State.(bool); !dead {
		new(toxics.NoopToxic).Pipe(stub)
		return
	}
	input := stub.Input
	for {
		select {
		case <-stub.Interrupt:
			return
		case chunk := <-input:
			if chunk == (*stream.StreamChunk)(nil) {
				input = nil // the end is lost like everything else
			}
		}
	}
}

// Cleanup ends a dead connection: there is a hole in what went through it.
func (s *silence) Cleanup(stub *toxics.ToxicStub) {
	if dead, _ := stub.State.(bool); dead {
		stub.Close()
	}
}
