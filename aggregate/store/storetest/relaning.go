package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// numbers are the numbers of lanes that the tests below go through, from [Lanes] on.
var numbers = []int{3, 11, 1, 6}

// relaneTests are about a store whose number of lanes is changed, see [Backend.Relane].
var relaneTests = []test{
	{"what is parked moves to the lane that its stream is on then, with the time it has left", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		left := map[commands.ID]time.Duration{}
		for lane := range Lanes {
			a.batch.Claims[lane].Worked = time.Duration(lane*lane+1) * time.Hour
			for n := range 5 {
				time := time.Duration(n+1) * time.Second
				w := a.park(streamOn(lane, n/2), a.batch.Claims[lane].Worked+time)
				left[w.ID] = time
			}
		}
		a.commit()
		for _, lanes := range numbers {
			d.relane(lanes)
			require.Equal(t, lanes, d.store.Identity().Lanes)
			claims := acquireAll(t, d.store)
			found := 0
			for _, claim := range claims {
				parked, err := d.store.Backlog(context.Background(), []int{claim.Lane})
				require.NoError(t, err)
				for _, p := range parked {
					require.Equal(t, p.Stream.Lane(lanes), claim.Lane, "%s of %d lanes", p.Stream, lanes)
					require.Equal(t, left[p.ID], p.Deadline-claim.Worked, "of %d lanes", lanes)
					found++
				}
			}
			require.Len(t, left, found)
			for lane := range Lanes {
				require.Len(t, load(t, d.store, streamOn(lane, 0))[0].Waiting, 2, "in the order of parking")
			}
		}
	}},
	{"heads, log and the log's epoch stay as they are", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		for lane := range Lanes {
			a.land(streamOn(lane, 0), events(2)...)
			a.reject(streamOn(lane, 1), commands.StaleTicket)
		}
		a.commit()
		before, log := d.store.Identity(), wholeLog(t, d.store)
		for _, lanes := range numbers {
			d.relane(lanes)
			require.Equal(t, before.Epoch, d.store.Identity().Epoch)
			require.Equal(t, log, wholeLog(t, d.store))
			for lane := range Lanes {
				requireHead(t, d.store, streamOn(lane, 0), a.record(streamOn(lane, 0)).Head)
			}
		}
	}},
	{"what was claimed before commits nothing afterwards, though a lane goes and comes back", func(t testing.TB, d *data) {
		for range 3 {
			newAuthor(t, d.store, 3)
		}
		old := acquireAll(t, d.store)
		for _, lanes := range numbers {
			d.relane(lanes)
			claims := acquireAll(t, d.store)
			for _, before := range old {
				_, err := d.store.Commit(context.Background(), &store.Batch{Claims: []store.Claim{before}})
				require.ErrorIs(t, err, store.ErrFenced, "%+v with %d lanes", before, lanes)
			}
			old = append(old, claims...)
		}
	}},
	{"work goes on with another number of lanes", func(t testing.TB, d *data) {
		newAuthor(t, d.store).commit()
		for _, lanes := range numbers {
			d.relane(lanes)
			a := newAuthor(t, d.store, allLanes(lanes)...)
			for lane := range Lanes {
				a.land(streamOn(lane, 0), event("1"))
				a.park(streamOn(lane, 1), time.Hour)
			}
			a.commit()
			requireHead(t, d.store, streamOn(0, 0), a.record(streamOn(0, 0)).Head)
		}
		require.Len(t, load(t, d.store, streamOn(2, 1))[0].Waiting, len(numbers))
	}},
}

// relane changes the number of lanes of the data set.
func (d *data) relane(lanes int) {
	d.store = d.change(d.t, d.store, lanes)
	d.t.Cleanup(func() { require.NoError(d.t, d.store.Close()) })
}

func allLanes(n int) []int {
	lanes := make([]int, n)
	for lane := range lanes {
		lanes[lane] = lane
	}
	return lanes
}

func acquireAll(t tb, s store.Store) []store.Claim {
	claims, err := s.Acquire(context.Background(), allLanes(s.Identity().Lanes), t.Name())
	require.NoError(t, err)
	return claims
}
