// Package storetest says in runnable form what package store promises in words. Every backend runs the
// same suite over real data:
//
//	func TestStore(t *testing.T) {
//	    storetest.Run(t, storetest.Backend{Fresh: func(t testing.TB) func() store.Store {
//	        dir := t.TempDir()
//	        return func() store.Store { return open(t, dir, storetest.Lanes) }
//	    }})
//	}
//
// and the same [Benchmark], so that their figures can be compared. Each test is named after the sentence
// of the contract that it checks.
package storetest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
)

// Lanes is how many lanes every store of the suite has.
const Lanes = 4

// Backend is what the suite needs to know of a backend.
type Backend struct {
	// Fresh makes an empty data set and returns how to open it: each call gives one more store object
	// on the same data, with [Lanes] lanes, which keeps [MostRefused] refused messages of [MostRefusedBytes] at most.
	// The suite closes what it opens.
	Fresh func(t testing.TB) (open func() store.Store)
	// Shared says that several store objects may be open on one data set at once.
	Shared bool
	// Crashed gives what is found after the process and the machine have stopped at this moment, without
	// the store being closed: a store opened on what is on disk now. It is nil where a server keeps the data.
	Crashed func(t testing.TB, s store.Store) store.Store
	// Relane changes the number of lanes of the data that a store object is open on, and gives one that goes
	// by the new number: the same one, or another one after closing it.
	Relane func(t testing.TB, s store.Store, lanes int) store.Store
}

// Run checks a backend against the contract of package store: against all of it, or the groups named.
func Run(t *testing.T, backend Backend, groups ...string) {
	suite := []group{
		{"Positions", positionTests},
		{"Ids", idTests},
		{"Lanes", laneTests},
		{"Relaying", relayTests},
		{"Streams", streamTests},
		{"Parking", parkingTests},
		{"Waiting", waitingTests},
		{"Reading", readingTests},
		{"Keeping", keepingTests},
		{"Letters", letterTests},
		{"Asks", askTests},
		{"Parked", parkedListTests},
		{"Histories", historyTests},
	}
	if backend.Shared {
		suite = append(suite, group{"Sharing", sharedTests})
	}
	if backend.Crashed != nil {
		suite = append(suite, group{"Crashing", append(crashTests, letterCrashTests...)})
	}
	if backend.Relane != nil {
		suite = append(suite, group{"Relaning", slices.Concat(relaneTests, relayRelaneTests, askRelaneTests)})
	}
	for _, g := range suite {
		if len(groups) > 0 && !slices.Contains(groups, g.name) {
			continue
		}
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range g.tests {
				t.Run(c.rule, func(t *testing.T) {
					t.Parallel()
					c.check(t, newData(t, backend))
				})
			}
		})
	}
}

type group struct {
	name  string
	tests []test
}

// test is one sentence of the contract.
type test struct {
	rule  string
	check func(t testing.TB, d *data)
}

// data is one data set with the store objects that a test has open on it.
type data struct {
	t      testing.TB
	open   func() store.Store
	crash  func(testing.TB, store.Store) store.Store
	change func(testing.TB, store.Store, int) store.Store
	store  store.Store // the one most tests work with
}

func newData(t testing.TB, backend Backend) *data {
	d := &data{t: t, open: backend.Fresh(t), crash: backend.Crashed, change: backend.Relane}
	d.store = d.another()
	return d
}

// another opens one more store object; the test's end closes it if it is open then.
func (d *data) another() store.Store {
	s := d.open()
	require.NotNil(d.t, s)
	d.t.Cleanup(func() { require.NoError(d.t, s.Close()) })
	return s
}

// crashed opens what a crash would leave now.
func (d *data) crashed() store.Store {
	s := d.crash(d.t, d.store)
	d.t.Cleanup(func() { require.NoError(d.t, s.Close()) })
	return s
}

// reopen closes the store and opens the data anew, as a restart does.
func (d *data) reopen() {
	require.NoError(d.t, d.store.Close())
	d.store = d.another()
}
