package hub_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/notify/hub"
)

// padded has every state in a megabyte.
type padded struct{ *logbook }

func (b padded) Head(ctx context.Context, stream commands.Stream) (*store.Record, bool, error) {
	record, known, err := b.logbook.Head(ctx, stream)
	if known {
		record.State = padding(record.Head.Version)
	}
	return record, known, err
}

func (padded) StateAt(_ context.Context, _ commands.Stream, version uint64) ([]byte, error) {
	return padding(version), nil
}

func padding(version uint64) []byte {
	return fmt.Appendf(nil, `"%d%s"`, version, strings.Repeat(".", 1<<20))
}

// weighing notes how much is held, at most, while heads are read.
type weighing struct {
	padded
	held func() int64
	most int64
}

func (w *weighing) Head(ctx context.Context, stream commands.Stream) (*store.Record, bool, error) {
	w.most = max(w.most, w.held())
	return w.padded.Head(ctx, stream)
}

// Promise 12: what a reader is told without, or has, is not held; nor is what was read before it was told anew.
func TestWhatAReaderIsNotToldIsNotHeld(t *testing.T) {
	t.Parallel()
	const streams = 40
	for name, test := range map[string]struct {
		deliver hub.Deliver
		since   hub.Since
		has     uint64
		ahead   uint64 // of that, and maybe of the log, in the last stream
		told    int
		most    int64 // MiB
	}{
		"all of them":            {hub.DeliverState, hub.SinceSnapshot, 0, 0, streams, streams},
		"without their states":   {hub.DeliverTicket, hub.SinceSnapshot, 0, 0, streams, 0},
		"none, it has them":      {hub.DeliverState, hub.SinceVersion, 1, 0, 0, 0},
		"all, since one is lost": {hub.DeliverState, hub.SinceVersion, 0, 2, streams, streams},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var large *weighing
			onStage(t, func(c *hub.Config) {
				large = &weighing{padded: padded{c.Reader.(*logbook)}}
				c.Reader, c.States = large, large
			}, func(s *stage) {
				large.held = s.hub.Held
				var all []hub.Watch
				for n := range streams {
					s.land(landing(stream(n), "", 1))
					all = append(all, hub.Watch{Stream: stream(n), Since: test.since, Version: test.has})
				}
				all[streams-1].Version += test.ahead
				p := s.watch(&hub.Request{Streams: all, Deliver: test.deliver})
				told := slices.DeleteFunc(p.take(), func(m hub.Message) bool { return m.Event == commands.PushReset })
				require.Len(t, views(t, told), test.told)
				require.LessOrEqual(t, large.most, test.most<<20+1<<16)
				require.Zero(t, s.hub.Held())
			})
		})
	}
}

// stalling does not read what is told first, until it does.
type stalling struct {
	*pad
	reads chan struct{}
}

func (s stalling) Put(d *hub.Delivery) (bool, error) {
	s.mu.Lock()
	if len(d.Messages) > 0 {
		s.stuck = s.reads
	}
	s.mu.Unlock()
	return s.pad.Put(d)
}

// Promise 12: a reader that does not read holds no states that others could hold, and is told all of them once it does.
func TestWhatASlowReaderIsToBeToldIsNotHeld(t *testing.T) {
	t.Parallel()
	const streams = 40
	onStage(t, func(c *hub.Config) {
		large := padded{c.Reader.(*logbook)}
		c.Reader, c.States = large, large
	}, func(s *stage) {
		var all []commands.Stream
		for n := range streams {
			all = append(all, stream(n))
			s.land(landing(stream(n), "", 1+n))
		}
		p := stalling{&pad{}, make(chan struct{})}
		go func() {
			conn, err := s.hub.Open(context.Background(), &hub.Request{Streams: watches(all...)}, p)
			assert.NoError(t, err)
			p.conn = conn
		}()
		require.Empty(t, p.take())
		require.Less(t, s.hub.Held(), int64(streams/2<<20))
		close(p.reads)
		told := views(t, p.take())
		require.Len(t, told, streams)
		for n := range told {
			require.Equal(t, padding(uint64(1+n)), []byte(told[n].State))
		}
		require.Zero(t, s.hub.Held())
	})
}
