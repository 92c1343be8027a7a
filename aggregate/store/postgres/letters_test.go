package postgres_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// earlierBury is how a program from before migrations/00011_bury.sql buries one letter.
const earlierBury = `
select gone from bury_letters(array[now()], array['amqp'], array['00000000-0000-0000-0000-000000000000'::uuid], array[''],
                              array['malformed'], array['no'::bytea], array['{'::bytea], 3, 1000000)`

func oneLetter() []store.DeadLetter {
	return []store.DeadLetter{{Origin: store.OriginAMQP, Reason: commands.Malformed, Message: &store.Message{Body: []byte("{")}}}
}

func buryOne(t *testing.T, s store.Store) (n uint64, gone int) {
	t.Helper()
	letters := oneLetter()
	gone, err := s.Bury(context.Background(), letters)
	require.NoError(t, err)
	return letters[0].N, gone
}

// buryBehind begins to bury a letter, and gives what tells in the end how many went for it.
func buryBehind(t *testing.T, s store.Store) (gone func() int) {
	type result struct {
		gone int
		err  error
	}
	done := make(chan result, 1)
	go func() {
		gone, err := s.Bury(context.Background(), oneLetter())
		done <- result{gone, err}
	}()
	return func() int {
		t.Helper()
		r := <-done
		require.NoError(t, r.err)
		return r.gone
	}
}

// While a deployment is brought up to date, processes of both programs bury letters.
func TestAnEarlierProgramBuriesLettersBesideThisOne(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.config = b.config.KeepingRefused(3, 1_000_000)
	s := b.open()
	first, _ := buryOne(t, s)
	for range 2 {
		require.Zero(t, b.count(earlierBury))
	}
	last, gone := buryOne(t, s)
	require.Equal(t, 1, gone)
	require.Equal(t, 1, b.count(earlierBury))
	require.Equal(t, 3, b.count("select count(*) from dead_letters"))
	require.Equal(t, int(first)+2, b.count("select min(n) from dead_letters"))
	require.Equal(t, 3, b.count("select letters from refused"))
	_, err := s.DeadLetter(context.Background(), last)
	require.NoError(t, err)
}

// Letters are let go from the oldest one on that is kept, whatever was let go before in a transaction that was rolled back.
func TestWhereTheOldestLetterIsStaysKnown(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.config = b.config.KeepingRefused(3, 1_000_000)
	s := b.open()
	for range 3 {
		buryOne(t, s)
	}
	require.Zero(t, b.count("select oldest from refused"), "nothing was let go")
	b.exec("begin")
	b.exec(earlierBury)
	gone := buryBehind(t, s)
	b.awaitWaiting(1)
	b.exec("rollback")
	require.Equal(t, 1, gone())
	require.Equal(t, 3, b.count("select count(*) from dead_letters"))
	oldest := b.count("select min(n) from dead_letters")
	require.Equal(t, 2, oldest)
	require.Equal(t, oldest, b.count("select oldest from refused"), "so that what is gone is not walked over again")

	b.exec("begin")
	b.exec(earlierBury)
	gone = buryBehind(t, s)
	b.awaitWaiting(1)
	b.exec("commit")
	require.Equal(t, 1, gone())
	require.Equal(t, 3, b.count("select count(*) from dead_letters"))
	require.Equal(t, 4, b.count("select oldest from refused"))
}
