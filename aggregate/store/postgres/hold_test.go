package postgres_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
)

// holds gives holds on a store, which the test's end releases.
func holds(t *testing.T, s *postgres.Store) func(name, bus string) *postgres.Hold {
	t.Helper()
	return func(name, bus string) *postgres.Hold {
		h, err := s.NewHold(name, bus)
		require.NoError(t, err)
		t.Cleanup(func() { h.Release(context.Background()) })
		return h
	}
}

// keeps takes a hold as soon as nobody has it.
func keeps(t *testing.T, h *postgres.Hold) {
	t.Helper()
	require.Eventually(t, func() bool { return h.Keep(t.Context()) == nil }, 20*time.Second, 10*time.Millisecond)
}

func heldBy(t *testing.T, h *postgres.Hold, by string, alone bool) {
	t.Helper()
	var held *postgres.HeldError
	require.ErrorAs(t, h.Keep(t.Context()), &held)
	require.Equal(t, postgres.HeldError{By: by, Alone: alone}, *held)
}

func TestAStoreIsHeldByOneProcessAloneOrBySeveralTogether(t *testing.T) {
	t.Parallel()
	hold := holds(t, newBench(t).open())
	alone, other := hold("host pid 1", ""), hold("host pid 2", "")
	one, two := hold("host pid 3", "mine"), hold(strings.Repeat("x", 100), "mine")
	elsewhere := holds(t, newBench(t).open())("host pid 4", "")

	require.NoError(t, alone.Keep(t.Context()))
	require.NoError(t, alone.Keep(t.Context()), "it has it")
	heldBy(t, other, "host pid 1", true)
	heldBy(t, one, "host pid 1", true)
	require.NoError(t, elsewhere.Keep(t.Context()), "another schema is another store")

	alone.Release(t.Context())
	require.NoError(t, one.Keep(t.Context()))
	require.NoError(t, two.Keep(t.Context()))
	heldBy(t, alone, "host pid 3, "+strings.Repeat("x", 63-len("doorman hold 0123456789abcdef ")), false)
	one.Release(t.Context())
	two.Release(t.Context())
	require.NoError(t, other.Keep(t.Context()))
}

func TestThoseThatHoldAStoreTogetherHaveOneBus(t *testing.T) {
	t.Parallel()
	hold := holds(t, newBench(t).open())
	one, two, other := hold("host pid 1", "/ shop"), hold("host pid 2", "/ shop"), hold("host pid 3", "/ other")
	require.NoError(t, one.Keep(t.Context()))
	heldBy(t, other, "host pid 1", false)
	require.NoError(t, two.Keep(t.Context()), "nobody is kept out by one that was turned away")
	heldBy(t, other, "host pid 1, host pid 2", false)
	one.Release(t.Context())
	heldBy(t, other, "host pid 2", false)
	require.Error(t, other.Look(t.Context()))
	two.Release(t.Context())
	require.NoError(t, other.Look(t.Context()))
	require.NoError(t, one.Keep(t.Context()), "who looks takes nothing")
	one.Release(t.Context())
	require.NoError(t, other.Keep(t.Context()))
	heldBy(t, one, "host pid 3", false)
}

// However they come, in the end there is one bus.
func TestOfTwoBusesThatComeAtOnceOneHoldsTheStore(t *testing.T) {
	t.Parallel()
	hold := holds(t, newBench(t).open())
	all := []*postgres.Hold{hold("host pid 1", "/ shop"), hold("host pid 2", "/ shop"), hold("host pid 3", "/ other"), hold("host pid 4", "/ other")}
	for range 20 {
		kept := make([]bool, len(all))
		var running sync.WaitGroup
		for i, h := range all {
			running.Go(func() { kept[i] = h.Keep(t.Context()) == nil })
		}
		running.Wait()
		require.False(t, (kept[0] || kept[1]) && (kept[2] || kept[3]), "%v", kept)
		for i := 0; !slices.Contains(kept, true); i = (i + 1) % len(all) { // each was in another's way
			kept[i] = all[i].Keep(t.Context()) == nil
		}
		for _, h := range all {
			h.Release(t.Context())
		}
	}
}

// Who holds the store need not notice that its session was lost: it has another one at once, unless somebody else was
// faster.
func TestAHoldOutlivesItsSession(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open()
	hold := holds(t, s)
	first, second := hold("outliving", ""), hold("faster", "")
	require.NoError(t, first.Keep(t.Context()))
	end := func() {
		b.exec(`select pg_terminate_backend(l.pid, 10000) from pg_locks l join pg_stat_activity a using (pid)
 where l.locktype = 'advisory' and a.application_name like '%outliving'`)
	}
	end()
	keeps(t, first)
	heldBy(t, second, "outliving", true)

	end()
	keeps(t, second)
	heldBy(t, first, "faster", true)
}

// A connection can break without the server noticing for a while. Its own session is not taken for another process.
func TestAHoldIsNotKeptFromAProcessByASessionOfItsOwn(t *testing.T) {
	t.Parallel()
	hold := holds(t, newBench(t).open())
	first, second := hold("host pid 1", ""), hold("host pid 1", "")
	require.NoError(t, first.Keep(t.Context()))
	lost := first.LoseSession()
	t.Cleanup(func() { _ = lost.Close(context.Background()) })
	var idle string
	require.NoError(t, lost.QueryRow(t.Context(), "show tcp_keepalives_idle").Scan(&idle))
	require.Contains(t, []string{"5", "0"}, idle, "the server looks after its client soon; it need not over a socket of its own machine")
	heldBy(t, second, "host pid 1", true) // of another process that is called the same, as in containers
	if err := first.Keep(t.Context()); err != nil {
		require.ErrorIs(t, err, store.ErrUnavailable, "nobody knows for a moment")
	}
	keeps(t, first)
	require.Error(t, lost.Ping(t.Context()), "it was ended")
}

func TestWhetherAStoreIsHeldIsNotKnownWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	b, p := newBench(t), newProxy(t)
	b.config.Timeout = time.Second
	h := holds(t, b.through(p))("host pid 1", "")
	require.NoError(t, h.Keep(t.Context()))
	p.leave()
	require.ErrorIs(t, h.Keep(t.Context()), store.ErrUnavailable)
	require.ErrorIs(t, h.Keep(t.Context()), store.ErrUnavailable)
	p.comeBack()
	keeps(t, h)
	p.onReply(func(message) fate { return swallow }) // it hangs
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, h.Keep(ctx), store.ErrUnavailable)
	p.onReply(nil)
	keeps(t, h)
}
