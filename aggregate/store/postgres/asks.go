package postgres

import (
	"context"

	"github.com/ticketed/doorman/aggregate/store"
)

var readAsks = &statement{"read_asks", `
select a.n, a.name, a.id, a.reply_to, a.correlation, a.conflict
  from unnest($1::integer[]) as wanted (lane)
 cross join lateral (
       select * from asks where asks.lane = wanted.lane and asks.n > $2 order by asks.n limit $3::bigint
       ) a
 order by a.n
 limit $3::bigint`}

// Asked reads who is to be told; see store.Replies.
func (s *Store) Asked(ctx context.Context, lanes []int, after uint64, limit int) ([]store.Ask, error) {
	var asks []store.Ask
	err := s.reads.query(ctx, readAsks, func(r row) error {
		asks = append(asks, store.Ask{N: r.uint64(0), Stream: r.stream(1), ID: r.id(2), ReplyTo: r.text(3),
			CorrelationID: r.text(4), Conflict: r.bool(5)})
		return nil
	}, lanesParam(lanes), numberParam(after), limitParam(limit))
	if err != nil {
		return nil, failure("read who asked", err)
	}
	return asks, nil
}

var forgetAsks = &statement{"forget_asks", `delete from asks where n = any ($1)`}

// Answered forgets asks; see store.Replies. It uses the connections for reading: commits must not wait behind it.
func (s *Store) Answered(ctx context.Context, ns []uint64) error {
	if len(ns) == 0 {
		return nil
	}
	if err := s.reads.query(ctx, forgetAsks, func(row) error { return nil }, numbersParam(ns)); err != nil {
		return failure("forget who was answered", err)
	}
	return nil
}
