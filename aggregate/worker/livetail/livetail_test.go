package livetail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/feed"
	"github.com/ticketed/doorman/aggregate/worker/livetail"
	"github.com/ticketed/doorman/commands"
)

const epoch = "E"

// journal is the log, which workers append to.
type journal struct {
	mu    sync.Mutex
	log   []*commands.Outcome
	reads int
}

func (j *journal) End(context.Context) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return uint64(len(j.log)), nil
}

func (j *journal) Log(_ context.Context, after uint64, limit int) ([]*commands.Outcome, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.reads++
	rest := j.log[min(after, uint64(len(j.log))):]
	return rest[:min(len(rest), limit)], nil
}

func (j *journal) commit(outcomes ...*commands.Outcome) (store.Range, *aggregate.Result) {
	j.mu.Lock()
	defer j.mu.Unlock()
	result := &aggregate.Result{}
	covered := store.Range{First: uint64(len(j.log)) + 1}
	for _, o := range outcomes {
		o.Position = uint64(len(j.log)) + 1
		j.log = append(j.log, o)
		result.Outcomes = append(result.Outcomes, o)
		result.States = append(result.States, []byte(fmt.Sprintf(`{"v":%d}`, o.Version)))
	}
	covered.Last = uint64(len(j.log))
	return covered, result
}

// network carries messages, each after a time of its own but in order between two processes, and loses some.
type network struct {
	mu     sync.Mutex
	random *rand.Rand
	loss   float64
	away   bool
	boxes  map[string]chan []byte
	groups map[string][]string
	sent   int
	bytes  int
}

func newNetwork(seed uint64, loss float64) *network {
	return &network{random: rand.New(rand.NewPCG(seed, 0)), loss: loss, boxes: map[string]chan []byte{}, groups: map[string][]string{}}
}

var errAway = errors.New("the network is away")

type box struct {
	*network
	address string
}

func (n *network) join(group, address string) box {
	mail := make(chan []byte, 10_000)
	n.mu.Lock()
	n.boxes[address] = mail
	n.groups[group] = append(n.groups[group], address)
	n.mu.Unlock()
	return box{n, address}
}

// carry has what comes received until the test ends.
func (b box) carry(t *testing.T, receive func([]byte)) {
	b.mu.Lock()
	mail := b.boxes[b.address]
	b.mu.Unlock()
	var carrying sync.WaitGroup
	closed := make(chan struct{})
	carrying.Go(func() {
		for {
			select {
			case body := <-mail:
				time.Sleep(time.Millisecond)
				receive(body)
			case <-closed:
				return
			}
		}
	})
	t.Cleanup(func() {
		close(closed)
		carrying.Wait()
	})
}

func (b box) Address() string { return b.address }

func (b box) Send(address string, body []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		return errAway
	}
	b.sent++
	b.bytes += len(body)
	if b.random.Float64() >= b.loss {
		b.boxes[address] <- bytes.Clone(body)
	}
	return nil
}

func (b box) Broadcast(group string, body []byte) error {
	b.mu.Lock()
	members := b.groups[group]
	b.mu.Unlock()
	for _, address := range members {
		if err := b.Send(address, body); err != nil {
			return err
		}
	}
	return nil
}

func (n *network) set(away bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away = away
}

func (n *network) traffic() (sent, bytes int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sent, n.bytes
}

// gateway is the listening half with what a hub does.
type gateway struct {
	id        commands.ID
	interests *livetail.Interests
	feed      *feed.Feed
	listener  *livetail.Listener

	mu    sync.Mutex
	heard map[uint64]*commands.Outcome
	state map[uint64][]byte
	early map[commands.ID]bool
	end   uint64
	wrong string
}

func newGateway(t *testing.T, n *network, j *journal, name string) *gateway {
	f, err := feed.New(feed.Config{Reader: j})
	require.NoError(t, err)
	g := &gateway{id: commands.NewID(), interests: livetail.NewInterests(), feed: f,
		heard: map[uint64]*commands.Outcome{}, state: map[uint64][]byte{}, early: map[commands.ID]bool{}}
	require.NoError(t, f.Start(t.Context()))
	g.end = f.Subscribe(g.note)
	mail := n.join(livetail.Gateways, name)
	g.listener = livetail.NewListener(livetail.ListenerConfig{Post: mail, Epoch: epoch, Gateway: g.id, Interests: g.interests,
		Feed: f, Early: g.hurry})
	mail.carry(t, g.listener.Receive)
	require.NoError(t, g.listener.Start(t.Context()))
	t.Cleanup(func() { g.stop(t) })
	return g
}

func newAnnouncer(t *testing.T, n *network, name string) *livetail.Announcer {
	mail := n.join(livetail.Workers, name)
	a := livetail.NewAnnouncer(livetail.AnnouncerConfig{Post: mail, Epoch: epoch})
	mail.carry(t, a.Receive)
	require.NoError(t, a.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, a.Stop()) })
	return a
}

func (g *gateway) stop(t *testing.T) {
	require.NoError(t, g.listener.Stop())
	require.NoError(t, g.feed.Stop())
}

func (g *gateway) hurry(r *aggregate.Result) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, o := range r.Outcomes {
		g.early[o.ID] = true
	}
}

func (g *gateway) note(c *feed.Commit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.Covered.First != g.end+1 {
		g.wrong = fmt.Sprintf("%v comes after %d", c.Covered, g.end)
	}
	g.end = max(g.end, c.Covered.Last)
	for i, o := range c.Outcomes {
		g.heard[o.Position] = o
		if c.States != nil {
			g.state[o.Position] = c.States[i]
		}
	}
}

// watch is what a hub does when a connection is opened: from the position returned on it hears everything.
func (g *gateway) watch(s commands.Stream, session string) (after uint64) {
	if session != "" {
		g.interests.WatchSession(session)
	} else {
		g.interests.WatchStream(s)
	}
	g.feed.Settle()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.end
}

type watcher struct {
	after, until uint64
	closed       bool
	stream       commands.Stream
	session      string
}

func (w *watcher) wants(o *commands.Outcome) bool {
	if o.Position <= w.after || w.closed && o.Position > w.until {
		return false
	}
	return w.session == "" && o.Stream == w.stream || w.session != "" && o.Session == w.session
}

func streamNo(i int) commands.Stream { return commands.Stream{Type: "order", ID: fmt.Sprint(i)} }

// Promise 8: whoever watches hears of everything from the moment the watch began, whatever is lost on the way,
// whenever workers come to know of it, and in whatever order they tell.
func TestWhoWatchesMissesNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) { simulate(t, seed) })
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}

func simulate(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	n := newNetwork(seed, []float64{0, 0.05, 0.5}[random.IntN(3)])
	j := &journal{}
	gateways := []*gateway{newGateway(t, n, j, "g0"), newGateway(t, n, j, "g1")}
	if random.IntN(2) == 0 {
		gateways[1].interests.Everything()
	}
	var workers []*livetail.Announcer
	for i := range 2 {
		workers = append(workers, newAnnouncer(t, n, fmt.Sprint("w", i)))
	}
	watchers := make([][]*watcher, len(gateways))
	for range 5 + random.IntN(60) {
		at := random.IntN(len(gateways))
		switch random.IntN(6) {
		case 0:
			watchers[at] = append(watchers[at], gateways[at].open(streamNo(random.IntN(6)), ""))
		case 1:
			watchers[at] = append(watchers[at], gateways[at].open(commands.Stream{}, fmt.Sprint("s", random.IntN(4))))
		case 2:
			if open := len(watchers[at]); open > 0 {
				gateways[at].close(watchers[at][random.IntN(open)])
			}
		default:
			workers[random.IntN(len(workers))].Observe(j.commit(someOutcomes(random)...))
		}
		time.Sleep(time.Duration(random.IntN(40)) * time.Millisecond)
	}
	time.Sleep(10 * time.Second)
	synctest.Wait()
	for i, g := range gateways {
		g.check(t, j.log, watchers[i])
	}
}

func someOutcomes(random *rand.Rand) (outcomes []*commands.Outcome) {
	for range 1 + random.IntN(6) {
		o := &commands.Outcome{ID: commands.NewID(), Stream: streamNo(random.IntN(6)), Type: "x", Version: 1}
		if random.IntN(2) == 0 {
			o.Session = fmt.Sprint("s", random.IntN(4))
		}
		outcomes = append(outcomes, o)
	}
	return outcomes
}

func (g *gateway) open(s commands.Stream, session string) *watcher {
	return &watcher{after: g.watch(s, session), stream: s, session: session}
}

func (g *gateway) close(w *watcher) {
	if w.closed {
		return
	}
	w.closed, w.until = true, g.feed.End()
	if w.session != "" {
		g.interests.UnwatchSession(w.session)
	} else {
		g.interests.UnwatchStream(w.stream)
	}
}

func (g *gateway) check(t *testing.T, log []*commands.Outcome, watchers []*watcher) {
	require.Empty(t, g.wrong)
	require.EqualValues(t, len(log), g.end, "it knows where the log ends")
	for _, o := range log {
		for _, w := range watchers {
			if !w.wants(o) {
				continue
			}
			require.Contains(t, g.heard, o.Position, "stream %s, session %q", w.stream, w.session)
			require.Equal(t, o.ID, g.heard[o.Position].ID)
			if state, told := g.state[o.Position]; told && w.session == "" {
				require.JSONEq(t, `{"v":1}`, string(state), "the state of a watched stream")
			}
		}
	}
}

// quiet is one gateway and one worker on a network that loses nothing.
func quiet(t *testing.T) (*journal, *network, *gateway, *livetail.Announcer) {
	n, j := newNetwork(1, 0), &journal{}
	g := newGateway(t, n, j, "g")
	a := newAnnouncer(t, n, "w")
	time.Sleep(100 * time.Millisecond)
	return j, n, g, a
}

func outcome(stream int, session, via string) *commands.Outcome {
	return &commands.Outcome{ID: commands.NewID(), Stream: streamNo(stream), Type: "add", Session: session, Via: via, Version: 1,
		Events: []commands.Event{{Type: "added", Schema: 1, Data: bytes.Repeat([]byte("x"), 1000)}}}
}

// A gateway receives what its readers, sessions and waiters need and nothing else, and knows where the log ends.
func TestAGatewayReceivesWhatItNeeds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, n, g, a := quiet(t)
		g.watch(streamNo(1), "")
		g.watch(commands.Stream{}, "mine")
		wanted := outcome(7, "", "")
		g.interests.WatchCommand(wanted.ID)
		time.Sleep(100 * time.Millisecond)
		_, before := n.traffic()
		a.Observe(j.commit(outcome(1, "", ""), outcome(2, "", ""), outcome(3, "mine", ""), outcome(4, "other", ""), wanted,
			outcome(5, "", g.id.String())))
		time.Sleep(100 * time.Millisecond)
		_, after := n.traffic()
		synctest.Wait()
		require.EqualValues(t, 6, g.end)
		require.Zero(t, j.reads)
		require.Len(t, g.heard, 3)
		require.Contains(t, g.heard, uint64(1))
		require.Contains(t, g.heard, uint64(3))
		require.Contains(t, g.heard, uint64(5))
		require.Less(t, after-before, 4000, "three outcomes of six")
		g.interests.Expect(1) // commands that were sent from here
		time.Sleep(100 * time.Millisecond)
		a.Observe(j.commit(outcome(5, "", g.id.String()), outcome(5, "", "another")))
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		require.EqualValues(t, 8, g.end)
		require.Len(t, g.heard, 4)
		require.True(t, g.early[g.heard[7].ID])
		require.Zero(t, j.reads)
	})
}

// What is parked, and what is answered to one sender alone, is told with its commit.
func TestWhatIsParkedIsToldToItsSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, _, g, a := quiet(t)
		var parked []*aggregate.Waiting
		var answers []aggregate.Answer
		g.feed.Subscribe(func(c *feed.Commit) {
			parked = append(parked, c.Park...)
			answers = append(answers, c.Answers...)
		})
		g.watch(commands.Stream{}, "mine")
		time.Sleep(100 * time.Millisecond)
		mine := &aggregate.Waiting{Envelope: commands.Envelope{Command: commands.Command{ID: commands.NewID(), Stream: streamNo(1),
			Ticket: commands.NewID(), Session: "mine"}}, Until: time.Now().UTC().Truncate(time.Microsecond)}
		other := &aggregate.Waiting{Envelope: commands.Envelope{Command: commands.Command{ID: commands.NewID(), Session: "other"}}}
		again := aggregate.Answer{Ruling: aggregate.Repeat, ID: commands.NewID(), Stream: streamNo(2), Session: "mine"}
		covered, _ := j.commit()
		a.Observe(covered, &aggregate.Result{At: time.Now(), Park: []*aggregate.Waiting{other, mine}, Answers: []aggregate.Answer{again}})
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		require.Len(t, parked, 1)
		require.Equal(t, mine, parked[0])
		require.Equal(t, []aggregate.Answer{again}, answers)
	})
}

// Promise 8: a worker that was frozen may say late what is not true any more. That is looked up, not told.
func TestWhatIsSaidLateOfParkedCommandsIsDoubted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, _, g, a := quiet(t)
		parked, doubts := 0, 0
		g.feed.Subscribe(func(c *feed.Commit) {
			parked += len(c.Park)
			if c.Doubt {
				doubts++
			}
		})
		g.watch(commands.Stream{}, "mine")
		time.Sleep(100 * time.Millisecond)
		waits := &aggregate.Waiting{Envelope: commands.Envelope{Command: commands.Command{ID: commands.NewID(), Session: "mine"}}}
		covered, _ := j.commit()
		a.Observe(covered, &aggregate.Result{At: time.Now().Add(-3 * time.Second), Park: []*aggregate.Waiting{waits}})
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		require.Zero(t, parked)
		require.Equal(t, 1, doubts)
	})
}

// When the bus is slower than the commits, or away, gateways read the log.
func TestWhatCouldNotBeSentIsReadFromTheLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, n, g, a := quiet(t)
		g.watch(streamNo(1), "")
		time.Sleep(100 * time.Millisecond)
		n.mu.Lock()      // nothing can be sent
		for range 1200 { // more than can wait twice: what waits may be taken up once before it is stuck
			a.Observe(j.commit(outcome(1, "", ""), outcome(2, "", "")))
		}
		n.mu.Unlock()
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		require.EqualValues(t, 2400, g.end)
		require.Positive(t, j.reads)
		for at := uint64(1); at <= 2400; at += 2 {
			require.Contains(t, g.heard, at)
		}
		n.set(true)
		a.Observe(j.commit(outcome(1, "", "")))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Contains(t, g.heard, uint64(2401))
		n.set(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		before := j.reads
		a.Observe(j.commit(outcome(1, "", "")))
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		require.Contains(t, g.heard, uint64(2402))
		require.Equal(t, before, j.reads)
	})
}

// A gateway that goes is told nothing more, and so is one that is not heard of.
func TestAGatewayThatLeavesIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, n, g, a := quiet(t)
		g.stop(t)
		time.Sleep(time.Second)
		before, _ := n.traffic()
		a.Observe(j.commit(outcome(1, "", "")))
		time.Sleep(time.Second)
		after, _ := n.traffic()
		require.Equal(t, before, after)
	})
}
