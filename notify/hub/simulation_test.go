package hub_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store/feed"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/notify/hub"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "simulate this seed alone, and tell what happens")
	simSeeds = flag.Int("sim.seeds", 1500, "how many seeds to simulate")
)

// TestSimulation is promise 8 (DESIGN section 5): commits are told in an order of the lanes' own, some are
// never told and must be found in the log, readers are slow, are cut at random moments and resume, and
// still each is told everything it is owed up to every mark it is given.
//
//	go test ./notify/hub -run Simulation -sim.seed 17 -v
func TestSimulation(t *testing.T) {
	t.Parallel()
	met := map[string]int{}
	if *simSeed != 0 {
		simulate(t, *simSeed, met)
		return
	}
	first := uint64(time.Now().UnixNano() % 1_000_000_000)
	for n := range *simSeeds {
		seed := first + uint64(n)
		if simulate(t, seed, met); t.Failed() {
			t.Fatalf("seed %d; replay it with -sim.seed %d", seed, seed)
		}
	}
	for _, what := range []string{"state", "landed", "rejected", "parked", "reset", "merged", "quiet", "mark", "cut", "ended", "repeat"} {
		t.Logf("%8d %s", met[what], what)
		require.NotZero(t, met[what], "never met: %s", what)
	}
}

const simStreams, simLanes = 5, 3

type world struct {
	t       *testing.T
	rng     *rand.Rand
	book    *logbook
	feed    *feed.Feed
	hub     *hub.Hub
	told    [simLanes][]func() // commits of each lane that are to be told
	waiting []*aggregate.Waiting
	readers []*reader
	met     map[string]int
	running sync.WaitGroup

	mu     sync.Mutex
	events []string
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, fmt.Sprintf(format, args...))
}

func simulate(t *testing.T, seed uint64, met map[string]int) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), met: met}
		w.book = &logbook{rng: rand.New(rand.NewPCG(seed, 2))}
		w.begin()
		for range w.rng.IntN(30) {
			w.commit()
		}
		w.book.mu.Lock()
		w.book.flaky = w.rng.IntN(2) == 0
		w.book.mu.Unlock()
		for n := range 1 + w.rng.IntN(4) {
			r := &reader{world: w, number: n, rng: rand.New(rand.NewPCG(seed, 10+uint64(n)))}
			r.choose()
			w.readers = append(w.readers, r)
			w.running.Go(r.run)
		}
		for range 10 + w.rng.IntN(60) {
			w.step()
		}
		w.book.mu.Lock()
		w.book.flaky = false
		w.book.mu.Unlock()
		for lane := range w.told {
			w.tell(lane, len(w.told[lane]))
		}
		time.Sleep(5 * time.Minute) // the log is looked at, and all have resumed
		for _, r := range w.readers {
			r.stop()
		}
		w.running.Wait()
		require.NoError(t, w.hub.Stop())
		require.NoError(t, w.feed.Stop())
		for _, r := range w.readers {
			r.check()
		}
		if *simSeed != 0 || t.Failed() {
			t.Logf("seed %d:\n%s", seed, strings.Join(w.events, "\n"))
		}
	})
}

func (w *world) begin() {
	var err error
	w.feed, err = feed.New(feed.Config{Reader: w.book})
	require.NoError(w.t, err)
	require.NoError(w.t, w.feed.Start(context.Background()))
	config := hub.Config{Feed: w.feed, Reader: w.book, States: w.book, Epoch: epoch, Tell: w.book.tell, OpenWait: time.Minute,
		Serves: func(kind string) bool { return kind == "doc" }, MaxBehind: 5 + w.rng.IntN(100), Openings: 1 + w.rng.IntN(3)}
	w.hub, err = hub.New(config)
	require.NoError(w.t, err)
	require.NoError(w.t, w.hub.Start(context.Background()))
}

func (w *world) step() {
	switch w.rng.IntN(10) {
	case 0, 1, 2, 3:
		w.commit()
	case 4, 5, 6:
		lane := w.rng.IntN(simLanes)
		w.tell(lane, w.rng.IntN(3))
	case 7:
		synctest.Wait()
	default:
		time.Sleep(time.Duration(w.rng.IntN(200)) * time.Millisecond)
	}
}

// commit has a lane commit something; that is told later, or never.
func (w *world) commit() {
	lane := w.rng.IntN(simLanes)
	result := &aggregate.Result{}
	for range w.rng.IntN(5) {
		s := stream(lane + simLanes*w.rng.IntN(2))
		session := []string{"", "ann", "bob", "cat"}[w.rng.IntN(4)]
		switch roll := w.rng.IntN(10); {
		case roll < 6:
			result.Outcomes = append(result.Outcomes, landing(s, session, min(w.rng.IntN(4), w.rng.IntN(4))))
		case roll < 8:
			result.Outcomes = append(result.Outcomes, rejection(s, session))
		case session != "":
			p := waiting(s, session)
			result.Park = append(result.Park, p)
		}
	}
	if len(w.waiting) > 0 && w.rng.IntN(3) == 0 { // one that waited on this lane's streams is settled
		at := slices.IndexFunc(w.waiting, func(p *aggregate.Waiting) bool { return int(p.Stream.ID[0]-'0')%simLanes == lane })
		if at >= 0 {
			p := w.waiting[at]
			w.waiting = slices.Delete(w.waiting, at, at+1)
			o := landing(p.Stream, p.Session, 1)
			o.ID = p.ID
			result.Outcomes = append(result.Outcomes, o)
		}
	}
	w.waiting = append(w.waiting, result.Park...)
	if len(w.book.log) > 0 && w.rng.IntN(10) == 0 {
		o := w.book.log[w.rng.IntN(len(w.book.log))]
		if o.Session != "" {
			result.Answers = append(result.Answers, aggregate.Answer{Ruling: aggregate.Repeat, ID: o.ID, Stream: o.Stream, Session: o.Session})
		}
	}
	covered := w.book.commit(result)
	for _, o := range result.Outcomes {
		w.note("%d: %s %s version %d session %s", o.Position, o.Stream, o.Reason, o.Version, o.Session)
	}
	if w.rng.IntN(12) == 0 {
		w.note("%v is not told", covered)
		return // by another process
	}
	w.told[lane] = append(w.told[lane], func() { w.feed.Observe(covered, result) })
}

func (w *world) tell(lane, n int) {
	for range min(n, len(w.told[lane])) {
		w.told[lane][0]()
		w.told[lane] = w.told[lane][1:]
	}
}

// reader is a client: it remembers what it was told over all its connections.
type reader struct {
	world  *world
	number int
	rng    *rand.Rand

	streams  []commands.Stream
	sessions []string
	deliver  hub.Deliver
	byMark   bool // it resumes as a browser does; else by versions

	mu      sync.Mutex
	over    bool
	conn    *hub.Conn
	mark    *commands.Position
	from    uint64 // outcomes of its sessions above this are owed
	streamz map[commands.Stream]*seen
	own     map[commands.ID]bool // settled
}

// seen is what a reader knows of one stream.
type seen struct {
	begun    bool
	version  uint64
	position uint64
	landed   map[uint64]bool // positions told; all are above the one it began with
	began    uint64
}

func (r *reader) choose() {
	r.streamz, r.own = map[commands.Stream]*seen{}, map[commands.ID]bool{}
	for n := range simStreams {
		if r.rng.IntN(2) == 0 {
			r.streams = append(r.streams, stream(n))
		}
	}
	for _, s := range []string{"ann", "bob", "cat"} {
		if r.rng.IntN(2) == 0 {
			r.sessions = append(r.sessions, s)
		}
	}
	if len(r.streams)+len(r.sessions) == 0 {
		r.streams = append(r.streams, stream(0))
	}
	r.deliver = hub.Deliver(r.rng.IntN(3))
	r.byMark = r.rng.IntN(2) == 0
}

func (r *reader) request() *hub.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := &hub.Request{Sessions: r.sessions, Deliver: r.deliver, After: r.mark, Reopened: r.byMark}
	for _, s := range r.streams {
		w := hub.Watch{Stream: s}
		if known := r.streamz[s]; known != nil && r.mark == nil && r.byMark {
			known.begun = false // it was cut before its first mark, and begins anew
		}
		if known := r.streamz[s]; known != nil && known.begun && !r.byMark {
			w.Since, w.Version = hub.SinceVersion, known.version
		}
		q.Streams = append(q.Streams, w)
	}
	return q
}

// run connects again and again until it is stopped.
func (r *reader) run() {
	for {
		r.mu.Lock()
		over := r.over
		r.mu.Unlock()
		if over {
			return
		}
		s := &sink{reader: r, ended: make(chan struct{}), until: 1 + r.rng.IntN(40), pace: time.Duration(r.rng.IntN(3)) * 50 * time.Millisecond}
		request := r.request()
		r.world.note("reader %d connects: %v after %v reopened %v", r.number, request.Streams, request.After, request.Reopened)
		conn, err := r.world.hub.Open(context.Background(), request, s)
		if err == nil {
			r.mu.Lock()
			r.conn = conn
			if r.over {
				r.mu.Unlock()
				conn.Close()
				return
			}
			r.mu.Unlock()
			<-s.ended
			conn.Close()
		}
		r.world.note("reader %d is cut: %v", r.number, err)
		time.Sleep(time.Duration(1+r.rng.IntN(100)) * time.Millisecond)
	}
}

func (r *reader) stop() {
	r.mu.Lock()
	r.over = true
	conn := r.conn
	r.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
}

// sink is one connection, cut after a while.
type sink struct {
	reader  *reader
	until   int // messages, then it is cut
	pace    time.Duration
	ended   chan struct{}
	once    sync.Once
	left    *hub.Delivery
	settled map[commands.ID]bool // on this connection
}

func (s *sink) Put(d *hub.Delivery) (bool, error) {
	if s.pace > 0 {
		if s.left != nil {
			s.reader.world.t.Errorf("put before what was left is flushed")
		}
		kept := *d
		kept.Messages = slices.Clone(d.Messages)
		s.left = &kept
		return true, nil
	}
	return false, s.take(d)
}

func (s *sink) Flush() error {
	time.Sleep(s.pace)
	d := s.left
	s.left = nil
	return s.take(d)
}

func (s *sink) take(d *hub.Delivery) error {
	calm := !s.reader.world.flaky()
	for i := range d.Messages {
		if s.until--; s.until <= 0 && !calm {
			s.reader.world.saw("cut")
			return fmt.Errorf("cut")
		}
		s.reader.receive(s, &d.Messages[i])
	}
	if d.Mark.Epoch != "" {
		s.reader.marked(d.Mark)
	}
	return nil
}

// flaky: while the world is, readers are cut too.
func (w *world) flaky() bool {
	w.book.mu.Lock()
	defer w.book.mu.Unlock()
	return w.book.flaky
}

func (s *sink) Close(reason string) {
	s.once.Do(func() {
		if reason != "" {
			s.reader.world.saw("ended")
		}
		close(s.ended)
	})
}

func (w *world) saw(what string) {
	w.mu.Lock()
	w.met[what]++
	w.mu.Unlock()
}

// receive takes one message.
func (r *reader) receive(s *sink, m *hub.Message) {
	r.world.note("reader %d: %s %s", r.number, m.Event, m.Data)
	r.world.saw(m.Event)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch m.Event {
	case commands.PushState:
		r.receiveState(m.Data)
	case commands.PushLanded:
		var view commands.LandedView
		require.NoError(r.world.t, json.Unmarshal(m.Data, &view))
		r.settled(s, view.ID, view.Stream, view.Position)
	case commands.PushRejected:
		var view commands.CommandView
		require.NoError(r.world.t, json.Unmarshal(m.Data, &view))
		r.settled(s, view.ID, view.Stream, view.Position)
	case commands.PushParked:
		var view commands.ParkedView
		require.NoError(r.world.t, json.Unmarshal(m.Data, &view))
		if s.settled[view.ID] {
			r.world.t.Errorf("reader %d: %s is parked after it was settled", r.number, view.ID)
		}
	case commands.PushReset:
		// Outcomes may have been missed, and so may landings: it begins anew.
		r.mark = nil
		r.from = ^uint64(0)
		for _, known := range r.streamz {
			known.begun = false
		}
	default:
		r.world.t.Errorf("reader %d: %s %s", r.number, m.Event, m.Data)
	}
}

func (r *reader) settled(s *sink, id commands.ID, at commands.Stream, position commands.Position) {
	if s.settled == nil {
		s.settled = map[commands.ID]bool{}
	}
	s.settled[id] = true
	if r.own[id] {
		r.world.saw("repeat")
	}
	// Before or with the state that contains it; what is told again is no news.
	if known := r.streamz[at]; !r.own[id] && known != nil && known.begun && known.position > position.N && r.from < position.N {
		r.world.t.Errorf("reader %d: position %s is told after the state at %d", r.number, position, known.position)
	}
	r.own[id] = true
}

func (r *reader) receiveState(data []byte) {
	var view commands.PushView
	require.NoError(r.world.t, json.Unmarshal(data, &view))
	if r.deliver == hub.DeliverTicket != (view.State == nil) || r.deliver == hub.DeliverTicket != (view.Events == nil) {
		r.world.t.Errorf("reader %d: state or events are told wrongly: %s", r.number, data)
	}
	if want := state(view.Version); r.deliver != hub.DeliverTicket && want != nil && string(view.State) != string(want) {
		r.world.t.Errorf("reader %d: the state is %s at version %d", r.number, view.State, view.Version)
	}
	known := r.streamz[view.Stream]
	if known == nil {
		known = &seen{}
		r.streamz[view.Stream] = known
	}
	if !known.begun {
		*known = seen{begun: true, version: view.Version, position: view.Position.N, began: view.Position.N, landed: map[uint64]bool{}}
		return
	}
	if view.Position.N <= known.position {
		r.world.saw("repeat")
		return
	}
	if view.Merged > 1 {
		r.world.saw("merged")
		if r.deliver == hub.DeliverEvents {
			r.world.t.Errorf("reader %d: landings were merged: %s", r.number, data)
		}
	}
	if len(view.Events) == 0 {
		r.world.saw("quiet")
	}
	if r.deliver == hub.DeliverEvents && view.Version != known.version+uint64(len(view.Events)) {
		r.world.t.Errorf("reader %d: after version %d comes %s", r.number, known.version, data)
	}
	known.version, known.position = view.Version, view.Position.N
	known.landed[view.Position.N] = true
}

// marked holds a mark against the log: everything owed up to it has been told.
func (r *reader) marked(mark commands.Position) {
	r.world.saw("mark")
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mark == nil || r.mark.N != mark.N {
		r.world.note("reader %d: mark %s", r.number, mark)
	}
	if r.mark == nil && (r.from == 0 || r.from == ^uint64(0)) {
		r.from = mark.N
	}
	if r.mark != nil && mark.N < r.mark.N {
		r.world.t.Errorf("reader %d: the mark went back from %s to %s", r.number, r.mark, mark)
	}
	r.mark = &mark
	r.owedUpTo(mark.N)
}

func (r *reader) owedUpTo(mark uint64) {
	r.world.book.mu.Lock()
	defer r.world.book.mu.Unlock()
	if mark > uint64(len(r.world.book.log)) {
		r.world.t.Errorf("reader %d: a mark at %d, the log ends at %d", r.number, mark, len(r.world.book.log))
		return
	}
	for _, o := range r.world.book.log[:mark] {
		if slices.Contains(r.sessions, o.Session) && o.Position > r.from && !r.own[o.ID] {
			r.world.t.Errorf("reader %d: a mark at %d, and %s at %d was not told", r.number, mark, o.ID, o.Position)
		}
		if !o.Landed() || !slices.Contains(r.streams, o.Stream) {
			continue
		}
		known := r.streamz[o.Stream]
		if known == nil || !known.begun || known.position < o.Position && !r.sameVersion(known, o) {
			r.world.t.Errorf("reader %d: a mark at %d, and %s is known up to %+v only", r.number, mark, o.Stream, known)
			return
		}
		if r.deliver == hub.DeliverEvents && len(o.Events) > 0 && o.Position > known.began && !known.landed[o.Position] {
			r.world.t.Errorf("reader %d: a mark at %d, and the landing on %s at %d was not told", r.number, mark, o.Stream, o.Position)
		}
	}
}

// sameVersion: a reader that resumes by a version is not told of landings at that version; nor is one that
// wants each landing and is far behind told of those without events that others have followed.
func (r *reader) sameVersion(known *seen, o *commands.Outcome) bool {
	if len(o.Events) > 0 || o.Version != known.version {
		return false
	}
	followed := slices.ContainsFunc(r.world.book.of(o.Stream), func(later *commands.Outcome) bool { return later.Position > o.Position })
	return !r.byMark || r.deliver == hub.DeliverEvents && followed
}

// check holds what a reader knows in the end against the log.
func (r *reader) check() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mark == nil || r.mark.N != uint64(len(r.world.book.log)) {
		r.world.t.Errorf("reader %d: it was marked up to %v, the log ends at %d", r.number, r.mark, len(r.world.book.log))
		return
	}
	r.owedUpTo(r.mark.N)
}
