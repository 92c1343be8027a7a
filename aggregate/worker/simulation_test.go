//go:build simulation

// Run by hand, with -tags simulation: it still finds histories that break a promise (see the seeds it
// prints), and belongs among the other tests as soon as it finds none.

package worker_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/worker"
	"github.com/ticketed/doorman/bus/frame"
	"github.com/ticketed/doorman/commands"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "simulate this seed alone, and tell what happens")
	simSeeds = flag.Int("sim.seeds", 300, "how many seeds to simulate")
)

// TestSimulation runs workers over a store and a bus that misbehave, with clients that shuffle, repeat
// and contradict themselves and code that breaks, kills the workers now and then, and then holds the log
// against the promises of DESIGN section 5. Time is that of a bubble, so a seed takes milliseconds.
//
//	go test ./aggregate/worker -run Simulation -sim.seed 17 -v
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
	for _, what := range []string{"landed", "refused", "failed", "stale_ticket", "predecessor_rejected", "predecessor_missing",
		"ticket_cycle", "parking_full", "ticket_not_current", "self_ticket", "rejected_by_operator", "repeat", "id_conflict",
		"unavailable", "fate unknown, applied", "fate unknown, lost", "fenced", "id taken elsewhere", "poison", "poison parked",
		"slow commit", "hanging commit", "reading failed", "slow reading", "crash", "stop", "endless code"} {
		t.Logf("%7d %s", met[what], what)
		require.NotZero(t, met[what], "never met: %s", what)
	}
}

const (
	simParkFor    = 3 * time.Second
	simCodeTime   = 300 * time.Millisecond
	simCommitTime = 2 * time.Second
)

// world is everything that one seed is about.
type world struct {
	t      *testing.T
	rng    *rand.Rand
	store  *memory
	broker *broker
	kind   simKind
	limits aggregate.Limits
	life   *life
	ending sync.WaitGroup

	crowd crowd

	mu     sync.Mutex
	chaos  *rand.Rand // of the store, which is called by several goroutines
	calm   bool
	calmAt map[int]time.Duration // working time of each lane when all was well, as far as it was saved
	stolen map[commands.ID]bool  // ids that another worker used first
	parked map[commands.ID]time.Duration
	met    map[string]int
	moment time.Time // of the newest commit
	busy   int       // how many commits there were at that moment
	events []string
}

func simulate(t *testing.T, seed uint64, met map[string]int) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), chaos: rand.New(rand.NewPCG(seed, 2)), met: met,
			stolen: map[commands.ID]bool{}, kind: simKind{tally{release: make(chan struct{})}}}
		w.crowd = crowd{rng: w.rng}
		w.store = newMemory(1 + w.rng.IntN(3))
		w.broker = newBroker(w.store.lanes, w.acknowledged)
		w.limits = aggregate.Limits{ParkedPerStream: 6, ParkedPerSession: 8, Parked: 20, Events: 10, Round: []int{1, 2, 5, 100}[w.rng.IntN(4)]}
		w.begin()
		for range 20 + w.rng.IntN(150) {
			w.step()
		}
		w.settle()
		w.check()
		w.end()
		if *simSeed != 0 || t.Failed() {
			t.Logf("seed %d:\n%s", seed, strings.Join(w.events, "\n"))
		}
	})
}

// life is a worker's way to the store; it ends when the worker is killed.
type life struct {
	*memory
	world      *world
	dead       atomic.Bool
	worker     *worker.Worker
	connection *connection
}

func (w *world) begin() {
	l := &life{memory: w.store, world: w, connection: w.broker.connect(1 + w.rng.IntN(20))}
	types, err := aggregate.NewRegistry(w.kind)
	require.NoError(w.t, err)
	cfg := worker.Config{Store: l, Types: types, Subscriber: l.connection, Owner: "sim", Limits: w.limits,
		Tick: 50 * time.Millisecond, CodeTimeout: simCodeTime, CommitTime: simCommitTime, CacheStreams: 1 + w.rng.IntN(3),
		Observe: []func(store.Range, *aggregate.Result){w.observe(l)}, Log: slog.New(slog.NewTextHandler(writer{w}, nil))}
	for lane := range w.store.lanes {
		cfg.Lanes = append(cfg.Lanes, lane)
	}
	l.worker, err = worker.New(cfg)
	require.NoError(w.t, err)
	w.life = l
	w.note("a worker begins")
	require.NoError(w.t, l.worker.Start(context.Background()))
}

// kill ends a worker as kill -9 would: from one moment on nothing it does counts.
func (w *world) kill() {
	w.saw("crash")
	w.life.dead.Store(true)
	w.life.connection.cut()
	w.giveBack()
	old := w.life.worker
	w.ending.Go(func() { _ = old.Stop() })
	w.begin()
}

func (w *world) stop() {
	w.saw("stop")
	asked := time.Now()
	require.NoError(w.t, w.life.worker.Stop())
	require.Less(w.t, time.Since(asked), 3*simCommitTime, "Stop does not hang")
	w.life.connection.cut()
	w.giveBack()
	w.begin()
}

func (w *world) giveBack() {
	w.broker.giveBack(func(frames [][]byte) {
		if w.rng.IntN(4) == 0 {
			w.rng.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
		}
	})
}

func (w *world) end() {
	close(w.kind.release)
	require.NoError(w.t, w.life.worker.Stop())
	w.life.connection.cut()
	w.ending.Wait()
}

// step lets one thing happen.
func (w *world) step() {
	switch n := w.rng.IntN(100); {
	case n < 60:
		w.publish(w.crowd.commands(1 + w.rng.IntN(8)))
	case n < 85:
		time.Sleep(time.Duration(w.rng.IntN(1000)) * time.Millisecond)
	case n < 90:
		w.kill()
	case n < 93:
		w.stop()
	default:
		w.operator()
	}
}

func (w *world) publish(all []commands.Envelope) {
	frames := make([][]byte, w.store.lanes)
	for i := range all {
		lane := all[i].Stream.Lane(w.store.lanes)
		frames[lane] = frame.Append(frames[lane], &all[i])
		w.note("publish %s on %s in %s: %s %s", short(all[i].ID), short(all[i].Ticket), all[i].Stream.ID, all[i].Type, all[i].Policy)
	}
	for lane, payload := range frames {
		if len(payload) > 0 {
			w.broker.publish(lane, payload)
		}
	}
	if w.rng.IntN(2) == 0 {
		synctest.Wait()
	}
}

func (w *world) operator() {
	ids := w.store.waitingIDs()
	if len(ids) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = w.life.worker.RejectParked(ctx, ids[w.rng.IntN(len(ids))], "so said the operator") // it may have been settled meanwhile
}

// settle lets the store be well until everything has ended.
func (w *world) settle() {
	w.publish(w.crowd.rest())
	w.store.mu.Lock()
	w.mu.Lock()
	w.calm, w.calmAt = true, maps.Clone(w.store.worked)
	w.mu.Unlock()
	w.store.mu.Unlock()
	began := time.Now()
	for w.broker.left() > 0 || len(w.store.waitingIDs()) > 0 {
		time.Sleep(time.Second)
		if time.Since(began) > 3*time.Minute {
			w.t.Errorf("promise 1: %d frames and %v are left", w.broker.left(), w.store.waitingIDs())
			return
		}
	}
	synctest.Wait()
}

// acknowledged is promise 1 at the bus: no frame is forgotten before all of it is in the store.
func (w *world) acknowledged(payload []byte) {
	envelopes, err := frame.Decode(payload)
	require.NoError(w.t, err)
	for _, env := range envelopes {
		if standing := w.store.standing(env.ID); standing == aggregate.Unheard {
			w.t.Errorf("%s was acknowledged and is not in the store", short(env.ID))
		}
	}
}

// observe holds what is told against what is in the store.
func (w *world) observe(l *life) func(store.Range, *aggregate.Result) {
	last := uint64(0)
	return func(covered store.Range, result *aggregate.Result) {
		if l.dead.Load() {
			return
		}
		if n := uint64(len(result.Outcomes)); covered.Last+1-covered.First != n || covered.First <= last {
			w.t.Errorf("told of %d outcomes at %v after position %d", n, covered, last)
		}
		last = max(last, covered.Last)
		for i, o := range result.Outcomes {
			if kept := w.store.at(covered.First + uint64(i)); kept != o {
				w.t.Errorf("told of %s at %d, where there is %v", short(o.ID), covered.First+uint64(i), kept)
			}
		}
		for _, a := range result.Answers {
			w.saw(map[aggregate.Ruling]string{aggregate.Repeat: "repeat", aggregate.Conflict: "id_conflict"}[a.Ruling])
			if w.store.standing(a.ID) == aggregate.Unheard {
				w.t.Errorf("%s was answered and is not in the store", short(a.ID))
			}
		}
	}
}

func (w *world) saw(what string) {
	w.mu.Lock()
	w.met[what]++
	w.mu.Unlock()
	w.note("%s", what)
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...))
}

// writer has the worker's log among the events.
type writer struct{ w *world }

func (w writer) Write(b []byte) (int, error) {
	w.w.note("%s", strings.TrimSpace(string(b)))
	return len(b), nil
}

func short(id commands.ID) string {
	if id == commands.Genesis || id == commands.None {
		return id.String()
	}
	return fmt.Sprint(int(id[14])<<8 | int(id[15]))
}

// Commit misbehaves now and then.
func (l *life) Commit(ctx context.Context, b *store.Batch) (store.Range, error) {
	l.world.notEndless()
	if err := l.refuses(b); err != nil {
		return store.Range{}, err
	}
	switch fault := l.world.fault(); fault {
	case "unavailable":
		return store.Range{}, store.ErrUnavailable
	case "fate unknown, lost":
		return store.Range{}, store.ErrFateUnknown
	case "fate unknown, applied":
		if _, err := l.world.keep(l, b); err != nil {
			return store.Range{}, err
		}
		return store.Range{}, store.ErrFateUnknown
	case "fenced":
		_, _ = l.memory.Acquire(ctx, []int{b.Claims[0].Lane}, "another")
	case "id taken elsewhere":
		l.world.steal(b)
	case "slow commit":
		time.Sleep(500 * time.Millisecond)
	case "hanging commit":
		<-ctx.Done()
		return store.Range{}, fmt.Errorf("%w: %w", store.ErrFateUnknown, ctx.Err())
	}
	return l.world.keep(l, b)
}

// notEndless finds a worker that tries again and again without a pause.
func (w *world) notEndless() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); !now.Equal(w.moment) {
		w.moment, w.busy = now, 0
	}
	if w.busy++; w.busy > 5000 {
		w.t.Errorf("5,000 commits at one moment")
		w.busy = 0
		time.Sleep(time.Second)
	}
}

// refuses are batches that cannot be stored for one command.
func (l *life) refuses(b *store.Batch) error {
	for _, o := range b.Outcomes {
		if o.Type == "poison" && o.Landed() {
			l.world.saw("poison")
			return errors.New("this row cannot be stored")
		}
	}
	for _, p := range b.Park {
		if p.Type == "unparkable" {
			l.world.saw("poison parked")
			return errors.New("this row cannot be parked")
		}
	}
	return nil
}

func (w *world) fault() string {
	w.mu.Lock()
	n := w.chaos.IntN(100)
	calm := w.calm
	w.mu.Unlock()
	faults := []string{"unavailable", "fate unknown, lost", "fate unknown, applied", "fenced", "id taken elsewhere", "slow commit", "hanging commit"}
	if calm || n >= 2*len(faults) {
		return ""
	}
	w.saw(faults[n/2])
	return faults[n/2]
}

// keep commits, unless the worker is dead, and holds what expires against its deadline.
func (w *world) keep(l *life, b *store.Batch) (store.Range, error) {
	if l.dead.Load() {
		return store.Range{}, store.ErrUnavailable
	}
	deadlines := w.store.deadlines()
	covered, err := w.store.commit(b)
	if err != nil {
		return covered, err
	}
	for _, p := range b.Park {
		w.note("%s parked until %s", short(p.ID), p.Deadline)
	}
	for _, o := range b.Outcomes {
		w.note("%s at version %d:", short(o.ID), o.Version)
		w.saw(cmp.Or(string(o.Reason), "landed"))
		if o.Reason != commands.PredecessorMissing {
			continue
		}
		lane := o.Stream.Lane(w.store.lanes)
		at := slices.IndexFunc(b.Claims, func(c store.Claim) bool { return c.Lane == lane })
		w.expired(o, b.Claims[at].Worked, deadlines[o.ID], lane)
	}
	return covered, nil
}

// expired is promise 5. While the store misbehaves there is always something that was queued before and
// must be judged first, so only what is due later is known to be in time.
func (w *world) expired(o *commands.Outcome, worked, deadline time.Duration, lane int) {
	if worked < deadline {
		w.t.Errorf("promise 4: %s expired at %s of its lane's working time, its deadline was %s", short(o.ID), worked, deadline)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calm && worked > max(deadline, w.calmAt[lane])+2*time.Second {
		w.t.Errorf("promise 5: %s expired at %s of its lane's working time, its deadline was %s", short(o.ID), worked, deadline)
	}
}

// steal has another worker use an id of the batch first, on a stream that is not ours.
func (w *world) steal(b *store.Batch) {
	var fresh []commands.ID
	for _, o := range b.Outcomes {
		if !slices.Contains(b.Unpark, o.ID) {
			fresh = append(fresh, o.ID)
		}
	}
	for _, p := range b.Park {
		fresh = append(fresh, p.ID)
	}
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	for _, id := range fresh {
		if w.store.known[id].Standing == aggregate.Unheard {
			w.store.known[id] = aggregate.Fact{Standing: aggregate.Landed, Stream: commands.Stream{Type: "tally", ID: "elsewhere"}, Version: 1}
			w.mu.Lock()
			w.stolen[id] = true
			w.mu.Unlock()
			return
		}
	}
}

// readingFails is asked before each reading.
func (l *life) readingFails(ctx context.Context) error {
	if l.dead.Load() {
		return store.ErrUnavailable
	}
	w := l.world
	w.mu.Lock()
	n := w.chaos.IntN(100)
	calm := w.calm
	w.mu.Unlock()
	switch {
	case calm:
	case n < 4:
		w.saw("reading failed")
		return store.ErrUnavailable
	case n < 6:
		w.saw("slow reading")
		select {
		case <-ctx.Done():
			return store.ErrUnavailable
		case <-time.After(time.Duration(n) * 400 * time.Millisecond):
		}
	}
	return nil
}

func (l *life) Acquire(ctx context.Context, lanes []int, owner string) ([]store.Claim, error) {
	if err := l.readingFails(ctx); err != nil {
		return nil, err
	}
	return l.memory.Acquire(ctx, lanes, owner)
}

func (l *life) Backlog(ctx context.Context, lanes []int) ([]store.Parked, error) {
	if err := l.readingFails(ctx); err != nil {
		return nil, err
	}
	return l.memory.Backlog(ctx, lanes)
}

func (l *life) Load(ctx context.Context, streams []commands.Stream) ([]*store.Record, error) {
	if err := l.readingFails(ctx); err != nil {
		return nil, err
	}
	return l.memory.Load(ctx, streams)
}

func (l *life) Lookup(ctx context.Context, ids []commands.ID) ([]aggregate.Fact, error) {
	if err := l.readingFails(ctx); err != nil {
		return nil, err
	}
	return l.memory.Lookup(ctx, ids)
}
