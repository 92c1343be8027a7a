//go:build unix

package faults

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
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

// loseCommit loses everything that the database says from the moment on at which it is next asked to commit. It
// returns a channel that is closed then; what is asked is passed on.
func (l *link) loseCommit(t *testing.T) <-chan struct{} {
	t.Helper()
	w := &watch{asked: make(chan struct{})}
	name := fmt.Sprintf("%s %d", l.name, time.Now().UnixNano())
	watches.Store(name, w)
	t.Cleanup(func() { watches.Delete(name) })
	l.add(t, fmt.Sprintf(`{"name":"commit","type":%q,"stream":"upstream","attributes":{"watch":%q}}`, committing, name))
	l.add(t, fmt.Sprintf(`{"name":"reply","type":%q,"stream":"downstream","attributes":{"watch":%q}}`, unanswered, name))
	return w.asked
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

func init() { //nolint:gochecknoinits // toxiproxy knows its toxics by name
	toxics.Register(silent, new(silence))
	toxics.Register(committing, new(commits))
	toxics.Register(unanswered, new(replies))
}

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

// The kinds of toxics that lose the reply to a commit.
const (
	committing = "doorman_commits"
	unanswered = "doorman_replies"
)

// watch is what the two toxics of a link know together. Toxics have attributes, which are JSON, and no more; so
// they find it by name.
type watch struct {
	once  sync.Once
	asked chan struct{}
}

var watches sync.Map // of *watch by name

func watched(name string) *watch {
	found, _ := watches.Load(name)
	w, _ := found.(*watch)
	return w
}

// commits is a toxic that looks for a commit, and passes everything on.
type commits struct {
	Watch string `json:"watch"`
}

// replies is a toxic that loses everything from the commit on.
type replies struct {
	Watch string `json:"watch"`
}

var (
	_ toxics.Toxic        = (*commits)(nil)
	_ toxics.Toxic        = (*replies)(nil)
	_ toxics.CleanupToxic = (*replies)(nil)
)

// Pipe tells of a commit before it passes it on.
func (c *commits) Pipe(stub *toxics.ToxicStub) {
	w := watched(c.Watch)
	pass(stub, func(data []byte) bool {
		if bytes.Contains(data, []byte("commit_batch")) {
			w.once.Do(func() { close(w.asked) })
		}
		return true
	})
}

// Pipe passes on what is said before the commit.
func (r *replies) Pipe(stub *toxics.ToxicStub) {
	w := watched(r.Watch)
	pass(stub, func([]byte) bool {
		select {
		case <-w.asked:
			return false
		default:
			return true
		}
	})
}

// Cleanup ends the connection: there is a hole in what went through it.
func (r *replies) Cleanup(stub *toxics.ToxicStub) { stub.Close() }

// pass hands on what a function lets through.
func pass(stub *toxics.ToxicStub, through func([]byte) bool) {
	for {
		select {
		case <-stub.Interrupt:
			return
		case chunk := <-stub.Input:
			if chunk == nil {
				stub.Close()
				return
			}
			if through(chunk.Data) {
				stub.Output <- chunk
			}
		}
	}
}
