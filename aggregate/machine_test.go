package aggregate_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// TestEngineAgreesWithTheSecondModel does anything that can be done to a few streams in any order, with
// few ids so that they meet, and compares the engine with the model after every step.
func TestEngineAgreesWithTheSecondModel(t *testing.T) {
	t.Parallel()
	met := newSightings()
	for range 5 {
		rapid.Check(t, func(t *rapid.T) { doAnything(t, met) })
	}
	met.require(t, everythingToMeet...)
}

func doAnything(t *rapid.T, met *sightings) {
	p := newPair(t, met)
	t.Repeat(map[string]func(*rapid.T){
		"send":     func(t *rapid.T) { p.send(t, 1) },
		"batch":    func(t *rapid.T) { p.send(t, rapid.IntRange(2, 12).Draw(t, "arrivals")) },
		"tangle":   func(t *rapid.T) { p.drawer.tangle(t, p.model) },
		"time":     p.time,
		"sweep":    p.sweep,
		"operator": p.operator,
		"restart":  p.restart,
		"":         p.compare,
	})
	p.engine.drain()
	p.compare(t)
}

// everythingToMeet is what the draws must have led to, lest the comparison be empty.
var everythingToMeet = []string{
	"repeat", "repeat of a parked one", "id_conflict", "id_conflict across streams",
	"self_ticket", "stale_ticket", "predecessor_rejected", "predecessor_missing", "ticket_cycle", "parking_full",
	"ticket_not_current", "rejected_by_operator", "unknown_command", "invalid", "refused", "failed",
	"landed with 0 events", "landed with 1 events", "landed with 2 events",
	"admitted by session", "admitted by session after parking", "admitted by any", "session outside its window",
	"parked", "longer deadline", "ticket of another stream", "released", "released, but too late", "cascade",
	"ticket_cycle of 2", "ticket_cycle of 3", "full stream", "full session", "full server",
	"deferred", "leftovers over several rounds", "something is due amid leftovers", "id known to the store alone",
}

// sightings count what was met over all runs of a property.
type sightings struct {
	mutex sync.Mutex
	of    map[string]int
}

func newSightings() *sightings { return &sightings{of: map[string]int{}} }

func (s *sightings) saw(what string) {
	s.mutex.Lock()
	s.of[what]++
	s.mutex.Unlock()
}

func (s *sightings) require(t *testing.T, all ...string) {
	for _, what := range all {
		t.Logf("%6d %s", s.of[what], what)
	}
	for _, what := range all {
		require.NotZero(t, s.of[what], "never met: %s", what)
	}
}

// pair is the engine and the model, told the same.
type pair struct {
	engine *counter
	model  *model
	drawer drawer

	compared [2]int // how many outcomes of the model, of the engine
}

var allStreams = []commands.Stream{{Type: "ledger", ID: "a"}, {Type: "ledger", ID: "b"}, {Type: "ledger", ID: "c"}}

func newPair(t *rapid.T, met *sightings) *pair {
	kind := ledger{parkFor: 30 * time.Second, window: 10 * time.Second}
	limits := aggregate.Limits{ParkedPerStream: rapid.SampledFrom([]int{9, 6, 3, 2}).Draw(t, "per stream"),
		ParkedPerSession: rapid.SampledFrom([]int{5, 3, 2}).Draw(t, "per session"), Parked: rapid.SampledFrom([]int{12, 7, 4}).Draw(t, "in all"), Events: ledgerEvents, Round: rapid.SampledFrom([]int{1, 2, 3, 5, 1000}).Draw(t, "round")}
	p := &pair{engine: newCounter(kind, limits),
		model: &model{limits: limits, parkFor: kind.parkFor, window: kind.window, now: now, clock: map[commands.Stream]time.Duration{}, saw: met.saw}}
	p.engine.seen = met.saw
	return p
}

func (p *pair) send(t *rapid.T, n int) {
	arrivals := make([]commands.Envelope, n)
	for i := range arrivals {
		arrivals[i] = p.drawer.command(t, p.model)
		p.model.take(arrivals[i])
	}
	p.engine.take(arrivals)
}

// time passes, for one lane more than for another.
func (p *pair) time(t *rapid.T) {
	p.engine.drain() // what the model judged at once is judged at the same time
	step := time.Duration(rapid.SampledFrom([]int{3, 10, 1, 20}).Draw(t, "seconds")) * time.Second
	p.model.now = p.model.now.Add(step)
	p.engine.now = p.model.now
	for _, stream := range allStreams {
		if !oneIn(t, 5, "outage of its lane") {
			p.model.clock[stream] += step
			p.engine.clock[stream] += step
		}
	}
}

// sweep expires what is due.
func (p *pair) sweep(*rapid.T) {
	for _, stream := range allStreams {
		p.model.expire(stream)
		p.engine.sweep(stream)
	}
}

// restart runs another release of the program, maybe, in which the type parks for another time.
func (p *pair) restart(t *rapid.T) {
	if !p.engine.pending() {
		p.model.parkFor = time.Duration(rapid.SampledFrom([]int{30, 10}).Draw(t, "park for")) * time.Second
		p.engine.kind.parkFor = p.model.parkFor
	}
	p.engine.restart()
}

func (p *pair) operator(t *rapid.T) {
	if len(p.model.waiting) == 0 || !oneIn(t, 4, "at his desk") {
		return
	}
	p.engine.drain()
	env := rapid.SampledFrom(p.model.waiting).Draw(t, "taken off").env
	p.model.takeOff(env.ID)
	require.True(t, p.engine.takeOff(env.Stream, env.ID))
	require.False(t, p.engine.takeOff(env.Stream, env.ID))
}

// compare holds what came of the last step, and how everything stands, against the model.
func (p *pair) compare(t *rapid.T) {
	if p.engine.pending() {
		return // the model has no leftovers
	}
	for _, stream := range allStreams {
		wanted := p.model.describe(stream, p.compared[0])
		require.Equal(t, wanted, describeOutcomes(p.engine.log[p.compared[1]:], stream), "outcomes on %s in order", stream)
	}
	p.compared = [2]int{len(p.model.happened), len(p.engine.log)}
	require.Equal(t, p.model.answers, p.engine.answers, "answers in order")
	failed := 0
	for _, h := range p.model.happened {
		if h.reason == commands.Failed {
			failed++
		}
	}
	require.Len(t, p.engine.failed, failed, "dead letters")
	p.compareParked(t)
	for _, stream := range allStreams {
		p.compareStream(t, stream)
	}
}

func (p *pair) compareParked(t *rapid.T) {
	var wanted, got []string
	for _, w := range p.model.waiting {
		wanted = append(wanted, fmt.Sprintf("%s on %s in %s until %s", nameOf(w.env.ID), nameOf(w.env.Ticket), w.env.Stream, w.until))
	}
	for _, w := range p.engine.parked {
		got = append(got, fmt.Sprintf("%s on %s in %s until %s", nameOf(w.env.ID), nameOf(w.env.Ticket), w.env.Stream, w.deadline))
	}
	require.Equal(t, wanted, got, "parked, in order of parking")
	require.Equal(t, len(wanted), p.engine.lot.Total())
	for _, session := range sessionsDrawn {
		count := 0
		for _, w := range p.model.waiting {
			if w.env.Session == session && session != "" {
				count++
			}
		}
		require.Equal(t, count, p.engine.lot.OfSession(session), "parked of session %q", session)
	}
}

func (p *pair) compareStream(t *rapid.T, stream commands.Stream) {
	inst := p.engine.instance(stream)
	require.Equal(t, p.model.version(stream), inst.Head.Version, stream)
	require.Equal(t, p.model.head(stream), inst.Head.Ticket(), stream)
	if inst.Head.Version > 0 {
		require.Equal(t, strconv.Itoa(p.model.state(stream)), string(inst.State()), stream)
	}
	if last := p.model.last(stream); last != nil {
		require.Equal(t, last.at, inst.Head.At)
		require.Equal(t, last.env.Session, inst.Head.Session)
		require.Equal(t, last.env.Policy == commands.PolicyAny, inst.Head.ByAny)
	}
	count, size := 0, 0
	for _, w := range p.model.waiting {
		if w.env.Stream == stream {
			count, size = count+1, size+len(w.env.Data)
		}
	}
	require.Equal(t, count, inst.ParkedCount(), stream)
	require.Equal(t, size, inst.ParkedBytes(), stream)
}

// describe tells the outcomes on a stream but for the first that happened anywhere.
func (m *model) describe(stream commands.Stream, but int) (told []string) {
	version := 0
	for i, h := range m.happened {
		if h.env.Stream != stream {
			continue
		}
		if version += len(h.events); i >= but {
			told = append(told, describe(&h.env, h.at, uint64(version), fmt.Sprint(h.events), h.reason, h.root, h.rootReason, h.cascaded))
		}
	}
	return told
}

func describeOutcomes(all []*commands.Outcome, stream commands.Stream) (told []string) {
	for _, o := range all {
		if o.Stream != stream {
			continue
		}
		var events []int
		for _, e := range o.Events {
			n, _ := strconv.Atoi(string(e.Data))
			events = append(events, n)
		}
		env := commands.Envelope{Hash: o.Hash, ReplyTo: o.ReplyTo, CorrelationID: o.CorrelationID, TraceParent: o.TraceParent,
			Command: commands.Command{ID: o.ID, Stream: o.Stream, Type: o.Type, Ticket: o.Ticket, Policy: o.Policy, Session: o.Session, Actor: o.Actor}}
		told = append(told, describe(&env, o.At, o.Version, fmt.Sprint(events), o.Reason, o.Root, o.RootReason, o.Cascaded))
	}
	return told
}

func describe(env *commands.Envelope, at time.Time, version uint64, events string, reason commands.Reason,
	root commands.ID, rootReason commands.Reason, cascaded bool) string {
	what := fmt.Sprintf("%s on %s in %s: %s %s by %q %q %x for %s/%s/%s, %s, version %d, ", nameOf(env.ID), nameOf(env.Ticket), env.Stream, env.Type,
		env.Policy, env.Session, env.Actor, env.Hash[:3], env.ReplyTo, env.CorrelationID, env.TraceParent, at.Format("15:04:05"), version)
	if reason == "" {
		return what + "landed " + events
	}
	return what + fmt.Sprintf("%s, root %s %s, cascaded %t", reason, nameOf(root), rootReason, cascaded)
}
