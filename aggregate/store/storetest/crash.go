package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

var crashTests = []test{
	{"what was committed before a crash is there after it", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		var landed []*commands.Outcome
		for n := range 120 {
			landed = append(landed, a.land(stream("1"), events(n%3)...))
			a.landLazily(stream(fmt.Sprint("s", n%40)), events(2)...)
			a.reject(stream("2"), commands.StaleTicket)
			w := a.park(stream("3"), time.Duration(n)*time.Second)
			a.commit()
			if n%2 == 0 {
				o := a.settled(w)
				o.Events = events(1)
				a.landing(o)
				a.commit()
			}
			if n%17 != 0 {
				continue
			}
			s := d.crashed()
			require.Equal(t, d.store.Identity(), s.Identity())
			require.Equal(t, wholeLog(t, d.store), wholeLog(t, s))
			require.Equal(t, changesOf(landed...), changelog(t, s, stream("1"), 0, 50))
			for name, r := range a.records {
				if r.Head.Action != commands.None {
					requireHead(t, s, name, r.Head)
				}
			}
			require.Equal(t, load(t, d.store, stream("3"))[0].Waiting, load(t, s, stream("3"))[0].Waiting)
		}
	}},
	{"what was kept to fold from is found after a crash", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		s := stream("1")
		for version := range uint64(300) {
			a.land(s, events(1)...)
			a.changes[s].Snapshot = version%50 == 49
			a.commit()
		}
		crashed := d.crashed()
		for _, version := range []uint64{50, 99, 275, 300} {
			kept, err := crashed.StateBefore(context.Background(), s, version)
			require.NoError(t, err)
			require.GreaterOrEqual(t, kept.Version, version/50*50)
			require.LessOrEqual(t, kept.Version, version)
			require.Equal(t, string(stateAt(kept.Version)), string(kept.State))
		}
		requireHead(t, crashed, s, a.record(s).Head)
		require.GreaterOrEqual(t, load(t, crashed, s)[0].StateVersion, uint64(300-64), "little is to be folded")
	}},
	{"after a crash commits go on, and claims made before are older", func(t testing.TB, d *data) {
		a := newAuthor(t, d.store)
		for range 30 {
			a.land(stream("1"), events(1)...)
			a.land(stream("2"), events(1)...)
			a.commit()
		}
		for round := range 4 {
			d.store = d.crashed()
			b := newAuthor(t, d.store)
			require.Greater(t, b.claims[0].Epoch, a.claims[0].Epoch)
			b.land(stream("1"), events(1)...)
			b.land(stream("2"), events(1)...)
			require.EqualValues(t, 61+2*round, b.commit().First)
			require.Len(t, changelog(t, d.store, stream("1"), 0, 7), 31+round)
			requireHead(t, d.store, stream("1"), b.record(stream("1")).Head)
			a = b
		}
	}},
}
