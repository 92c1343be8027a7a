// Package query is the reading half of the API (DESIGN section 3): where a command stands, what a stream
// looks like now or as of a version, its changelog, and the limits.
//
//	q, err := query.New(query.Config{Reader: store, Epoch: epoch, Type: registry.Type, …})
//	q.Mount(mux)
//
// All but one answer is read from the store at the time of asking, so that an outcome once told is visible to
// every later GET, on any process. The exception is the catalog of streams, GET /v1/streams: it is read from a
// read model that follows the log, and its ETag tells up to which position it does. [Query.Tell] makes the view
// of an outcome for whoever tells one: a rejection with the stream as of one moment and what its sender missed.
//
// # Reading of the contract
//
//   - Query parameters are taken literally: one that is not known, given twice or not of its form is 400
//     malformed, naming it. A misspelt "limit" would otherwise go unnoticed.
//   - A stream of a served type always has a changelog, empty at first. A version above the head is 404
//     not_found with the ticket of the head: it may come from another history.
//   - An answer as of a version carries the ticket to send next, which is the head's, and so its ETag.
//   - A long poll needs something to compare with: "Prefer: wait" is taken together with If-None-Match
//     and without version. With If-None-Match: "genesis" it waits for a stream to begin.
//   - A page of the changelog never changes once it is full, within one history, and its address does not
//     name the history. So caches keep it and ask about it by its ETag, which is the epoch and the versions
//     it goes after and up to; the answer to that reads the stream's head alone.
//   - The code of a type that does not end within 2 s: 500 failed. With several runs of one type left behind
//     like that, reads that need its code are 503 unavailable, at once, until some have ended.
//   - Accept is honoured: 406 where neither application/json nor a range with it is taken.
package query
