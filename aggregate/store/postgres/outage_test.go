package postgres_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/commands"
)

// unless gives the error of a result, unless it is the one that is right.
func unless[T any](_ T, err error) func(error) error {
	return func(right error) error {
		if errors.Is(err, right) {
			return nil
		}
		return err
	}
}

// reads are all reads of a store, each of which says whether the store answers.
func reads(s *postgres.Store) map[string]func(context.Context) error {
	stream, ids := streamOn(0, 0), []commands.ID{commands.NewID()}
	return map[string]func(context.Context) error{
		"Ping":        s.Ping,
		"Backlog":     func(ctx context.Context) error { _, err := s.Backlog(ctx, []int{0}); return err },
		"Load":        func(ctx context.Context) error { _, err := s.Load(ctx, []commands.Stream{stream}); return err },
		"Head":        func(ctx context.Context) error { _, _, err := s.Head(ctx, stream); return err },
		"StateBefore": func(ctx context.Context) error { _, err := s.StateBefore(ctx, stream, 0); return err },
		"Changes":     func(ctx context.Context) error { _, err := s.Changes(ctx, stream, 0, 1); return err },
		"Status":      func(ctx context.Context) error { _, err := s.Status(ctx, ids); return err },
		"Lookup":      func(ctx context.Context) error { _, err := s.Lookup(ctx, ids); return err },
		"Log":         func(ctx context.Context) error { _, err := s.Log(ctx, 0, 1); return err },
		"End":         func(ctx context.Context) error { _, err := s.End(ctx); return err },
		"DeadLetter":  func(ctx context.Context) error { return unless(s.DeadLetter(ctx, 1))(store.ErrNoDeadLetter) },
		"DeadLetters": func(ctx context.Context) error { _, err := s.DeadLetters(ctx, store.DeadQuery{Limit: 1}); return err },
		"Untold":      func(ctx context.Context) error { _, err := s.Untold(ctx, 1); return err },
		"Told":        func(ctx context.Context) error { return s.Told(ctx, []uint64{1}) },
		"Asked":       func(ctx context.Context) error { _, err := s.Asked(ctx, []int{0}, 0, 1); return err },
		"Answered":    func(ctx context.Context) error { return s.Answered(ctx, []uint64{1}) },
		"ParkedList":  func(ctx context.Context) error { _, err := s.ParkedList(ctx, store.ParkedQuery{Limit: 1}); return err },
		"Acquire":     func(ctx context.Context) error { _, err := s.Acquire(ctx, []int{0}, "x"); return err },
	}
}

func TestAServerThatIsGoneIsUnavailableAtOnceAndUsedAgainWhenItIsBack(t *testing.T) {
	t.Parallel()
	b, p := newBench(t), newProxy(t)
	s := b.through(p)
	w := newWriter(t, s, 0)
	_, err := w.commit(w.landings(1))
	require.NoError(t, err)
	batches := []*store.Batch{w.landings(1), w.landings(1), w.landings(1)}

	p.leave()
	started := time.Now()
	// A connection that broke while nobody looked is noticed when it is used, with the batch on its way.
	_, err = w.commit(batches[0])
	require.True(t, errors.Is(err, store.ErrFateUnknown) || errors.Is(err, store.ErrUnavailable), "%v", err)
	for _, batch := range batches[1:] {
		_, err = w.commit(batch)
		require.ErrorIs(t, err, store.ErrUnavailable)
	}
	for name, read := range reads(s) {
		require.ErrorIs(t, read(context.Background()), store.ErrUnavailable, name)
	}
	require.Less(t, time.Since(started), 5*time.Second)

	p.comeBack()
	for name, read := range reads(s) {
		require.NoError(t, read(context.Background()), name)
	}
	w = newWriter(t, s, 0)
	covered, err := w.commit(w.landings(1))
	require.NoError(t, err)
	require.EqualValues(t, 2, covered.First)
	readThrough(t, s)
}

func TestAServerThatHangsIsUnavailableAfterTheTimeOut(t *testing.T) {
	t.Parallel()
	b, p := newBench(t), newProxy(t)
	b.config.Timeout = time.Second
	s := b.through(p)
	w := newWriter(t, s, 0)
	batch := w.landings(1)
	woken := make(chan struct{})
	defer close(woken)
	p.onRequest(func(message) fate {
		<-woken
		return cut
	})
	for name, read := range reads(s) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			started := time.Now()
			require.ErrorIs(t, read(context.Background()), store.ErrUnavailable)
			require.Less(t, time.Since(started), 10*time.Second)
		})
	}
	t.Run("Commit", func(t *testing.T) {
		t.Parallel()
		_, err := w.commit(batch)
		require.True(t, errors.Is(err, store.ErrFateUnknown) || errors.Is(err, store.ErrUnavailable), "%v", err)
	})
}

// A commit that waits too long for others is given up by the server, which then says so.
func TestACommitThatWaitsTooLongIsUnavailable(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.config.Timeout = 2 * time.Second // enough to open it on a busy machine
	s := b.open()
	w := newWriter(t, s, 0)
	batch := w.landings(1)
	b.exec("begin")
	b.exec("select from counter for update")
	_, err := w.commit(batch)
	require.ErrorIs(t, err, store.ErrUnavailable)
	b.exec("rollback")
	requireNothingOf(t, s, batch)
	w.landUnderSameIDs(batch)
}

func TestReadersDoNotWaitForConnectionsOfCommits(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.config.MaxConns = 1
	s := b.open()
	b.exec("begin")
	b.exec("select from counter for update")
	var committing []chan result
	for lane := range lanes {
		w := newWriter(t, s, lane)
		committing = append(committing, w.begin(w.landings(1)))
	}
	b.awaitWaiting(lanes)
	for name, read := range reads(s) {
		if name != "Acquire" {
			require.NoError(t, read(context.Background()), name)
		}
	}
	b.exec("rollback")
	for _, done := range committing {
		require.NoError(t, (<-done).err)
	}
}

// Nobody's command is to blame when an operator took something away.
func TestASchemaThatLostAFunctionIsUnavailable(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open()
	w := newWriter(t, s, 0)
	batch := w.landings(1)
	b.exec("alter function commit_batch rename to elsewhere")
	_, err := w.commit(batch)
	require.ErrorIs(t, err, store.ErrUnavailable)
	b.exec("alter function elsewhere rename to commit_batch")
	_, err = w.commit(batch)
	require.NoError(t, err)
}

// What the tables cannot hold is told as such: the same batch would fail again.
func TestABatchThatCannotBeStoredSaysSo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open()
	w := newWriter(t, s, 0)
	batch := w.landings(2)
	batch.Outcomes[1].Stream.Tenant, batch.Heads[1].Stream.Tenant = "a\x00b", "a\x00b"
	_, err := w.commit(batch)
	require.Error(t, err)
	for _, other := range []error{store.ErrUnavailable, store.ErrFateUnknown, store.ErrFenced, store.ErrIDKnown} {
		require.NotErrorIs(t, err, other)
	}
	requireNothingOf(t, s, &store.Batch{Outcomes: batch.Outcomes, Heads: batch.Heads[:1]})

	batch = w.landings(1)
	batch.Heads[0].Handle = nil
	_, err = w.commit(batch)
	require.ErrorContains(t, err, "without the handle")
	batch = w.landings(1)
	batch.Heads = nil
	_, err = w.commit(batch)
	require.ErrorContains(t, err, "whose head the batch does not change")
	batch = w.landings(1)
	batch.Heads = append(batch.Heads, batch.Heads[0])
	_, err = w.commit(batch)
	require.ErrorContains(t, err, "twice")
	_, err = w.commit(w.landings(1))
	require.NoError(t, err)
}

func TestNumbersBeyondAllThatAreStored(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open()
	w := newWriter(t, s, 0)
	_, err := w.commit(w.landings(1))
	require.NoError(t, err)
	for _, n := range []uint64{math.MaxInt64 - 1, math.MaxInt64, math.MaxUint64} {
		_, err = s.Changes(t.Context(), streamOn(0, 0), n, math.MaxInt)
		require.ErrorIs(t, err, store.ErrNotKept)
		_, err = s.StateBefore(t.Context(), streamOn(0, 0), n)
		require.ErrorIs(t, err, store.ErrNotKept)
		_, err = s.Log(t.Context(), n, math.MaxInt)
		require.ErrorIs(t, err, store.ErrNotKept)
		letters, err := s.DeadLetters(t.Context(), store.DeadQuery{After: n, Limit: math.MaxInt})
		require.NoError(t, err)
		require.Empty(t, letters)
	}
	none, err := s.Log(t.Context(), 0, -1)
	require.NoError(t, err)
	require.Empty(t, none)
}
