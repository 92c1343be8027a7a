// Package livetail is how gateways hear at once what workers in other processes commit, and only what they need
// of it.
//
// A gateway keeps its [Interests]: the streams that are watched there, the sessions that are connected, and the
// commands that somebody waits for. It tells the workers of them, a change at a time, and all of them now and
// then. A worker's [Announcer] sends each gateway, after every commit, the range of positions that the commit
// covers with those outcomes in it which concern that gateway; the gateway's [Listener] hands them to its feed.
//
//	worker                                          gateway
//	commit -> Announcer.Observe                     Interests.WatchStream("order/42")
//	            for each gateway: what it wants  <- all workers: interests, version 7
//	            range 101..164, as of version 7  -> Listener.Receive -> feed.ObservePart
//
// # Why nothing is missed
//
// None of it is relied upon. Every message says which version of the gateway's interests it was made with. A
// commit that was made with an older one than the gateway has when it is to be handed on is read from the log
// instead, and so is one whose message was lost. So messages need no confirmation, and a worker that knows
// nothing of a gateway yet tells it nothing: the gateway's feed looks at the end of the log once a second.
//
// # What is bounded
//
// An announcer keeps a bounded number of commits that are not sent yet. When the bus is slower than they are,
// it tells their ranges alone, and gateways read the log. Interests are 64-bit hashes: a collision costs a few
// bytes sent in vain. Gateways and workers that are not heard of for 15 s are forgotten.
package livetail
