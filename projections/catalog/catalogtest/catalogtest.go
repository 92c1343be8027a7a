// Package catalogtest says in runnable form what catalog.Backend promises in words. Every backend runs the
// same suite over real data:
//
//	catalogtest.Run(t, func(t testing.TB) func() catalogtest.Opened { … })
package catalogtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/projections/catalog"
	"github.com/ticketed/doorman/projections/runner"
)

// Opened is a backend opened on a data set.
type Opened struct {
	catalog.Backend
	Close func() error // safe twice
}

// Fresh makes an empty data set and returns how to open it. Each call opens it once more; the suite closes
// what it opens, and may have two open at once.
type Fresh func(t testing.TB) (open func() Opened)

// Run holds a backend against the suite.
func Run(t *testing.T, fresh Fresh) {
	t.Helper()
	for _, tests := range [][]test{changing, reading, following} {
		for _, c := range tests {
			t.Run(c.rule, func(t *testing.T) {
				t.Parallel()
				d := &data{TB: t, open: fresh(t), epoch: "e1", changed: make(chan struct{}, 1)}
				d.Opened = d.another()
				c.check(d)
			})
		}
	}
}

type test struct {
	rule  string
	check func(d *data)
}

// data is one data set, with the catalog that the test works with.
type data struct {
	testing.TB
	Opened
	open    func() Opened
	epoch   string
	at      uint64        // the checkpoint's position
	changed chan struct{} // holds a token when a runner has applied something
}

func (d *data) another() Opened {
	opened := d.open()
	d.Cleanup(func() { require.NoError(d, opened.Close()) })
	return opened
}

func (d *data) checkpoint() runner.Checkpoint {
	return runner.Checkpoint{Epoch: d.epoch, Position: d.at}
}

// begin makes the catalog that of the epoch.
func (d *data) begin() {
	d.Helper()
	require.NoError(d, d.Reset(context.Background(), d.epoch))
	d.at = 0
}

// apply applies rows, and has the checkpoint follow the last of them.
func (d *data) apply(rows ...catalog.Row) {
	d.Helper()
	to := runner.Checkpoint{Epoch: d.epoch, Position: max(d.at, rows[len(rows)-1].Position)}
	require.NoError(d, d.Apply(context.Background(), rows, d.checkpoint(), to))
	d.at = to.Position
}

func (d *data) page(ask catalog.Ask) *catalog.Page {
	d.Helper()
	page, err := d.Page(context.Background(), ask)
	require.NoError(d, err)
	require.LessOrEqual(d, len(page.Rows), ask.Limit)
	for i, row := range page.Rows {
		require.LessOrEqual(d, row.Position, page.At.Position, "rows and checkpoint are of one moment")
		if i > 0 {
			require.Less(d, row.Position, page.Rows[i-1].Position, "newest first")
		}
	}
	return page
}

// walk reads page after page; between may change something.
func (d *data) walk(ask catalog.Ask, between func(pages int)) (all []catalog.Row) {
	d.Helper()
	for pages := 1; ; pages++ {
		page := d.page(ask)
		all = append(all, page.Rows...)
		if !page.More {
			return all
		}
		require.Len(d, page.Rows, ask.Limit, "only the last page is short")
		last := page.Rows[len(page.Rows)-1].Position
		require.True(d, ask.Before == 0 || last < ask.Before, "the next page goes on below %d, not at %d", ask.Before, last)
		ask.Before = last
		between(pages)
	}
}

func (d *data) all(ask catalog.Ask) []catalog.Row {
	d.Helper()
	return d.walk(ask, func(int) {})
}

func stream(kind string, n int) commands.Stream {
	return commands.Stream{Type: kind, ID: fmt.Sprintf("s%d", n)}
}

var epochOfTime = time.Date(2026, 11, 22, 8, 15, 30, 123456000, time.UTC)

// row is a stream's row after an action at a position.
func row(s commands.Stream, position uint64) catalog.Row {
	return catalog.Row{Stream: s, Version: 1 + position/3, Ticket: commands.NewID(), Position: position,
		At: epochOfTime.Add(time.Duration(position) * time.Microsecond)}
}
