package worker_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
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
	simSeeds = flag.Int("sim.seeds", 200, "how many seeds to simulate")
)

// TestSimulation runs workers over a store and a bus that misbehave, with clients that shuffle, repeat
// and contradict themselves and code that breaks, kills the workers now and then, and then holds the log
// against the promises of DESIGN section 5. Time is that of a bubble, so a seed takes milliseconds. A seed
// fixes what is sent and what goes wrong, but not which of several goroutines runs first, so replaying one
// may take more than one go.
//
//	go test ./aggregate/worker -run Simulation -sim.seeds 20000 -timeout 1h
//	go test ./aggregate/worker -run Simulation -sim.seed 17 -count 20 -v
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
		"ticket_cycle", "parking_full", "ticket_not_current", "self_ticket", "rejected_by_operator", "poisoned order", "unstorable order", "repeat", "id_conflict",
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

	crowd  crowd
	orders int

	mu     sync.Mutex
	chaos  *rand.Rand // of the store, which is called by several goroutines
	calm   bool
	clocks map[int]reading       // of each lane, when it was told last
	calmAt map[int]time.Duration // working time of each lane when all was well, at most
	stolen map[commands.ID]bool  // ids that another worker used first
	met    map[string]int
	moment time.Time // of the newest commit
	busy   int       // how many commits there were at that moment
	events []string
}

func simulate(t *testing.T, seed uint64, met map[string]int) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), chaos: rand.New(rand.NewPCG(seed, 2)), met: met,
			stolen: map[commands.ID]bool{}, clocks: map[int]reading{}, kind: simKind{tally{release: make(chan struct{})}}}
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
		Observe: []func(store.Range, *aggregate.Result){w.observe(l)}, Metrics: counted{w}, Log: slog.New(slog.NewTextHandler(writer{w}, nil))}
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
	require.LessOrEqual(w.t, time.Since(asked), simCommitTime+2*simCodeTime, "Stop does not hang")
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
	waiting := w.store.waiting()
	if len(waiting) == 0 {
		return
	}
	about := waiting[w.rng.IntN(len(waiting))] // which may be settled before the order comes
	order := commands.RejectOrder(about.ID, about.Stream, "Olga", "so said the operator", time.Now())
	order.ID = commands.ID{0: 2, 14: byte(w.orders >> 8), 15: byte(w.orders)}
	w.orders++
	switch w.rng.IntN(6) {
	case 0:
		order.Order = 9
	case 1:
		order.Data = []byte(unstorable)
	}
	payload := frame.Append(nil, &order)
	if command := w.crowd.commands(1)[0]; command.Stream.Lane(w.store.lanes) == about.Stream.Lane(w.store.lanes) && w.rng.IntN(2) == 0 {
		payload = frame.Append(payload, &command)
	} else {
		defer w.publish([]commands.Envelope{command})
	}
	w.note("an order about %s: %d %s", short(about.ID), order.Order, order.Data)
	w.broker.publish(about.Stream.Lane(w.store.lanes), payload)
}

// unstorable is a reason that no store takes.
const unstorable = "it cannot be said"

// settle lets the store be well until everything has ended.
func (w *world) settle() {
	w.publish(w.crowd.rest())
	w.mu.Lock()
	w.calm, w.calmAt = true, map[int]time.Duration{}
	for lane, told := range w.clocks {
		w.calmAt[lane] = told.worked + time.Since(told.at)
	}
	w.mu.Unlock()
	began := time.Now()
	for w.broker.left() > 0 || len(w.store.waiting()) > 0 {
		time.Sleep(time.Second)
		if time.Since(began) > 3*time.Minute {
			w.t.Errorf("promise 1: %d frames and %v are left", w.broker.left(), w.store.waiting())
			return
		}
	}
	synctest.Wait()
}

// acknowledged is promise 1 at the bus: no frame is forgotten before all of it is in the store. Of an order that is
// what it was about, or itself when it cannot be carried out.
func (w *world) acknowledged(payload []byte) {
	envelopes, err := frame.Decode(payload)
	require.NoError(w.t, err)
	for _, env := range envelopes {
		if env.Order != commands.NoOrder {
			if w.store.standing(env.Ticket) == aggregate.Parked && !w.store.buried(&env) {
				w.t.Errorf("the order about %s was acknowledged, and it waits still", short(env.Ticket))
			}
			continue
		}
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

// counted sees what a worker tells of itself.
type counted struct{ w *world }

var _ worker.Metrics = counted{}

func (counted) Committed(worker.CommitStats) {}
func (counted) CommitFailed(string)          {}
func (counted) Parked(int, time.Duration)    {}
func (c counted) CodeAbandoned()             { c.w.saw("endless code") }

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
