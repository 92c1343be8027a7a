package load

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// stallWire answers every POST after a millisecond, but what is sent while it stalls only when the stall
// is over. Time is the test's own.
type stallWire struct {
	from, to time.Time
	answer   string
	open     []pending
}

type pending struct {
	conn int
	at   time.Time
}

func (w *stallWire) dial(context.Context, int) error { return nil }

func (w *stallWire) send(conn int, _ []byte) {
	at := time.Now().Add(time.Millisecond)
	if at.After(w.from) && at.Before(w.to) {
		at = w.to
	}
	w.open = append(w.open, pending{conn, at})
}

func (w *stallWire) wait(until time.Time, got func(int, []byte, error)) error {
	for _, p := range w.open {
		until = earlier(until, p.at)
	}
	time.Sleep(time.Until(until))
	open := w.open
	w.open = nil
	var rest []pending
	for _, p := range open {
		if p.at.After(time.Now()) {
			rest = append(rest, p)
			continue
		}
		got(p.conn, []byte(w.answer), nil)
	}
	w.open = append(w.open, rest...)
	return nil
}

func (w *stallWire) close() {}

func stalled(t *testing.T, cfg Config) *engine {
	t.Helper()
	cfg.WaitShare = -1
	cfg.setDefaults()
	body := "[" + strings.Repeat(`{"status":"accepted"},`, cfg.Array) + "]"
	w := &stallWire{
		from: time.Now().Add(time.Second), to: time.Now().Add(1500 * time.Millisecond),
		answer: fmt.Sprintf("HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n%s", len(body), body),
	}
	e := newEngine(&cfg, w, newRequest(&cfg, &url.URL{Scheme: "http", Host: "x"}, "run"))
	require.NoError(t, e.connect(t.Context()))
	require.NoError(t, e.run(t.Context()))
	return e
}

// A server that stalls for half a second of two makes more than a quarter of the commands late, since they
// were due then, even though only as many were under way as there are connections.
func TestAStallIsMeasuredFromWhenCommandsWereDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := stalled(t, Config{Duration: 2 * time.Second, Rate: 1000, Connections: 8})
		require.InDelta(t, 2000, e.accepted, 2)
		h := e.toAccepted
		require.InDelta(t, 1000, h.ValueAtQuantile(50), 10)
		require.InDelta(t, 500_000, h.Max(), 5000)
		late := func(micros int64) (n int64) {
			for _, bar := range h.Distribution() {
				if bar.From >= micros {
					n += bar.Count
				}
			}
			return n
		}
		// Then 8 connections catch up at 8 a millisecond, while one more comes due in each.
		require.InDelta(t, 500/(1-1./8), late(2000), 20, "all that were due during the stall")
		require.InDelta(t, 250/(1-1./8), late(250_000), 20, "half of them by more than half of it")
	})
}

// Without a rate the server sets the pace: it is asked for less while it stalls, and the report says so.
func TestWithoutARateLatencyCountsFromSending(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := stalled(t, Config{Duration: 2 * time.Second, Connections: 8})
		require.InDelta(t, 8*1500, e.accepted, 20)
		require.EqualValues(t, 1000, e.toAccepted.ValueAtQuantile(99))
		require.InDelta(t, 500_000, e.toAccepted.Max(), 5000)
	})
}

// The schedule is kept whatever the answers do: as many as were due, no more.
func TestARateIsKept(t *testing.T) {
	t.Parallel()
	for _, array := range []int{1, 10} {
		synctest.Test(t, func(t *testing.T) {
			e := stalled(t, Config{Duration: time.Second, Rate: 5000, Connections: 8, Array: array})
			require.InDelta(t, 5000, e.plan.log.n, float64(array))
		})
	}
}
