package cli

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

// world is a server that knows what it is told.
type world struct {
	mu    sync.Mutex
	known map[commands.ID]commands.Status
	asked int
	most  int // ids at once
}

func (w *world) set(id commands.ID, status commands.Status) {
	w.mu.Lock()
	w.known[id] = status
	w.mu.Unlock()
}

func (w *world) status(_ context.Context, ids ...commands.ID) ([]commands.CommandView, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	w.most = max(w.most, len(ids))
	views := make([]commands.CommandView, len(ids))
	for i, id := range ids {
		views[i] = commands.CommandView{ID: id, Status: w.known[id]}
	}
	return views, nil
}

func following(w *world) *follower {
	f := newFollower(newTally("file"), time.Minute)
	f.status, f.told = w.status, func() {}
	return f
}

func TestFollowingEndsWhenAllHasSettled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{known: map[commands.ID]commands.Status{}}
		f := following(w)
		ids := make([]commands.ID, 1000)
		for i := range ids {
			ids[i] = commands.NewID()
			w.set(ids[i], commands.StatusParked)
			f.add(followed{id: ids[i], want: wantLanded})
		}
		done := make(chan error, 1)
		go func() { done <- f.run(t.Context()) }()
		time.Sleep(5 * time.Minute) // of the bubble: longer than nothing may happen, but more may be added
		w.mu.Lock()
		require.Less(t, w.asked, 5000, "it does not ask in a loop")
		w.mu.Unlock()
		f.noMore()
		for _, id := range ids {
			w.set(id, commands.StatusLanded)
		}
		require.NoError(t, <-done)
		require.Equal(t, 1000, f.tally.landed)
		require.Equal(t, askedAtOnce, w.most)
		require.Zero(t, f.tally.failed)
	})
}

func TestFollowingGivesUpWhenNothingHappens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{known: map[commands.ID]commands.Status{}}
		f := following(w)
		id := commands.NewID()
		w.set(id, commands.StatusParked)
		f.add(followed{id: id, number: 7, want: wantLanded})
		f.noMore()
		began := time.Now()
		require.NoError(t, f.run(t.Context()))
		require.InDelta(t, time.Minute.Seconds(), time.Since(began).Seconds(), 2)
		require.Equal(t, map[commands.Status]int{commands.StatusParked: 1}, f.tally.open)
		require.Len(t, f.tally.failures, 1)
		require.Contains(t, f.tally.failures[0], "file:7: ")
	})
}

func TestFollowingEndsWithItsContextAndWithTheServer(t *testing.T) {
	t.Parallel()
	interrupted := errors.New("interrupted")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		f := following(&world{known: map[commands.ID]commands.Status{}})
		done := make(chan error, 1)
		go func() { done <- f.run(ctx) }()
		synctest.Wait()
		cancel(interrupted)
		require.ErrorIs(t, <-done, interrupted)
	})
	f := following(nil)
	f.status = func(context.Context, ...commands.ID) ([]commands.CommandView, error) { return nil, interrupted }
	f.add(followed{id: commands.NewID()})
	f.noMore()
	require.ErrorIs(t, f.run(t.Context()), interrupted)
	f.abandon()
	require.Equal(t, map[commands.Status]int{commands.StatusUnknown: 1}, f.tally.open)
	require.Contains(t, f.tally.failures[0], "was accepted, and its outcome is not known")
}
