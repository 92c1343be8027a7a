package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

func lettersThatComeAgain(t testing.TB, d *data) {
	key := func(n int) commands.ID { return commands.ID{15: byte(n)} }
	letter := func(n int, again bool) store.DeadLetter {
		l := refusedMessage(n)
		l.Key, l.Again = key(n), again
		return l
	}
	unnamed := refusedMessage(3)
	unnamed.Again = true
	first := []store.DeadLetter{letter(1, false), letter(2, true), unnamed, letter(1, false)}
	bury(t, d.store, first)
	require.IsIncreasing(t, numbersOf(first), "the same twice, for the first time, is two")
	_, err := d.store.Decide(context.Background(), first[1].N, store.Decision{Resolution: store.Discarded, At: time.Unix(7, 0).UTC()})
	require.NoError(t, err)
	d.reopen()
	second := []store.DeadLetter{letter(2, true), unnamed, letter(4, true), letter(1, true), letter(4, true)}
	require.Zero(t, bury(t, d.store, second))
	require.Equal(t, first[1].N, second[0].N)
	require.Greater(t, second[1].N, first[3].N, "without a key it may be another")
	require.Greater(t, second[2].N, second[1].N)
	require.Equal(t, first[0].N, second[3].N)
	require.Equal(t, second[2].N, second[4].N)
	late := []store.DeadLetter{letter(2, true)}
	late[0].At = first[1].At.Add(store.AgainWithin)
	require.Zero(t, bury(t, d.store, late))
	require.Greater(t, late[0].N, second[2].N, "it is another one that says the same")
	kept := numbersOf(listed(t, d.store, store.DeadQuery{Limit: 10}))
	require.Equal(t, append(numbersOf(first), second[1].N, second[2].N, late[0].N), kept)

	for n := range MostRefused { // none of them is kept any more then, nor found
		bury(t, d.store, []store.DeadLetter{refusedMessage(n)})
	}
	third := []store.DeadLetter{letter(1, true)}
	require.Equal(t, 1, bury(t, d.store, third))
	require.Greater(t, third[0].N, second[2].N)
	require.Len(t, listed(t, d.store, store.DeadQuery{Limit: 100}), MostRefused)
}
