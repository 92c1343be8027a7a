package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/feed"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/notify/hub"
)

// stage is a log with a feed and a hub, within a bubble.
type stage struct {
	t    *testing.T
	book *logbook
	feed *feed.Feed
	hub  *hub.Hub
}

func onStage(t *testing.T, change func(*hub.Config), play func(*stage)) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, book: &logbook{}}
		var err error
		s.feed, err = feed.New(feed.Config{Reader: s.book})
		require.NoError(t, err)
		require.NoError(t, s.feed.Start(context.Background()))
		config := hub.Config{Feed: s.feed, Reader: s.book, States: s.book, Epoch: epoch, Tell: s.book.tell,
			Serves: func(kind string) bool { return kind == "doc" }}
		if change != nil {
			change(&config)
		}
		s.hub, err = hub.New(config)
		require.NoError(t, err)
		require.NoError(t, s.hub.Start(context.Background()))
		play(s)
		require.NoError(t, s.hub.Stop())
		require.NoError(t, s.hub.Stop())
		require.NoError(t, s.feed.Stop())
	})
}

// land commits landings, and the feed is told.
func (s *stage) land(outcomes ...*commands.Outcome) {
	result := &aggregate.Result{Outcomes: outcomes}
	covered := s.book.commit(result)
	s.feed.Observe(covered, result)
}

func (s *stage) watch(r *hub.Request) *pad {
	p := &pad{}
	conn, err := s.hub.Open(context.Background(), r, p)
	require.NoError(s.t, err)
	p.conn = conn
	return p
}

// pad writes down what it is told.
type pad struct {
	conn *hub.Conn

	mu       sync.Mutex
	messages []hub.Message
	mark     commands.Position
	beats    int
	reason   *string
	stuck    chan struct{} // when not nil, Flush waits for it
	left     []hub.Message
}

func (p *pad) Put(d *hub.Delivery) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stuck != nil {
		p.left = append(p.left, d.Messages...)
		return true, nil
	}
	p.messages = append(p.messages, d.Messages...)
	if d.Beat {
		p.beats++
	}
	if d.Mark.Epoch != "" {
		p.mark = d.Mark
	}
	return false, nil
}

func (p *pad) Flush() error {
	<-p.stuck
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages, p.left, p.stuck = append(p.messages, p.left...), nil, nil
	return nil
}

func (p *pad) Close(reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reason == nil {
		p.reason = &reason
	}
}

// take gives what was told since the last time.
func (p *pad) take() []hub.Message {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := p.messages
	p.messages = nil
	return taken
}

func (p *pad) endedBy() string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reason == nil {
		return "still open"
	}
	return *p.reason
}

func watches(streams ...commands.Stream) []hub.Watch {
	var all []hub.Watch
	for _, s := range streams {
		all = append(all, hub.Watch{Stream: s})
	}
	return all
}

func views(t *testing.T, messages []hub.Message) []commands.PushView {
	var all []commands.PushView
	for _, m := range messages {
		require.Equal(t, commands.PushState, m.Event)
		var view commands.PushView
		require.NoError(t, json.Unmarshal(m.Data, &view))
		all = append(all, view)
	}
	return all
}

// DESIGN section 3: deliver=events gives each landing by itself and skips none; a reader that keeps up is
// never disconnected.
func TestEachLandingReachesAReaderThatKeepsUp(t *testing.T) {
	t.Parallel()
	onStage(t, nil, func(s *stage) {
		for range 20 {
			s.land(landing(stream(0), "", 1)) // of another stream: the log is ahead of the one watched
		}
		p := s.watch(&hub.Request{Streams: watches(stream(1)), Deliver: hub.DeliverEvents})
		require.Len(t, p.take(), 1, "the snapshot")
		for n := range uint64(10_000) {
			s.land(landing(stream(1), "", 1), landing(stream(0), "", 1))
			if n%10 == 0 {
				synctest.Wait()
			}
		}
		told := views(t, p.take())
		require.Len(t, told, 10_000)
		for i := range told {
			require.EqualValues(t, i+1, told[i].Version)
		}
		require.Equal(t, "still open", p.endedBy())
	})
}

// A reader that does not read is told of many landings as one, and what is kept for it does not grow.
func TestASlowReaderIsToldOnce(t *testing.T) {
	t.Parallel()
	onStage(t, nil, func(s *stage) {
		p := s.watch(&hub.Request{Streams: watches(stream(1))})
		require.Len(t, p.take(), 1)
		p.mu.Lock()
		stuck := make(chan struct{})
		p.stuck = stuck
		p.mu.Unlock()
		for range 1000 {
			s.land(landing(stream(1), "", 1))
			synctest.Wait()
		}
		close(stuck)
		told := views(t, p.take())
		require.Len(t, told, 2)
		require.EqualValues(t, 1, told[0].Version)
		require.EqualValues(t, 1000, told[1].Version)
		require.EqualValues(t, 999, told[1].Merged)
		require.Len(t, told[1].Events, commands.MaxMissed)
		require.EqualValues(t, 901, told[1].Events[0].Version)
		require.Equal(t, "1000", string(told[1].State))
	})
}

// One that wants each landing, and does not read, is disconnected once too much is kept for it.
func TestAReaderTooSlowForEachLandingIsDisconnected(t *testing.T) {
	t.Parallel()
	onStage(t, nil, func(s *stage) {
		p := s.watch(&hub.Request{Streams: watches(stream(1)), Deliver: hub.DeliverEvents})
		well := s.watch(&hub.Request{Streams: watches(stream(1)), Deliver: hub.DeliverEvents})
		p.take()
		p.mu.Lock()
		stuck := make(chan struct{})
		p.stuck = stuck
		p.mu.Unlock()
		for range 6000 {
			s.land(landing(stream(1), "", 1))
			synctest.Wait()
		}
		close(stuck)
		require.Equal(t, "slow", p.endedBy())
		require.Equal(t, "still open", well.endedBy())
		require.Len(t, well.take(), 6001)
		for at := range slices.Values([]string{"it resumes"}) { // from what it has
			again := s.watch(&hub.Request{Streams: []hub.Watch{{Stream: stream(1), Since: hub.SinceVersion, Version: 1}}, Deliver: hub.DeliverEvents})
			require.Len(t, again.take(), 5999, at)
		}
	})
}

// So is one that is owed too many outcomes of its own.
func TestASessionTooSlowForItsOutcomesIsDisconnected(t *testing.T) {
	t.Parallel()
	onStage(t, nil, func(s *stage) {
		p := s.watch(&hub.Request{Sessions: []string{"ann"}})
		p.mu.Lock()
		stuck := make(chan struct{})
		p.stuck = stuck
		mark := p.mark
		p.mu.Unlock()
		for range 1030 {
			s.land(landing(stream(1), "ann", 0))
			synctest.Wait()
		}
		close(stuck)
		require.Equal(t, "slow", p.endedBy())
		again := s.watch(&hub.Request{Sessions: []string{"ann"}, After: &mark})
		require.Len(t, again.take(), 1030)
	})
}

// DESIGN section 3: a reader that is caught up gets a mark with each heartbeat, every 15 s.
func TestEveryConnectionGetsASignOfLife(t *testing.T) {
	t.Parallel()
	onStage(t, nil, func(s *stage) {
		var all []*pad
		for range 100 {
			all = append(all, s.watch(&hub.Request{Streams: watches(stream(1))}))
		}
		s.land(landing(stream(0), "", 1))
		time.Sleep(15*time.Second + 100*time.Millisecond)
		synctest.Wait()
		for _, p := range all {
			p.mu.Lock()
			require.Equal(t, 1, p.beats)
			require.EqualValues(t, 1, p.mark.N)
			p.mu.Unlock()
		}
	})
}

// Promise 12: connections are bounded, and so are those being opened.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	opening := gated{logbook: &logbook{}}
	onStage(t, func(c *hub.Config) {
		opening.open = make(chan struct{})
		c.MaxConnections, c.Reader = 2, opening
	}, func(s *stage) {
		for range 2 {
			go func() { _, _ = s.hub.Open(context.Background(), &hub.Request{Sessions: []string{"ann"}}, &pad{}) }()
		}
		synctest.Wait()
		_, err := s.hub.Open(context.Background(), &hub.Request{Sessions: []string{"ann"}}, &pad{})
		require.ErrorIs(t, err, hub.ErrFull, "those being opened count")
		close(opening.open)
	})
	onStage(t, func(c *hub.Config) { c.MaxConnections, c.Openings = 3, 1 }, func(s *stage) {
		for range 3 {
			s.watch(&hub.Request{Sessions: []string{"ann"}})
		}
		_, err := s.hub.Open(context.Background(), &hub.Request{Sessions: []string{"ann"}}, &pad{})
		require.ErrorIs(t, err, hub.ErrFull)
	})
	gate := gated{logbook: &logbook{}}
	onStage(t, func(c *hub.Config) {
		gate.open = make(chan struct{})
		c.Openings, c.Reader = 1, gate
	}, func(s *stage) {
		go func() { _, _ = s.hub.Open(context.Background(), &hub.Request{Sessions: []string{"ann"}}, &pad{}) }()
		synctest.Wait()
		began := time.Now()
		_, err := s.hub.Open(context.Background(), &hub.Request{Sessions: []string{"ann"}}, &pad{})
		require.ErrorIs(t, err, hub.ErrBusy)
		require.Equal(t, 10*time.Second, time.Since(began))
		close(gate.open)
	})
}

// gated is a store that does not answer yet.
type gated struct {
	*logbook
	open chan struct{}
}

func (g gated) End(ctx context.Context) (uint64, error) {
	<-g.open
	return g.logbook.End(ctx)
}

// A reader that does not read what it is told first keeps nobody else from being opened.
func TestASlowReaderHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	onStage(t, func(c *hub.Config) { c.Openings = 1 }, func(s *stage) {
		stuck := &pad{stuck: make(chan struct{})}
		opened := make(chan *hub.Conn)
		go func() {
			conn, err := s.hub.Open(context.Background(), &hub.Request{Streams: watches(stream(1))}, stuck)
			assert.NoError(t, err)
			opened <- conn
		}()
		synctest.Wait()
		for range 3 {
			s.watch(&hub.Request{Sessions: []string{"ann"}})
		}
		close(stuck.stuck)
		<-opened
		require.Len(t, stuck.take(), 1)
	})
}

// Stop ends every connection with a word of why, and what comes later is refused.
func TestStopTellsEveryConnection(t *testing.T) {
	t.Parallel()
	onStage(t, nil, func(s *stage) {
		p := s.watch(&hub.Request{Sessions: []string{"ann"}})
		require.NoError(t, s.hub.Stop())
		require.Equal(t, "stopping", p.endedBy())
		_, err := s.hub.Open(context.Background(), &hub.Request{Sessions: []string{"ann"}}, &pad{})
		require.ErrorIs(t, err, hub.ErrStopped)
		require.Zero(t, s.hub.Count())
	})
}

// What is kept for connections is let go with them.
func TestNothingIsKeptOfAClosedConnection(t *testing.T) {
	t.Parallel()
	onStage(t, nil, func(s *stage) {
		for n := range 50 {
			p := s.watch(&hub.Request{Streams: watches(stream(n%5), stream(7)), Sessions: []string{"ann", "bob"}, Deliver: hub.Deliver(n % 3)})
			if n%2 == 0 {
				s.land(landing(stream(7), "ann", 1))
			}
			p.conn.Close()
			p.conn.Close()
			require.Empty(t, p.endedBy())
		}
		topics, sessions, beats := s.hub.Kept()
		require.Zero(t, topics+sessions+beats)
	})
}

// A reader whose version lies inside an action is told the rest of that action; others are told all of it.
func TestAVersionInsideAnActionIsToldTheRest(t *testing.T) {
	t.Parallel()
	onStage(t, func(c *hub.Config) { c.MaxBehind = 2 }, func(s *stage) {
		s.land(landing(stream(1), "", 3))
		for range 10 {
			s.land(landing(stream(0), "", 1))
		}
		for _, has := range []uint64{1, 0, 2} {
			p := s.watch(&hub.Request{Deliver: hub.DeliverEvents, Streams: []hub.Watch{{Stream: stream(1), Since: hub.SinceVersion, Version: has}}})
			told := views(t, p.take())
			require.Len(t, told, 1)
			require.EqualValues(t, 3, told[0].Version)
			require.Len(t, told[0].Events, int(3-has))
			require.Equal(t, has+1, told[0].Events[0].Version)
		}
	})
}

// broken is a store whose types cannot tell the state of one stream.
type broken struct {
	*logbook
	stream commands.Stream
}

var errCode = errors.New("the code of the type broke")

func (b broken) StateOf(ctx context.Context, record *store.Record) ([]byte, error) {
	if record.Stream == b.stream {
		return nil, errCode
	}
	return b.logbook.StateOf(ctx, record)
}

func (b broken) StateAt(ctx context.Context, stream commands.Stream, version uint64) ([]byte, error) {
	if stream == b.stream {
		return nil, errCode
	}
	return b.logbook.StateAt(ctx, stream, version)
}

// DESIGN section 3: a stream that cannot be watched is refused, the rest goes on.
func TestAStreamThatCannotBeToldIsRefused(t *testing.T) {
	t.Parallel()
	for _, deliver := range []hub.Deliver{hub.DeliverState, hub.DeliverEvents} {
		onStage(t, func(c *hub.Config) { c.States = broken{c.Reader.(*logbook), stream(1)} }, func(s *stage) {
			s.land(landing(stream(1), "", 1), landing(stream(2), "", 1))
			mark := commands.Position{Epoch: epoch}
			p := s.watch(&hub.Request{Deliver: deliver, Streams: watches(stream(1), stream(2)), After: &mark})
			told := map[string]int{}
			for _, m := range p.take() {
				told[m.Event]++
			}
			require.Equal(t, map[string]int{"refused": 1, "state": 1}, told)
			s.land(landing(stream(1), "", 1), landing(stream(2), "", 1))
			require.Len(t, views(t, p.take()), 1)
			require.Equal(t, "still open", p.endedBy())
		})
	}
}

// What the store must be asked for is told beside the rest: a rejection that takes long holds up no states.
func TestARejectionThatTakesLongHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	onStage(t, func(c *hub.Config) {
		gate = make(chan struct{})
		tell := c.Tell
		c.Tell = func(ctx context.Context, o *commands.Outcome) (commands.CommandView, error) {
			<-gate
			return tell(ctx, o)
		}
	}, func(s *stage) {
		var sessions []*pad
		for range 8 {
			sessions = append(sessions, s.watch(&hub.Request{Sessions: []string{"ann"}, Streams: watches(stream(1))}))
		}
		p := s.watch(&hub.Request{Streams: watches(stream(1))})
		p.take()
		for range 10 {
			s.land(rejection(stream(1), "ann"), landing(stream(1), "ann", 1))
		}
		told := views(t, p.take())
		require.EqualValues(t, 10, told[len(told)-1].Version)
		close(gate)
		for _, one := range sessions {
			events := map[string]int{}
			for _, m := range one.take() {
				events[m.Event]++
			}
			require.Equal(t, 10, events["rejected"])
			require.Equal(t, 10, events["landed"])
			require.Positive(t, events["state"])
			require.EqualValues(t, 20, one.mark.N)
		}
	})
}

// DESIGN section 3: "no window between" the snapshot and what follows it, and nothing twice: where the store is
// ahead of the feed, the first push has what the snapshot had not.
func TestWhatTheSnapshotHadIsNotToldAgain(t *testing.T) {
	t.Parallel()
	onStage(t, nil, func(s *stage) {
		var late []func()
		for range 3 {
			result := &aggregate.Result{Outcomes: []*commands.Outcome{landing(stream(1), "", 1)}}
			covered := s.book.commit(result)
			late = append(late, func() { s.feed.Observe(covered, result) })
		}
		p := s.watch(&hub.Request{Streams: watches(stream(1))})
		require.EqualValues(t, 3, views(t, p.take())[0].Version)
		result := &aggregate.Result{Outcomes: []*commands.Outcome{landing(stream(1), "", 1), landing(stream(1), "", 1)}}
		covered := s.book.commit(result)
		for _, tell := range late {
			tell()
		}
		s.feed.Observe(covered, result)
		told := views(t, p.take())
		require.Len(t, told, 1)
		require.EqualValues(t, 5, told[0].Version)
		require.EqualValues(t, 2, told[0].Merged)
		require.EqualValues(t, 4, told[0].Events[0].Version)
	})
}

// A large document does not crowd out the events of the landings told together.
func TestALargeStateLeavesRoomForTheEvents(t *testing.T) {
	t.Parallel()
	onStage(t, nil, func(s *stage) {
		p := s.watch(&hub.Request{Streams: watches(stream(1))})
		p.take()
		p.mu.Lock()
		stuck := make(chan struct{})
		p.stuck = stuck
		p.mu.Unlock()
		for range 10 {
			result := &aggregate.Result{Outcomes: []*commands.Outcome{landing(stream(1), "", 1)}}
			covered := s.book.commit(result)
			result.States[0] = []byte(`"` + strings.Repeat("x", 2<<20) + `"`)
			s.feed.Observe(covered, result)
			synctest.Wait()
		}
		close(stuck)
		told := views(t, p.take())
		require.EqualValues(t, 9, told[1].Merged)
		require.Len(t, told[1].Events, 9)
	})
}
