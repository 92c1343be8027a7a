// Package sqlite keeps a store in one SQLite file, for one process.
//
//	s, err := sqlite.Open(ctx, sqlite.Config{Dir: "/var/lib/doorman", Lanes: 16, Migrate: true})
//	claims, err := s.Acquire(ctx, []int{0, 1, 2}, "host-1")
//	records, err := s.Load(ctx, streams)
//	covered, err := s.Commit(ctx, batch)
//
// # How a commit works
//
// One connection writes. A batch appends its outcomes to the table log, one row each with the events inside,
// and flushes once. The rows of the streams are written later and together (see settling): after a crash the
// end of the log, 25,000 outcomes at most, is read again. Between that, the view holds the heads that are
// newer than their rows; it belongs to this process alone, which is why a lock file keeps a second one away.
//
// Nor is there an index entry of a landing by its stream. A stream's row carries a tail, which says where its
// newest landings are in the log; when 64 have come together they move to stream_pages.
//
// # How a read works
//
// Reads use connections of their own and never wait for a commit. What a commit made is published in one step
// after SQLite has it on disk, and no read tells of it before, so what one reader has seen every other one sees.
//
// SQLite is driven by package engine, without database/sql, which takes half of the time of a commit
// otherwise; only the migrations, run by goose, go that way.
package sqlite
