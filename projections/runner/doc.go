// Package runner keeps projections up to date: it reads the log by position, hands it to a projection in
// batches, and goes on where the projection stands after whatever went wrong.
//
//	r, err := runner.New(runner.Config{
//		Log: feed, Epoch: identity.Epoch, End: store.End, Projection: catalog.New(backend),
//	})
//	err = r.Start(ctx)
//	defer r.Stop()
//
// # What a projection can rely on
//
// Outcomes come in order of position, each exactly once as far as what it stores is concerned: it saves
// its rows and its checkpoint in one transaction and refuses a batch that does not follow that checkpoint.
// So there is nothing to repair after kill -9, and several processes may run the same projection: one of
// them applies a batch, the others find the checkpoint moved and stand by for a while.
//
// A projection lags behind the log, mostly by little more than [Config.Every], and by [Config.AtMost] or so
// while much lands. While its store or the log cannot be reached it lags more, and nothing else suffers from
// that. When the log is of another epoch than the projection, or ends before its checkpoint, which is what a
// restored log looks like, the projection is emptied and filled from the beginning. Until it stands where the
// log ended then, it is no whole, which a [Growing] projection is told. One that somebody else has put an empty
// one in place of, since it was damaged, is found within [Config.Look].
package runner
