package group_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ticketed/doorman/aggregate/worker/group"
)

func listed(ids ...string) []group.Member {
	var members []group.Member
	for _, id := range ids {
		members = append(members, group.Member{ID: id})
	}
	return members
}

// holders tells who has each lane, and fails when a lane has none or two.
func holders(t require.TestingT, lanes int, members []group.Member) []string {
	all := make([]string, lanes)
	for _, m := range members {
		share := group.Share(lanes, members, m.ID)
		require.True(t, slices.IsSorted(share))
		require.GreaterOrEqual(t, len(share), lanes/len(members), "even")
		require.LessOrEqual(t, len(share), (lanes+len(members)-1)/len(members), "even")
		for _, lane := range share {
			require.Empty(t, all[lane], "lane %d is two members' own", lane)
			all[lane] = m.ID
		}
	}
	require.NotContains(t, all, "", "nobody's lane")
	return all
}

// DESIGN section 7: lanes are shared out evenly among workers.
func TestLanesAreSharedEvenlyAndMoveOnlyToWhoJoins(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		lanes := rapid.IntRange(1, 200).Draw(t, "lanes")
		ids := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9]{1,4}`), 1, 40, rapid.ID).Draw(t, "members")
		members := listed(ids...)
		before, after := members[:len(members)-1], holders(t, lanes, members)
		if len(before) == 0 {
			return
		}
		newest, moved := ids[len(ids)-1], 0
		for lane, holder := range holders(t, lanes, before) {
			if after[lane] != holder {
				require.Equal(t, newest, after[lane], "lane %d moved between two that were there", lane)
				moved++
			}
		}
		require.Equal(t, lanes/len(members), moved, "as few as make it even")
	})
}

func TestSharesOfSixteenLanes(t *testing.T) {
	t.Parallel()
	require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7}, group.Share(16, listed("a", "b"), "a"))
	require.Equal(t, []int{8, 9, 10, 11, 12, 13, 14, 15}, group.Share(16, listed("a", "b"), "b"))
	require.Len(t, group.Share(16, listed("a", "b", "c"), "c"), 5)
	require.Equal(t, []int{0}, group.Share(1, listed("a", "b"), "a"))
	require.Empty(t, group.Share(1, listed("a", "b"), "b"), "more members than lanes")
	require.Empty(t, group.Share(16, listed("a", "b"), "c"), "not on the list")
	require.Empty(t, group.Share(16, nil, "a"))
}
