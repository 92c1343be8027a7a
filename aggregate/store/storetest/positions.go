package storetest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

var positionTests = []test{
	{"an empty log ends at 0", func(t testing.TB, d *data) {
		require.Zero(t, end(t, d.store))
		require.Empty(t, wholeLog(t, d.store))
	}},
	{"positions are dense from 1, in the order of the batch, landed and rejected alike", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		a.land(stream("1"), event("1"))
		a.reject(stream("2"), commands.StaleTicket)
		a.land(stream("1"), event("2"), event("3"))
		require.Equal(t, store.Range{First: 1, Last: 3}, a.commit())
		a.reject(stream("1"), commands.Refused)
		require.Equal(t, store.Range{First: 4, Last: 4}, a.commit())
		require.Len(t, wholeLog(t, d.store), 4)
		require.EqualValues(t, 4, end(t, d.store))
	}},
	{"a batch without outcomes covers nothing", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		require.Equal(t, store.Range{First: 1, Last: 0}, a.commit())
		a.land(stream("1"), event("1"))
		a.commit()
		a.park(stream("1"), 1)
		require.Equal(t, store.Range{First: 2, Last: 1}, a.commit())
		require.EqualValues(t, 1, end(t, d.store))
	}},
	{"a failed commit leaves no hole", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		first := a.land(stream("1"), event("1"))
		a.commit()
		a.landAs(first.ID, stream("1"), event("2"))
		_, err := a.try()
		require.ErrorIs(t, err, store.ErrIDKnown)
		a.land(stream("1"), event("2"))
		require.Equal(t, store.Range{First: 2, Last: 2}, a.commit())
		require.Len(t, wholeLog(t, d.store), 2)
	}},
	{"committers on different lanes at once still make one dense log, and who sees N has seen all below", concurrentCommitters},
	{"the log gives outcomes above a position, up to a limit", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		for range 10 {
			a.land(stream("1"), event("1"))
		}
		a.commit()
		for _, c := range []struct {
			after       uint64
			limit, want int
		}{{0, 3, 3}, {0, 100, 10}, {7, 2, 2}, {8, 5, 2}, {9, 5, 1}, {10, 5, 0}, {3, 0, 0}} {
			page, err := d.store.Log(context.Background(), c.after, c.limit)
			require.NoError(t, err)
			require.Len(t, page, c.want)
			for i, o := range page {
				require.Equal(t, c.after+uint64(i)+1, o.Position)
			}
		}
	}},
	{"beyond the head of the log nothing is kept", func(t testing.TB, d *data) {
		_, err := d.store.Log(context.Background(), 1, 10)
		require.ErrorIs(t, err, store.ErrNotKept)
		a := newAuthor(t, d.store)
		a.land(stream("1"), event("1"))
		a.commit()
		_, err = d.store.Log(context.Background(), 1, 10)
		require.NoError(t, err)
		_, err = d.store.Log(context.Background(), 2, 10)
		require.ErrorIs(t, err, store.ErrNotKept)
	}},
}

// concurrentCommitters has one committer for each lane and a reader that follows the log meanwhile. What
// the reader has seen must be dense, must be what the committers were told, and must be visible to every
// other kind of read at once.
func concurrentCommitters(t testing.TB, d *data) {
	const batches, size = 20, 7
	var (
		committers errgroup.Group
		mu         sync.Mutex
		told       = map[commands.ID]uint64{}
		done       atomic.Bool
	)
	for lane := range Lanes {
		a := newAuthor(t, d.store, lane)
		committers.Go(func() error {
			for n := range batches {
				for i := range size {
					a.land(streamOn(lane, (n+i)%3), event("1"))
				}
				outcomes := a.batch.Outcomes
				if _, err := a.try(); err != nil {
					return err
				}
				mu.Lock()
				for _, o := range outcomes {
					told[o.ID] = o.Position
				}
				mu.Unlock()
			}
			return nil
		})
	}
	var reader errgroup.Group
	var seen []*commands.Outcome
	reader.Go(func() error {
		for {
			last := done.Load()
			page, err := d.store.Log(context.Background(), uint64(len(seen)), 50)
			if err != nil {
				return err
			}
			if len(page) == 0 && last {
				return nil
			}
			seen = append(seen, page...)
			for _, o := range page {
				if err := visible(d.store, o); err != nil {
					return err
				}
			}
		}
	})
	err := committers.Wait()
	done.Store(true)
	require.NoError(t, reader.Wait())
	require.NoError(t, err)
	require.Len(t, seen, Lanes*batches*size)
	for i, o := range seen {
		require.EqualValues(t, i+1, o.Position)
		require.Equal(t, told[o.ID], o.Position)
	}
}
