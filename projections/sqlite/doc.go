// Package sqlite keeps projections in one SQLite file, for one process.
//
//	p, err := sqlite.Open(ctx, sqlite.Config{Dir: "/var/lib/doorman"})
//	c := catalog.New(p.Catalog())
//	defer p.Close()
//
// The file is projections.db in the data directory. It is not the one that the store is in, since a file of
// SQLite has one writer at a time and commands are not to wait for projections. Whoever opens it holds the
// store of the same directory, which keeps other processes away.
//
// All that is in the file follows from the log, and rows and checkpoint change in one transaction. So
// synchronous=NORMAL is enough: what a power failure takes away is at the end and is applied again. And so the
// file may be deleted while nobody uses it, together with those beside it whose names begin with its own: it
// is made anew from the log.
//
// # A damaged file
//
// Trouble with the file never keeps commands out. One that is damaged, whether that is met by [Open] or later
// ([ErrDamaged]), is put aside as projections.db.damaged-<time>, with its -wal and -shm; a warning says so and
// an empty one takes its place, which the runner fills from the beginning of the log. The newest damaged one
// is kept, for who wants to know what happened to it, and older ones are deleted.
//
// A file that a newer program wrote is not damaged. It is refused when the program starts: whether to go back
// to an older program is for people to decide. So is a directory in the file's place.
package sqlite
