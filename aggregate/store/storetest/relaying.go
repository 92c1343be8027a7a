package storetest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
)

// relayTests are about how far the log of a lane has been passed on.
var relayTests = []test{
	{"nothing has been passed on of a new store", func(t testing.TB, d *data) {
		for _, claim := range newAuthor(t, d.store).claims {
			require.Zero(t, claim.Relayed)
		}
	}},
	{"how far a lane's log has been passed on is told to whoever takes the lane next", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		require.NoError(t, d.store.SaveRelayed(context.Background(), relayed(a.claims, 7, 5, 0, 9)))
		require.Equal(t, []uint64{7, 5, 0, 9}, relayedOf(newAuthor(t, d.store).claims))
		d.reopen()
		claims, err := d.store.Acquire(context.Background(), []int{3, 0}, "one")
		require.NoError(t, err)
		require.Equal(t, []uint64{9, 7}, relayedOf(claims), "in the order asked")
	}},
	{"how far it has been passed on never goes back", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		require.NoError(t, d.store.SaveRelayed(context.Background(), relayed(a.claims, 7, 5, 3, 9)))
		require.NoError(t, d.store.SaveRelayed(context.Background(), relayed(a.claims, 6, 6, 0, 9)))
		require.Equal(t, []uint64{7, 6, 3, 9}, relayedOf(newAuthor(t, d.store).claims))
	}},
	{"an older claim moves nothing, and those beside it that hold do", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		_, err := d.store.Acquire(context.Background(), []int{1}, "other")
		require.NoError(t, err)
		require.ErrorIs(t, d.store.SaveRelayed(context.Background(), relayed(a.claims, 7, 5, 3, 9)), store.ErrFenced)
		require.Equal(t, []uint64{7, 0, 3, 9}, relayedOf(newAuthor(t, d.store).claims))
		require.ErrorIs(t, d.store.SaveRelayed(context.Background(), relayed(a.claims, 99, 99, 99, 99)), store.ErrFenced)
		require.Equal(t, []uint64{7, 0, 3, 9}, relayedOf(newAuthor(t, d.store).claims))
	}},
	{"a claim from the future moves nothing", func(t testing.TB, d *data) {
		claims := relayed(newAuthor(t, d.store).claims, 1, 2, 3, 4)
		claims[2].Epoch++
		require.ErrorIs(t, d.store.SaveRelayed(context.Background(), claims), store.ErrFenced)
		require.Equal(t, []uint64{1, 2, 0, 4}, relayedOf(newAuthor(t, d.store).claims))
	}},
	{"saving for no lanes is fine", func(t testing.TB, d *data) {
		require.NoError(t, d.store.SaveRelayed(context.Background(), nil))
	}},
	{"a commit leaves how far it was passed on as it is", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		require.NoError(t, d.store.SaveRelayed(context.Background(), relayed(a.claims, 7, 5, 3, 9)))
		a.land(stream("1"), event("1"))
		a.commit()
		require.Equal(t, []uint64{7, 5, 3, 9}, relayedOf(newAuthor(t, d.store).claims))
	}},
}

// relayed are the claims with how far each lane's log has been passed on.
func relayed(claims []store.Claim, positions ...uint64) []store.Claim {
	told := make([]store.Claim, len(claims))
	for i, claim := range claims {
		told[i] = store.Claim{Lane: claim.Lane, Epoch: claim.Epoch, Relayed: positions[i]}
	}
	return told
}

func relayedOf(claims []store.Claim) []uint64 {
	positions := make([]uint64, len(claims))
	for i, claim := range claims {
		positions[i] = claim.Relayed
	}
	return positions
}

// relayRelaneTests are about that in a store whose number of lanes is changed.
var relayRelaneTests = []test{
	{"with another number of lanes, all have been passed on as far as the one that was furthest behind", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		require.NoError(t, d.store.SaveRelayed(context.Background(), relayed(a.claims, 7, 5, 6, 9)))
		old := a.claims
		least := uint64(5)
		for _, lanes := range numbers {
			d.relane(lanes)
			require.ErrorIs(t, d.store.SaveRelayed(context.Background(), relayed(old[:1], 99)), store.ErrFenced)
			var claims []store.Claim
			for _, lane := range allLanes(lanes) { // one after another, as several workers do
				one, err := d.store.Acquire(context.Background(), []int{lane}, "one")
				require.NoError(t, err)
				require.Equal(t, least, one[0].Relayed, "lane %d of %d", lane, lanes)
				claims = append(claims, one...)
				require.NoError(t, d.store.SaveRelayed(context.Background(), relayed(one, least+1)))
			}
			least++
			old = claims
		}
	}},
	{"nothing is saved for lanes that nobody has taken since their number was changed", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		d.relane(6)
		require.ErrorIs(t, d.store.SaveRelayed(context.Background(), relayed(a.claims, 7, 5, 6, 9)), store.ErrFenced)
		require.Equal(t, make([]uint64, 6), relayedOf(acquireAll(t, d.store)))
	}},
}
