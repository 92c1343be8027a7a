// Package feed is how the log is followed by position: by the hub that pushes notifications, by
// projections, by whoever publishes what was committed.
//
// A [Feed] is told of commits by the workers of its process, each with the range of positions it covers,
// and hands them on in order of position. What came too early waits for what lies below it. What never
// came, because another process committed it, is read from the log. So whoever has been told of position
// N has been told of everything below N.
//
//	f, err := feed.New(feed.Config{Reader: store})
//	err = f.Start(ctx)
//	end := f.Subscribe(func(c *feed.Commit) { … })  // pushed: all after end, in order
//
//	for after := checkpoint; ; {                     // pulled: from anywhere in the log
//		outcomes, err := f.Read(ctx, after, 500)
//		…
//		err = f.Await(ctx, after)
//	}
//
// # Memory
//
// The newest outcomes are kept, and the pages of older ones that were read last, each up to a bound in
// bytes; so thousands of followers that are a little behind cost one reading. What comes early is bounded too:
// beyond that its outcomes are read from the log, and what it says of parked commands is told ahead of them.
package feed
