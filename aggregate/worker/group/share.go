package group

import "slices"

// Share is which of the lanes, 0 to lanes-1, are the member's own, in rising order; none when it is not on
// the list. All that share the same list out agree: every lane is exactly one's, and nobody has two lanes
// more than another. Beyond the number of lanes the newest have none.
//
// It follows from the order of joining alone. The first had all; each that joined took its part lane by lane
// from whoever had most, and nothing else moved. So when one joins no lane moves but to it. When one leaves
// the lanes are what they would be had it never joined, and more may move than those that it had.
func Share(lanes int, members []Member, self string) []int {
	place := slices.IndexFunc(members, func(m Member) bool { return m.ID == self })
	if place < 0 || lanes <= 0 {
		return nil
	}
	shares := make([][]int, 1, len(members))
	for lane := range lanes {
		shares[0] = append(shares[0], lane)
	}
	for range members[1:] {
		var own []int
		for range lanes / (len(shares) + 1) {
			most := fullest(shares)
			last := len(shares[most]) - 1
			own = append(own, shares[most][last])
			shares[most] = shares[most][:last]
		}
		slices.Sort(own)
		shares = append(shares, own)
	}
	return shares[place]
}

func fullest(shares [][]int) int {
	most := 0
	for i := range shares {
		if len(shares[i]) > len(shares[most]) {
			most = i
		}
	}
	return most
}
