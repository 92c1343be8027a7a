// Package group shares the lanes out among the workers of all processes. They are the members of one group:
// each says every so often that it lives, hears who else does, and works out by itself which lanes are its
// own. There is no leader.
//
//	r, err := group.New(group.Config{
//		Members: members,                // the list that all processes share
//		Lanes:   16,
//		Make: func(lanes []int, fenced func()) (group.Worker, error) {
//			return worker.New(worker.Config{Lanes: lanes, Fenced: fenced, …})
//		},
//	})
//	err = r.Start(ctx) // a member, and its lanes are worked
//	err = r.Stop()     // the others take them over at once
//
// # How lanes move
//
// Nobody is asked before a lane is taken. Whoever finds that a lane is its own acquires it in the store,
// which bumps its epoch, so that whoever held it before commits nothing more: the list says who should hold
// a lane, the epoch who does. Two that have heard different lists may both take the same lane. The one that
// came first is fenced, asks for the list again before it takes anything, and within a renewal or two all
// have heard the same list, as it is one. What a worker did not commit it did not acknowledge either, and
// the bus gives it to the next one.
//
//	joins    at its first renewal, and takes its share of the lanes; the others let go of them within a renewal
//	leaves   the others take its lanes over with their next renewal
//	killed   once it has not been seen for [Cut], with the next renewal: in 3 s, or after [Lapse] when its
//	         machine went with it, in less than 5 s
//	freezes  after [Lapse]; when it wakes up it is fenced, and joins again as the newest
//	cut off  from the list, it stops its worker after [Lapse], and goes on when it reaches the list again
package group
