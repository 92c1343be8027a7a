package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ticketed/doorman/aggregate/store"
)

// commitBatch calls the function of migrations/00002_commit_batch.sql, commitAsking that of
// migrations/00010_requests.sql, which keeps asks too.
var (
	commitBatch  = &statement{"commit_batch", "select commit_batch(" + placeholders(parameters) + ")"}
	commitAsking = &statement{"commit_asking", "select commit_asking(" + placeholders(allParameters) + ")"}
)

func placeholders(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d", i+1)
	}
	return b.String()
}

// Commit is one call of commit_batch: one round trip, in which the server has the whole batch before it
// takes the first lock.
func (s *Store) Commit(ctx context.Context, batch *store.Batch) (store.Range, error) {
	if len(batch.Claims) == 0 {
		return store.Range{}, errors.New("postgres: a batch without claims cannot be committed")
	}
	b := s.bodies.Get().(*body)
	defer s.bodies.put(b)
	if err := b.encode(batch, s.Identity().Lanes); err != nil {
		return store.Range{}, fmt.Errorf("postgres: %w", err)
	}
	call, count := commitBatch, parameters
	if len(batch.Asks) > 0 {
		call, count = commitAsking, allParameters
	}
	var last uint64
	executed := false
	err := s.commits.query(ctx, call, func(r row) error {
		last, executed = r.uint64(0), true
		return nil
	}, b.params(count)...)
	if err != nil {
		return store.Range{}, commitFailure(err, executed)
	}
	first := last - uint64(len(batch.Outcomes)) + 1
	b.settle(batch, first)
	return store.Range{First: first, Last: last}, nil
}
