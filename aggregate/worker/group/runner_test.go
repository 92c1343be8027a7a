package group_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/worker/group"
)

// The bounds within which lanes are taken over: DESIGN section 7 for a frozen worker's.
const (
	ofKilled = 5 * time.Second
	ofFrozen = 15 * time.Second
	atOnce   = time.Second // a renewal
)

func onFloor(t *testing.T, test func(t *testing.T, f *floor)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		test(t, newFloor(t))
	})
}

func TestLanesAreRebalancedWhenOneJoins(t *testing.T) {
	onFloor(t, func(t *testing.T, f *floor) {
		for n := range 5 {
			f.join(fmt.Sprint("w", n))
			f.within(atOnce)
			f.remains(10 * time.Second)
		}
	})
}

func TestManyThatJoinAtOnceShareTheLanes(t *testing.T) {
	onFloor(t, func(t *testing.T, f *floor) {
		starting := make(chan error)
		var all []*person
		for n := range 8 {
			p := f.person(fmt.Sprint("w", n))
			f.people[p.name] = p
			all = append(all, p)
			go func() { starting <- p.runner.Start(context.Background()) }()
		}
		for range all {
			require.NoError(t, <-starting)
		}
		f.within(3 * atOnce)
		f.remains(time.Minute)
		for _, p := range all {
			f.gone(p)
			require.NoError(t, p.runner.Stop())
		}
	})
}

func TestTheLanesOfOneThatLeavesAreTakenOverAtOnce(t *testing.T) {
	onFloor(t, func(t *testing.T, f *floor) {
		f.join("a")
		b := f.join("b")
		f.join("c")
		f.within(atOnce)
		b.mu.Lock()
		b.stay = true // its worker takes its time, for which the others do not wait
		b.mu.Unlock()
		f.gone(b)
		stopped := make(chan error)
		go func() { stopped <- b.runner.Stop() }()
		f.within(atOnce)
		f.remains(10 * time.Second)
		require.Error(t, b.runner.Ready())
		require.Empty(t, b.runner.Lanes())
		require.ErrorIs(t, <-stopped, context.DeadlineExceeded)
	})
}

// However the moment falls between the renewals of the others.
func TestTheLanesOfAKilledOneAreTakenOverWithinFiveSeconds(t *testing.T) {
	for n := range 15 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			onFloor(t, func(t *testing.T, f *floor) {
				f.join("a")
				time.Sleep(time.Duration(n) * 50 * time.Millisecond)
				b := f.join("b")
				f.within(atOnce)
				time.Sleep(3 * time.Second)
				b.freeze() // and never thaws
				f.within(ofKilled)
				f.remains(10 * time.Second)
			})
		})
	}
}

func TestOneThatFrozeIsFencedAndJoinsAgain(t *testing.T) {
	onFloor(t, func(t *testing.T, f *floor) {
		f.join("a")
		b := f.join("b")
		f.join("c")
		f.within(atOnce)
		for _, long := range []time.Duration{time.Second, 3900 * time.Millisecond, 4100 * time.Millisecond, time.Minute} {
			b.freeze()
			time.Sleep(long)
			if long > group.Lapse {
				f.within(ofFrozen - long)
			}
			b.thaw()
			f.mu.Lock()
			f.people["b"] = b
			f.mu.Unlock()
			time.Sleep(atOnce) // it may be on the list at another place now
			f.within(2 * atOnce)
			f.remains(10 * time.Second)
		}
	})
}

func TestOneThatIsCutOffFromTheListStopsItsWorkerAndGoesOnAfter(t *testing.T) {
	onFloor(t, func(t *testing.T, f *floor) {
		a := f.join("a")
		b := f.join("b")
		f.within(atOnce)
		b.cut.Store(true)
		time.Sleep(group.Lapse - time.Second)
		require.NoError(t, b.runner.Ready(), "a short outage takes nothing from anybody")
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		require.ErrorIs(t, b.runner.Ready(), errAway)
		require.Empty(t, b.runner.Lanes())
		f.gone(b)
		f.within(atOnce)
		require.Len(t, a.runner.Lanes(), floorLanes)
		f.mu.Lock()
		f.people["b"] = b
		f.mu.Unlock()
		b.cut.Store(false)
		f.within(2 * atOnce)
		f.remains(10 * time.Second)
	})
}

func TestADatabaseThatIsAwayForAllComesBack(t *testing.T) {
	onFloor(t, func(t *testing.T, f *floor) {
		for n := range 3 {
			f.join(fmt.Sprint("w", n))
		}
		f.within(2 * atOnce)
		for _, long := range []time.Duration{2 * time.Second, time.Minute} {
			f.away.Store(true)
			time.Sleep(long)
			f.away.Store(false)
			f.within(3 * atOnce)
			f.remains(10 * time.Second)
		}
	})
}

// Each takes what it believes to be its own, once; then they ask.
func TestTwoThatBelieveToHoldTheSameLaneEndWithOne(t *testing.T) {
	onFloor(t, func(t *testing.T, f *floor) {
		a := f.join("a")
		b := f.person("b")
		alone := true
		b.views = func(members []group.Member) []group.Member {
			if alone {
				alone = false
				return members[1:] // it does not see the other
			}
			return members
		}
		require.NoError(t, b.runner.Start(t.Context()))
		t.Cleanup(func() { _ = b.runner.Stop() })
		require.Len(t, a.runner.Lanes(), floorLanes)
		require.Len(t, b.runner.Lanes(), floorLanes)
		f.people["b"] = b
		f.within(3 * atOnce)
		f.remains(time.Minute)
	})
}

// A list that stays wrong makes two take lanes from each other, but no faster than they renew.
func TestNobodyTakesLanesFasterThanTheListIsHeard(t *testing.T) {
	onFloor(t, func(t *testing.T, f *floor) {
		for _, name := range []string{"a", "b"} {
			p := f.person(name)
			p.views = func(members []group.Member) []group.Member {
				return slices.DeleteFunc(members, func(m group.Member) bool { return m.Name != name })
			}
			require.NoError(t, p.runner.Start(t.Context()))
			t.Cleanup(func() { _ = p.runner.Stop() })
		}
		time.Sleep(15 * time.Second)
		f.mu.Lock()
		defer f.mu.Unlock()
		require.LessOrEqual(t, f.taken, 2*(1+15_000/750)+2)
	})
}

func TestAWorkerThatDoesNotEndInTimeIsLeftBehind(t *testing.T) {
	onFloor(t, func(t *testing.T, f *floor) {
		a := f.join("a")
		a.mu.Lock()
		a.stay = true
		a.mu.Unlock()
		f.join("b")
		f.within(4 * time.Second)
	})
}

func TestMoreWorkersThanLanesAreReadyWithoutAny(t *testing.T) {
	onFloor(t, func(t *testing.T, f *floor) {
		for n := range floorLanes {
			f.join(fmt.Sprint("w", n))
		}
		last := f.person("last")
		require.NoError(t, last.runner.Start(t.Context()))
		t.Cleanup(func() { _ = last.runner.Stop() })
		f.within(3 * atOnce)
		require.NoError(t, last.runner.Ready())
		require.Empty(t, last.runner.Lanes())
	})
}

// DESIGN section 3: a worker is ready when it can take lanes.
func TestAWorkerThatCannotTakeItsLanesTriesAgain(t *testing.T) {
	onFloor(t, func(t *testing.T, f *floor) {
		p := f.person("a")
		p.broken = errors.New("the broker is away")
		started := make(chan error, 1)
		go func() { started <- p.runner.Start(context.Background()) }()
		time.Sleep(10 * time.Second)
		require.ErrorContains(t, p.runner.Ready(), "the broker is away")
		require.Empty(t, started)
		p.mu.Lock()
		p.broken = nil
		p.mu.Unlock()
		require.NoError(t, <-started)
		require.NoError(t, p.runner.Ready())
		require.NoError(t, p.runner.Stop())
	})
}

// A worker on its way to lanes that are somebody else's by now must not keep this process from its own.
func TestAWorkerOnItsWayToTheWrongLanesIsCalledBack(t *testing.T) {
	onFloor(t, func(t *testing.T, f *floor) {
		a := f.person("a")
		a.slow = true
		started := make(chan error, 1)
		go func() { started <- a.runner.Start(context.Background()) }()
		synctest.Wait()
		a.mu.Lock()
		a.slow = false
		a.mu.Unlock()
		time.Sleep(10 * time.Second)
		require.Empty(t, started, "it waits for all lanes")
		f.people["a"] = a
		f.join("b")
		require.NoError(t, <-started)
		f.within(2 * atOnce)
		require.NoError(t, a.runner.Stop())
		f.gone(a)
	})
}

func TestAStartThatTakesTooLongLeavesNothingBehind(t *testing.T) {
	onFloor(t, func(t *testing.T, f *floor) {
		f.away.Store(true)
		p := f.person("a")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := p.runner.Start(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errAway, "it says what it waited for")
		require.Error(t, p.runner.Start(t.Context()), "it is used once")
		require.NoError(t, p.runner.Stop(), "safe twice")
	})
}

func TestARunnerThatWasNeverStartedStops(t *testing.T) {
	onFloor(t, func(t *testing.T, f *floor) {
		p := f.person("a")
		require.Error(t, p.runner.Ready())
		require.NoError(t, p.runner.Stop())
		require.NoError(t, p.runner.Stop())
		require.Error(t, p.runner.Start(t.Context()))
	})
}

func TestEverythingThatIsMissingIsTold(t *testing.T) {
	t.Parallel()
	_, err := group.New(group.Config{Every: 2 * time.Second, Handover: -1})
	for _, what := range []string{"Members", "Make", "Lanes", "Every", "Handover"} {
		require.ErrorContains(t, err, what)
	}
}

// What a fenced worker had not acknowledged is of use to others: it is given back before the list is heard.
func TestAFencedWorkerIsStoppedAtOnceAndNoneBegunBeforeTheListIsHeard(t *testing.T) {
	onFloor(t, func(t *testing.T, f *floor) {
		a := f.join("a")
		a.cut.Store(true)
		f.mu.Lock()
		w := f.owner[1]
		f.owner[0] = &fake{person: a} // somebody else's
		f.mu.Unlock()
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		select {
		case <-w.ended:
		default:
			require.Fail(t, "it goes on")
		}
		require.Empty(t, a.runner.Lanes())
		require.Error(t, a.runner.Ready())
		time.Sleep(2 * time.Second)
		require.Equal(t, 1, f.taken)
		a.cut.Store(false)
		f.within(atOnce)
		f.remains(10 * time.Second)
	})
}
