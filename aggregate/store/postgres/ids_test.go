package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// claim is a way of making an id known.
type claim struct {
	name     string
	standing aggregate.Standing
	add      func(w *writer, batch *store.Batch, id commands.ID)
}

var claims = []claim{
	{"landed", aggregate.Landed, func(_ *writer, batch *store.Batch, id commands.ID) {
		batch.Outcomes[0].ID, batch.Heads[0].Head.Action = id, id
	}},
	{"rejected", aggregate.Rejected, func(w *writer, batch *store.Batch, id commands.ID) {
		o := w.outcome(streamOn(w.lane, 0))
		o.ID, o.Reason, o.Root, o.RootReason = id, commands.Refused, id, commands.Refused
		batch.Outcomes = append(batch.Outcomes, o)
	}},
	{"parked", aggregate.Parked, func(w *writer, batch *store.Batch, id commands.ID) {
		batch.Park = append(batch.Park, &aggregate.Waiting{Seq: 1, ParkedAt: time.Now().UTC().Truncate(time.Microsecond),
			Deadline: time.Hour, Envelope: commands.Envelope{Command: commands.Command{ID: id, Stream: streamOn(w.lane, 0)}}})
	}},
}

// TestOneOfTwoCommittersGetsAnID has two committers on different lanes come with one new id at the same
// moment: both are past everything that can be checked before the counter.
func TestOneOfTwoCommittersGetsAnID(t *testing.T) {
	t.Parallel()
	for _, first := range claims {
		for _, second := range claims {
			t.Run(fmt.Sprintf("%s and %s", first.name, second.name), func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				s := b.open()
				one, two, id := newWriter(t, s, 1), newWriter(t, s, 2), commands.NewID()
				b.exec("begin")
				b.exec("select from counter for update")
				mine, others := one.landings(2), two.landings(2)
				first.add(one, mine, id)
				second.add(two, others, id)
				ahead := one.begin(mine)
				b.awaitWaiting(1)
				behind := two.begin(others)
				b.awaitWaiting(2)
				b.exec("commit")

				won, lost := <-ahead, <-behind
				winner, loser, kept := mine, others, first
				if won.err != nil {
					won, lost = lost, won
					winner, loser, kept = others, mine, second
				}
				require.NoError(t, won.err)
				require.ErrorIs(t, lost.err, store.ErrIDKnown)
				require.Equal(t, kept.standing, standing(t, s, id))
				require.Equal(t, aggregate.Landed, standing(t, s, winner.Outcomes[1].ID))
				require.Equal(t, aggregate.Unheard, standing(t, s, loser.Outcomes[1].ID))
				end, err := s.End(context.Background())
				require.NoError(t, err)
				require.EqualValues(t, len(winner.Outcomes), end)
				readThrough(t, s)
			})
		}
	}
}

// A parked command is settled on its lane while another lane brings its id again: the id is known at every
// moment, also between the lot and the log.
func TestAnIDIsKnownWhileItsCommandIsBeingSettled(t *testing.T) {
	t.Parallel()
	for _, again := range claims {
		t.Run(again.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			s := b.open()
			one, two, id := newWriter(t, s, 1), newWriter(t, s, 2), commands.NewID()
			parking := one.landings(1)
			claims[2].add(one, parking, id)
			_, err := one.commit(parking)
			require.NoError(t, err)

			b.exec("begin")
			b.exec("select from counter for update")
			settling, bringing := one.landings(1, id), two.landings(1)
			settling.Unpark = []commands.ID{id}
			again.add(two, bringing, id)
			ahead := one.begin(settling)
			b.awaitWaiting(1)
			behind := two.begin(bringing)
			b.awaitWaiting(2)
			require.Equal(t, aggregate.Parked, standing(t, s, id))
			b.exec("commit")
			require.NoError(t, (<-ahead).err)
			require.ErrorIs(t, (<-behind).err, store.ErrIDKnown)
			require.Equal(t, aggregate.Landed, standing(t, s, id))
		})
	}
}

// What the caller believes of streams and the lot is checked too: a batch that was judged against
// something else is not stored.
func TestABatchJudgedAgainstAnotherHistoryIsFenced(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open()
	w := newWriter(t, s, 0)
	stale := w.landings(1)
	_, err := w.commit(w.landings(1))
	require.NoError(t, err)
	_, err = w.commit(stale)
	require.ErrorIs(t, err, store.ErrFenced, "the stream was new when it was loaded")

	late := w.landings(1)
	_, err = w.commit(w.landings(1))
	require.NoError(t, err)
	_, err = w.commit(late)
	require.ErrorIs(t, err, store.ErrFenced, "the version is taken")

	gone := w.landings(1)
	gone.Unpark = []commands.ID{gone.Outcomes[0].ID}
	_, err = w.commit(gone)
	require.ErrorIs(t, err, store.ErrFenced, "it is not parked")
	gone = w.landings(1)
	gone.Extend = []*aggregate.Waiting{{Envelope: commands.Envelope{Command: commands.Command{ID: commands.NewID()}}}}
	_, err = w.commit(gone)
	require.ErrorIs(t, err, store.ErrFenced, "it is not parked")
	readThrough(t, s)
}
