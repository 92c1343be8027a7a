package storetest

import (
	"context"
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// tb is a test, or one run of a property.
type tb interface {
	require.TestingT
	Helper()
	Name() string
}

func end(t tb, s store.Reader) uint64 {
	n, err := s.End(context.Background())
	require.NoError(t, err)
	return n
}

// wholeLog reads the log in pages and checks that it is dense.
func wholeLog(t tb, s store.Reader) []*commands.Outcome {
	var all []*commands.Outcome
	for {
		page, err := s.Log(context.Background(), uint64(len(all)), 100)
		require.NoError(t, err)
		for i, o := range page {
			require.EqualValues(t, len(all)+i+1, o.Position, "the log is dense")
		}
		all = append(all, page...)
		if len(page) < 100 {
			return all
		}
	}
}

func facts(t tb, s store.Reader, ids ...commands.ID) []aggregate.Fact {
	found, err := s.Lookup(context.Background(), ids)
	require.NoError(t, err)
	require.Len(t, found, len(ids))
	return found
}

func statuses(t tb, s store.Reader, ids ...commands.ID) []store.CommandStatus {
	found, err := s.Status(context.Background(), ids)
	require.NoError(t, err)
	require.Len(t, found, len(ids))
	for i := range found {
		require.Equal(t, ids[i], found[i].ID, "in the order asked")
	}
	return found
}

// factOf is what an outcome leaves to be known of its id.
func factOf(o *commands.Outcome) aggregate.Fact {
	f := aggregate.Fact{Standing: aggregate.Landed, Stream: o.Stream, Hash: o.Hash, Version: o.Version}
	if !o.Landed() {
		f.Standing, f.Version = aggregate.Rejected, 0
		f.Ticket, f.Root, f.RootReason = o.Ticket, o.Root, o.RootReason
	}
	return f
}

func requireFact(t tb, want *commands.Outcome, got aggregate.Fact) {
	t.Helper()
	if !want.Landed() {
		got.Version = 0 // says nothing of a rejection
	}
	require.Equal(t, factOf(want), got)
}

func load(t tb, s store.Lanes, streams ...commands.Stream) []*store.Record {
	records, err := s.Load(context.Background(), streams)
	require.NoError(t, err)
	require.Len(t, records, len(streams))
	for i, r := range records {
		require.Equal(t, streams[i], r.Stream, "in the order asked")
	}
	return records
}

// requireRecord checks that a record is at a head, and that its state and tail together reach it.
func requireRecord(t tb, want aggregate.Head, r *store.Record) {
	t.Helper()
	require.Equal(t, want, r.Head)
	require.LessOrEqual(t, r.StateVersion, want.Version)
	require.Len(t, r.Tail, int(want.Version-r.StateVersion), "the tail reaches from the state to the head")
	if r.StateVersion == 0 {
		require.Nil(t, r.State)
	} else {
		require.Equal(t, string(stateAt(r.StateVersion)), string(r.State))
	}
}

func requireHead(t tb, s store.Store, stream commands.Stream, want aggregate.Head) {
	t.Helper()
	r, ok, err := s.Head(context.Background(), stream)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, stream, r.Stream)
	requireRecord(t, want, r)
	require.Empty(t, r.Waiting, "Head is without parked commands")
	requireRecord(t, want, load(t, s, stream)[0])
}

// changelog reads a stream's changes in pages of the given size, checking that versions have no holes.
func changelog(t tb, s store.Reader, stream commands.Stream, after uint64, page int) []store.Change {
	var all []store.Change
	for {
		changes, err := s.Changes(context.Background(), stream, after, page)
		require.NoError(t, err)
		require.LessOrEqual(t, len(changes), page)
		for i := range changes {
			require.Equal(t, after+uint64(i)+1, changes[i].Version, "versions have no holes")
		}
		all = append(all, changes...)
		after += uint64(len(changes))
		if len(changes) < page {
			return all
		}
	}
}

// changesOf are the changelog entries that landings come to.
func changesOf(outcomes ...*commands.Outcome) []store.Change {
	var all []store.Change
	for _, o := range outcomes {
		for i, e := range o.Events {
			all = append(all, store.Change{Version: o.FirstVersion() + uint64(i), Position: o.Position, Event: e,
				Command: o.ID, Type: o.Type, Actor: o.Actor, ByAny: o.Policy == commands.PolicyAny, At: o.At})
		}
	}
	return all
}

// visible tells whether an outcome that one reader has seen is there for the other reads too.
func visible(s store.Store, o *commands.Outcome) error {
	ctx := context.Background()
	if n, err := s.End(ctx); err != nil {
		return err
	} else if n < o.Position {
		return fmt.Errorf("position %d was read, but the log ends at %d", o.Position, n)
	}
	known, err := s.Lookup(ctx, []commands.ID{o.ID})
	if err != nil {
		return err
	}
	if known[0].Standing == aggregate.Unheard {
		return fmt.Errorf("position %d was read, but its id is unheard of", o.Position)
	}
	r, ok, err := s.Head(ctx, o.Stream)
	if err != nil {
		return err
	}
	if !ok || r.Head.Position < o.Position {
		return fmt.Errorf("position %d was read, but the head of %s stands at %d", o.Position, o.Stream, r.Head.Position)
	}
	changes, err := s.Changes(ctx, o.Stream, o.Version-1, 1)
	if err != nil {
		return err
	}
	if len(changes) != 1 || changes[0].Position != o.Position {
		return fmt.Errorf("position %d was read, but the changelog of %s lacks version %d", o.Position, o.Stream, o.Version)
	}
	return nil
}
