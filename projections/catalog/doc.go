// Package catalog is the read model behind GET /v1/streams (DESIGN section 3): every stream on which
// something has happened, with its head, by last change.
//
//	c := catalog.New(backend)          // a runner.Projection, which a runner keeps up to date
//	page, err := c.Page(ctx, catalog.Ask{Type: "order", Limit: 100})
//	next, err := c.Page(ctx, catalog.Ask{Type: "order", Limit: 100, Before: page.Rows[99].Position})
//
// # What is in it
//
// One row for each stream of version 1 and above: a stream on which actions landed without any event, all of
// them, has nothing to show yet and is not listed. The position of a row is that of the stream's last action,
// which no other stream shares, so it is both what rows are ordered by and where the next page goes on.
//
// # What it costs
//
// The order is that of the last change, so every change of a stream moves its row in the index. A [Fold]
// therefore takes a whole batch of outcomes to one row for each stream of it.
//
// Two backends keep it, projections/sqlite and projections/postgres; catalogtest says whether they do.
package catalog
