// Package postgres keeps outcomes, heads and parked commands in one schema of a Postgres database
// (tested with version 15), for any number of processes at once.
//
//	s, err := postgres.Open(ctx, postgres.Config{URL: "postgres://doorman@db/doorman", Migrate: true})
//
// # The tables
//
// migrations/00001_tables.sql is worth reading first. The log has one row per outcome, with the events of
// a landing inside its body (package record). Nothing else says where a stream stands: its head is its last
// row in the log. The table of streams has their names and folded states, so a landing that comes with no
// state writes one row and touches nothing that other landings touch.
//
// # A commit
//
// [Store.Commit] is one call of the function commit_batch (migrations/00002_commit_batch.sql), with the
// whole batch in its parameters. It takes one round trip, and the server has everything before it takes
// the first lock, so a client that freezes while it sends holds up nobody. Inside, in this order:
//
//  1. The fence: the rows of the batch's lanes are updated where their epochs are those of the claims. That
//     waits for whoever holds one, and the rows stay locked, so Acquire in turn waits for the commit.
//  2. What needs no position: streams, states, snapshots, what leaves the parking lot, dead letters.
//  3. The counter: one row, which orders committers of all processes. Whoever has it is the next to commit,
//     so positions are dense and in commit order, and the checks that follow, each a statement with a
//     snapshot of its own, see all that was committed before: an id is in the log or the lot, never in both.
//  4. What is parked, and the log.
//
// What is wrong is raised as an error inside the function, which undoes everything without another round
// trip; errors.go says how each is told.
//
// # When the connection breaks
//
// An error that the server reports before the function's result has come means that nothing was
// committed. A connection that breaks after the call was sent means [store.ErrFateUnknown]: Acquire then
// waits for, or ends, what is still under way, and Lookup tells what came of it.
//
// # Connections
//
// Commit, Acquire and [Members] have four connections of their own, a [Hold] has one; all reads share Config.MaxConns
// others, so that neither keeps the other waiting. Every statement is prepared once per connection and runs under a plan
// that probes indexes, whatever the statistics say. A pooler in between must keep sessions apart
// (PgBouncer: pool_mode = session). Keep fsync on; synchronous_commit = off is overruled.
package postgres
