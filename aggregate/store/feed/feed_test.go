package feed_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/feed"
	"github.com/ticketed/doorman/commands"
)

// journal is a log in memory.
type journal struct {
	mu    sync.Mutex
	log   []*commands.Outcome
	reads int
	fail  error
	slow  chan struct{} // when set, what a reading found is told once it is closed
}

func (j *journal) End(context.Context) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return uint64(len(j.log)), j.fail
}

func (j *journal) Log(_ context.Context, after uint64, limit int) ([]*commands.Outcome, error) {
	outcomes, slow, err := j.found(after, limit)
	if slow != nil {
		<-slow
	}
	return outcomes, err
}

func (j *journal) found(after uint64, limit int) ([]*commands.Outcome, chan struct{}, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	slow := j.slow
	j.slow = nil
	j.reads++
	if after > uint64(len(j.log)) {
		return nil, slow, store.ErrNotKept
	}
	rest := j.log[after:]
	return slices.Clone(rest[:min(len(rest), limit)]), slow, j.fail
}

func (j *journal) failWith(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fail = err
}

// commit appends n outcomes, and returns what a worker would tell of them.
func (j *journal) commit(n int) (store.Range, *aggregate.Result) {
	j.mu.Lock()
	defer j.mu.Unlock()
	covered := store.Range{First: uint64(len(j.log)) + 1}
	result := &aggregate.Result{}
	for range n {
		o := &commands.Outcome{ID: commands.NewID(), Position: uint64(len(j.log)) + 1}
		j.log = append(j.log, o)
		result.Outcomes = append(result.Outcomes, o)
		result.States = append(result.States, nil)
	}
	covered.Last = uint64(len(j.log))
	return covered, result
}

func start(t require.TestingT, j *journal) *feed.Feed {
	f, err := feed.New(feed.Config{Reader: j})
	require.NoError(t, err)
	require.NoError(t, f.Start(context.Background()))
	return f
}

// heard gathers what a feed hands on, and that it is in order and whole.
type heard struct {
	t       require.TestingT
	mu      sync.Mutex
	end     uint64
	commits []*feed.Commit
}

func follow(t require.TestingT, f *feed.Feed) *heard {
	h := &heard{t: t, end: f.End()}
	require.Equal(t, h.end, f.Subscribe(h.hear))
	return h
}

func (h *heard) hear(c *feed.Commit) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range c.Outcomes {
		h.end++
		require.Equal(h.t, h.end, o.Position)
	}
	require.True(h.t, c.States == nil || len(c.States) == len(c.Outcomes))
	h.commits = append(h.commits, c)
}

// DESIGN section 5, promise 6: a reader that sees N has seen all below N, in whatever order lanes tell of
// their commits, and whether they do at all.
func TestCommitsAreHandedOnInOrderOfPosition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		j := &journal{}
		j.commit(rapid.IntRange(0, 5).Draw(rt, "before"))
		synctest.Test(t, func(t *testing.T) {
			f := start(rt, j)
			h := follow(rt, f)
			var late []func()
			for range rapid.IntRange(1, 30).Draw(rt, "commits") {
				covered, result := j.commit(rapid.IntRange(0, 4).Draw(rt, "outcomes"))
				tell := func() { f.Observe(covered, result) }
				switch rapid.IntRange(0, 3).Draw(rt, "told") {
				case 0: // by another process
				case 1:
					late = append(late, tell)
				default:
					tell()
				}
				if len(late) > 0 && rapid.Bool().Draw(rt, "now") {
					at := rapid.IntRange(0, len(late)-1).Draw(rt, "which")
					late[at]()
					late = slices.Delete(late, at, at+1)
				}
				time.Sleep(time.Duration(rapid.IntRange(0, 30).Draw(rt, "ms")) * time.Millisecond)
			}
			for _, tell := range late {
				tell()
			}
			time.Sleep(10 * time.Second)
			require.EqualValues(rt, len(j.log), f.End())
			require.NoError(rt, f.Stop())
			require.EqualValues(rt, len(j.log), h.end)
			require.NoError(rt, f.Stop())
		})
	})
}

// A commit of this process is in the log a moment before it is told: the look for other processes' commits
// does not hand it on without its states.
func TestWhatIsBeingToldIsNotReadFromTheLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		f := start(t, j)
		h := follow(t, f)
		time.Sleep(time.Second - time.Millisecond)
		covered, result := j.commit(3)
		time.Sleep(10 * time.Millisecond) // the look happened in between
		f.Observe(covered, result)
		time.Sleep(time.Minute)
		require.NoError(t, f.Stop())
		require.Len(t, h.commits, 1)
		require.NotNil(t, h.commits[0].States)
		require.Zero(t, j.reads)
	})
}

// Config.Patience: what never comes is read from the log that much later, however much else comes early
// meanwhile.
func TestAGapIsFilledWhileMuchComesEarly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		f := start(t, j)
		h := follow(t, f)
		j.commit(1) // by another process
		for range 10 {
			f.Observe(j.commit(1))
			time.Sleep(10 * time.Millisecond)
		}
		require.EqualValues(t, 11, f.End())
		require.NoError(t, f.Stop())
		require.EqualValues(t, 11, h.end)
		require.Equal(t, 1, j.reads)
	})
}

// A gap that opens while another is waited for is given its time too: what is told in the end is not read
// from the log, which knows less of it.
func TestEachGapIsGivenItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		f := start(t, j)
		h := follow(t, f)
		for range 50 {
			covered, result := j.commit(1)
			f.Observe(j.commit(1))
			time.Sleep(9 * time.Millisecond)
			f.Observe(covered, result)
		}
		require.NoError(t, f.Stop())
		require.EqualValues(t, 100, h.end)
		require.Zero(t, j.reads)
	})
}

// Promise 12: what waits for what lies below is bounded in number and in bytes. Promise 8: what is beyond is
// told all the same, its outcomes from the log.
func TestWhatComesEarlyIsBounded(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]struct{ keep, commits, size, states int }{
		"in number": {1 << 24, 1500, 10, 1024},
		"in bytes":  {100_000, 100, 10_000, 9},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				j := &journal{}
				f, err := feed.New(feed.Config{Reader: j, KeepBytes: kind.keep})
				require.NoError(t, err)
				require.NoError(t, f.Start(context.Background()))
				h := follow(t, f)
				covered, result := j.commit(1)
				for range kind.commits {
					covered, result := j.commit(1)
					result.Outcomes[0].Events = []commands.Event{{Data: make([]byte, kind.size)}}
					w := &aggregate.Waiting{}
					w.ID = commands.NewID()
					result.Park, result.Extend = []*aggregate.Waiting{w}, []*aggregate.Waiting{w}
					result.Answers = []aggregate.Answer{{ID: w.ID}}
					f.Observe(covered, result)
				}
				require.Zero(t, f.End())
				f.Observe(covered, result)
				time.Sleep(100 * time.Millisecond) // not until the end of the log is looked up
				require.NoError(t, f.Stop())
				require.EqualValues(t, kind.commits+1, h.end)
				states, parked, moved, answers := 0, 0, 0, 0
				for _, c := range h.commits {
					states += len(c.States)
					parked += len(c.Park)
					moved += len(c.Extend)
					answers += len(c.Answers)
				}
				require.LessOrEqual(t, states, kind.states+1)
				require.Greater(t, states, kind.states/2)
				require.Equal(t, []int{kind.commits, kind.commits, kind.commits}, []int{parked, moved, answers})
			})
		})
	}
}

// What waited for a command that the log has told of meanwhile does not wait any more.
func TestNothingIsParkedAfterItWasSettled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		f := start(t, j)
		h := follow(t, f)
		parking, parked := j.commit(0)
		_, settled := j.commit(1)
		for range 2 {
			w := &aggregate.Waiting{}
			w.ID = settled.Outcomes[0].ID
			parked.Park = append(parked.Park, w)
		}
		parked.Park[1].ID = commands.NewID()
		time.Sleep(5 * time.Second) // the log is read
		f.Observe(parking, parked)
		require.NoError(t, f.Stop())
		require.Len(t, h.commits, 2)
		require.Len(t, h.commits[1].Park, 1)
		require.Equal(t, parked.Park[1].ID, h.commits[1].Park[0].ID)
		require.Len(t, parked.Park, 2, "what a worker tells is not changed")
	})
}

// What is told after the log has been read is not handed on again, and what is not in the log is: as of the
// position that it was committed at.
func TestWhatIsToldLateIsNotHandedOnAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		f := start(t, j)
		defer func() { require.NoError(t, f.Stop()) }()
		h := follow(t, f)
		late, told := j.commit(6)
		parking, parked := j.commit(2)
		parked.Park = []*aggregate.Waiting{{Envelope: commands.Envelope{Command: commands.Command{ID: commands.NewID()}}}}
		j.commit(1)
		time.Sleep(5 * time.Second) // the log is read
		require.EqualValues(t, 9, f.End())
		f.Observe(late, told)
		require.Len(t, h.commits, 1)
		parked.Outcomes, parked.States = parked.Outcomes[:1], parked.States[:1] // what is wanted here
		f.ObservePart(parking, parked, func() bool { return true })
		require.Len(t, h.commits, 2)
		require.Equal(t, store.Range{First: 9, Last: 8}, h.commits[1].Covered)
		require.Empty(t, h.commits[1].Outcomes)
		require.Equal(t, parked.Park, h.commits[1].Park)
		before := j.reads
		kept, err := f.Read(t.Context(), 8, 10)
		require.NoError(t, err)
		require.Len(t, kept, 1)
		require.Equal(t, before, j.reads, "it is kept")
	})
}

// Followers read from anywhere, and cost one reading when they are together.
func TestReadFromAnywhere(t *testing.T) {
	t.Parallel()
	j := &journal{}
	j.commit(1000)
	f := start(t, j)
	defer func() { require.NoError(t, f.Stop()) }()
	for range 30 {
		f.Observe(j.commit(10))
	}
	for _, limit := range []int{1, 7, 256, 5000} {
		after := uint64(0)
		for {
			outcomes, err := f.Read(context.Background(), after, limit)
			require.NoError(t, err)
			require.LessOrEqual(t, len(outcomes), limit)
			if len(outcomes) == 0 {
				break
			}
			for _, o := range outcomes {
				after++
				require.Equal(t, after, o.Position)
			}
		}
		require.EqualValues(t, 1300, after)
	}
	outcomes, err := f.Read(context.Background(), 5000, 10)
	require.NoError(t, err)
	require.Empty(t, outcomes)
	before := j.reads
	for range 100 {
		_, err := f.Read(context.Background(), 300, 100)
		require.NoError(t, err)
		_, err = f.Read(context.Background(), 1100, 100)
		require.NoError(t, err)
	}
	require.Equal(t, before, j.reads, "they are kept")
}

// Promise 12: what is kept is bounded in bytes.
func TestWhatIsKeptIsBounded(t *testing.T) {
	t.Parallel()
	j := &journal{}
	f, err := feed.New(feed.Config{Reader: j, KeepBytes: 100_000})
	require.NoError(t, err)
	require.NoError(t, f.Start(context.Background()))
	defer func() { require.NoError(t, f.Stop()) }()
	covered, result := j.commit(2000)
	for _, o := range result.Outcomes {
		o.Events = []commands.Event{{Data: make([]byte, 1000)}}
	}
	f.Observe(covered, result)
	for _, after := range []uint64{0, 300, 1000, 1990} { // mostly from the log
		outcomes, err := f.Read(context.Background(), after, 5)
		require.NoError(t, err)
		require.Equal(t, after+1, outcomes[0].Position)
	}
	require.NotZero(t, j.reads)
}

func TestAwait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		f := start(t, j)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		var waiting sync.WaitGroup
		for range 3 {
			waiting.Go(func() { require.NoError(t, f.Await(ctx, 0)) })
		}
		synctest.Wait()
		f.Observe(j.commit(0))
		f.Observe(j.commit(1))
		waiting.Wait()
		require.NoError(t, f.Await(ctx, 0))
		require.ErrorIs(t, f.Await(ctx, 1), context.DeadlineExceeded)
		require.NoError(t, f.Stop())
	})
}

// A store that is away for a while costs nothing but the delay.
func TestAnOutageIsCaughtUpWith(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		f := start(t, j)
		h := follow(t, f)
		j.failWith(store.ErrUnavailable)
		j.commit(1000)
		f.Observe(j.commit(2))
		_, err := f.Read(context.Background(), 0, 10)
		require.NoError(t, err, "there is nothing to read: it is not handed on yet")
		time.Sleep(30 * time.Second)
		require.Zero(t, f.End())
		j.failWith(nil)
		time.Sleep(3 * time.Second)
		require.EqualValues(t, 1002, f.End())
		require.NoError(t, f.Stop())
		require.EqualValues(t, 1002, h.end)
	})
}

func TestAReadThatFailedIsTriedAgain(t *testing.T) {
	t.Parallel()
	j := &journal{}
	j.commit(600)
	f := start(t, j)
	defer func() { require.NoError(t, f.Stop()) }()
	j.failWith(errors.New("broken"))
	_, err := f.Read(context.Background(), 0, 10)
	require.ErrorContains(t, err, "broken")
	j.failWith(nil)
	outcomes, err := f.Read(context.Background(), 0, 10)
	require.NoError(t, err)
	require.Len(t, outcomes, 10)
}

// Promise 8, never a silent gap: there is nothing after a position only if nothing was committed there when
// that was asked, not when somebody else's reading of the same page began.
func TestAReadingThatIsJoinedMayBeTooOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{slow: make(chan struct{})}
		j.commit(5)
		slow := j.slow
		f, err := feed.New(feed.Config{Reader: j, KeepBytes: 1}) // nothing but the newest is kept
		require.NoError(t, err)
		require.NoError(t, f.Start(context.Background()))
		var reading sync.WaitGroup
		reading.Go(func() {
			outcomes, err := f.Read(context.Background(), 0, 10)
			require.NoError(t, err)
			require.Len(t, outcomes, 5)
		})
		synctest.Wait()
		f.Observe(j.commit(5))
		reading.Go(func() {
			outcomes, err := f.Read(context.Background(), 6, 10)
			require.NoError(t, err)
			require.Len(t, outcomes, 4)
		})
		synctest.Wait()
		close(slow)
		reading.Wait()
		require.NoError(t, f.Stop())
	})
}

// Whoever follows a log reads it from where it was, and waits for more at its end.
func ExampleFeed_Read() {
	j := &journal{}
	j.commit(3)
	f, _ := feed.New(feed.Config{Reader: j})
	_ = f.Start(context.Background())
	defer f.Stop()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go f.Observe(j.commit(1)) // a worker commits
	after := uint64(1)        // a checkpoint
	for {
		outcomes, err := f.Read(ctx, after, 100)
		if err != nil {
			return
		}
		for _, o := range outcomes {
			fmt.Println("position", o.Position)
			after = o.Position
		}
		if after == 4 {
			cancel()
		}
		if err := f.Await(ctx, after); err != nil {
			return
		}
	}
	// Output:
	// position 2
	// position 3
	// position 4
}
