// Package postgres keeps projections in the schema of a Postgres store, for any number of processes.
//
//	p, err := postgres.Open(ctx, postgres.Config{URL: "postgres://doorman@db/doorman", Migrate: true})
//	c := catalog.New(p.Catalog())
//	defer p.Close()
//
// # A batch
//
// A batch of a projection is one statement: it moves the checkpoint, which waits for whoever is moving it, and
// changes the rows if the checkpoint stood where the batch begins. So there is one round trip, and a client
// that freezes in the middle holds no lock.
//
// # Durability
//
// All that is in these tables follows from the log, and a checkpoint changes with its rows. So commits do not
// wait for the disk (synchronous_commit = off): what a crash of the server takes away is at the end, and is
// applied again.
package postgres
