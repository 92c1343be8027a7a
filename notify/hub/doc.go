// Package hub tells those who watch what was committed: each connection of its streams and of its own
// sessions' commands, in order and without a hole, however slowly it reads and however often it is cut.
//
//	conn, err := h.Open(ctx, &hub.Request{Streams: …, Sessions: …, After: position}, sink)
//	defer conn.Close()
//
// # How a commit reaches a reader
//
//	feed -> topics and sessions (who is owed what) -> queue -> pump: collect, render, put -> sink
//
// The hub subscribes to the feed and notes in memory what each connection is owed; that is all that
// happens while the worker waits. Pumps then serve one connection after another: what it is owed is
// collected at one moment, put in order of position and handed to its sink, followed by a mark, the
// position up to which all has been told. A connection with nothing owed costs no goroutine here.
//
// # Snapshot, then tail, without a window
//
// A connection is registered first and reads the store then. Since a commit is in the store before the
// feed tells of it, the snapshot has everything up to the moment of registering, and perhaps more; what
// is told twice that way is dropped by position. What a resuming connection missed is read from the log
// before, until it is close to the end.
//
// # Bounds
//
// A topic keeps the landings that somebody is still owed. Watchers of states are told of many landings at
// once, so that for them it keeps the newest hundred; for those that want each landing by itself it keeps
// a few thousand. Who falls behind further, or does not read for a while, is disconnected, and resumes.
package hub
