package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

var laneTests = []test{
	{"claims come in the order asked, each epoch above the one before", func(t testing.TB, d *data) {
		first, err := d.store.Acquire(context.Background(), []int{3, 0, 2}, "one")
		require.NoError(t, err)
		again, err := d.store.Acquire(context.Background(), []int{2, 3, 0}, "two")
		require.NoError(t, err)
		for i, lane := range []int{3, 0, 2} {
			require.Equal(t, lane, first[i].Lane)
			require.Zero(t, first[i].Worked)
		}
		for i, lane := range []int{2, 3, 0} {
			require.Equal(t, lane, again[i].Lane)
		}
		require.Greater(t, again[0].Epoch, first[2].Epoch)
		require.Greater(t, again[1].Epoch, first[0].Epoch)
		require.Greater(t, again[2].Epoch, first[1].Epoch)
	}},
	{"acquiring no lanes gives no claims", func(t testing.TB, d *data) {
		claims, err := d.store.Acquire(context.Background(), nil, "one")
		require.NoError(t, err)
		require.Empty(t, claims)
	}},
	{"a lane that does not exist cannot be acquired", func(t testing.TB, d *data) {
		for _, lane := range []int{-1, Lanes} {
			_, err := d.store.Acquire(context.Background(), []int{lane}, "one")
			require.Error(t, err)
		}
	}},
	{"a batch without claims is refused", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		a.land(stream("1"), event("1"))
		a.batch.Claims = nil
		_, err := a.try()
		require.Error(t, err)
		requireUntouched(t, d, stream("1"))
	}},
	{"an older claim commits nothing, and nothing of it stays", func(t testing.TB, d *data) {
		old := newAuthor(t, d.store)
		kept := old.land(stream("1"), event("1"))
		old.commit()
		newer := newAuthor(t, d.store)
		landed := old.land(stream("1"), event("2"))
		parked := old.park(stream("2"), time.Second)
		old.reject(stream("3"), commands.StaleTicket)
		_, err := old.try()
		require.ErrorIs(t, err, store.ErrFenced)
		require.EqualValues(t, 1, end(t, d.store))
		for _, f := range facts(t, d.store, landed.ID, parked.ID) {
			require.Equal(t, aggregate.Fact{}, f)
		}
		requireFact(t, kept, facts(t, d.store, kept.ID)[0])
		newer.land(stream("1"), event("2"))
		newer.commit()
		require.EqualValues(t, 2, load(t, d.store, stream("1"))[0].Head.Version)
	}},
	{"every claim of a batch is checked, wherever it stands", func(t testing.TB, d *data) {
		for stale := range Lanes {
			a := newAuthor(t, d.store)
			_, err := d.store.Acquire(context.Background(), []int{stale}, "other")
			require.NoError(t, err)
			a.land(stream("1"), event("1"))
			_, err = a.try()
			require.ErrorIs(t, err, store.ErrFenced)
			requireUntouched(t, d, stream("1"))
		}
	}},
	{"a claim from the future is refused too", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		a.land(stream("1"), event("1"))
		a.batch.Claims[1].Epoch++
		_, err := a.try()
		require.ErrorIs(t, err, store.ErrFenced)
		requireUntouched(t, d, stream("1"))
	}},
	{"taking one lane over leaves the others", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store, 0, 1)
		newAuthor(t, d.store, 2, 3)
		a.land(streamOn(0, 0), event("1"))
		a.land(streamOn(1, 0), event("1"))
		a.commit()
	}},
	{"a lane's clock is saved with a commit and given to whoever takes the lane next", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		for lane := range Lanes {
			a.batch.Claims[lane].Worked = time.Duration(lane+1)*time.Hour + 123456*time.Microsecond
		}
		a.land(stream("1"), event("1"))
		a.commit()
		claims := newAuthor(t, d.store).claims
		for lane := range Lanes {
			require.Equal(t, time.Duration(lane+1)*time.Hour+123456*time.Microsecond, claims[lane].Worked)
		}
		d.reopen()
		require.Equal(t, claims[2].Worked, newAuthor(t, d.store).claims[2].Worked)
	}},
	{"a batch that only saves clocks commits", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		a.batch.Claims[0].Worked = time.Minute
		a.commit()
		require.Equal(t, time.Minute, newAuthor(t, d.store).claims[0].Worked)
	}},
	{"a failed commit saves no clock", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		id := a.land(stream("1"), event("1")).ID
		a.commit()
		a.batch.Claims[0].Worked = time.Minute
		a.landAs(id, stream("2"), event("1"))
		_, err := a.try()
		require.ErrorIs(t, err, store.ErrIDKnown)
		require.Zero(t, newAuthor(t, d.store).claims[0].Worked)
	}},
	{"claims outlive a restart as older than any made after it", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		d.reopen()
		b := newAuthor(t, d.store)
		require.Greater(t, b.claims[0].Epoch, a.claims[0].Epoch)
	}},
}

// sharedTests need two store objects on the same data.
var sharedTests = []test{
	{"store objects on the same data fence each other", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		a.land(stream("1"), event("1"))
		a.commit()
		b := newAuthor(t, d.another())
		b.land(stream("1"), event("2"))
		b.commit()
		a.land(stream("1"), event("2"))
		_, err := a.try()
		require.ErrorIs(t, err, store.ErrFenced)
		require.Len(t, wholeLog(t, d.store), 2)
	}},
	{"what one store object commits, another one reads", func(t testing.TB, d *data) {
		a, other := newAuthor(t, d.store), d.another()
		for range 3 {
			o := a.land(stream("1"), events(2)...)
			a.commit()
			require.NoError(t, visible(other, o))
			requireHead(t, other, stream("1"), a.record(stream("1")).Head)
		}
		require.Equal(t, d.store.Identity(), other.Identity())
	}},
}
