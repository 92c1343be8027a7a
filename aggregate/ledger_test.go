package aggregate_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// ledger is a type whose state depends on the order of everything that landed.
type ledger struct{ parkFor, window time.Duration }

const ledgerEvents = 3 // the most events of one command

// ledgerFold makes another number of the same events in another order.
func ledgerFold(state, n int) int { return (state*31 + n) % 1_000_003 }

func (ledger) Name() string { return "ledger" }
func (l ledger) Settings() aggregate.Settings {
	return aggregate.Settings{ParkFor: l.parkFor, SessionWindow: l.window}
}
func (ledger) Commands() []aggregate.CommandInfo   { return nil }
func (ledger) Events() []aggregate.EventInfo       { return nil }
func (ledger) Allows(commands.Policy, string) bool { return true }
func (ledger) Initial() any                        { return 0 }
func (ledger) Decide(state any, command string, data []byte) ([]commands.Event, error) {
	added := commands.Event{Type: "added", Schema: 1, Data: data}
	switch command {
	case "add":
		return []commands.Event{added}, nil
	case "add_twice":
		return []commands.Event{added, added}, nil
	case "look":
		return nil, nil
	case "add_to_even":
		if state.(int)%2 != 0 {
			return nil, aggregate.Refuse("odd", "the state is odd")
		}
		return []commands.Event{added}, nil
	case "garble":
		return nil, &aggregate.InvalidError{Path: "/n", Detail: "unreadable"}
	case "panic":
		panic("on purpose")
	case "break":
		return nil, errors.New("broken")
	case "poison":
		return []commands.Event{added, {Type: "poisoned", Schema: 1, Data: data}}, nil
	case "flood":
		return slices.Repeat([]commands.Event{added}, ledgerEvents+1), nil
	}
	return nil, aggregate.ErrUnknownCommand
}
func (ledger) Evolve(state any, event commands.Event) (any, error) {
	if event.Type == "poisoned" {
		return nil, errors.New("no such event")
	}
	n, err := strconv.Atoi(string(event.Data))
	return ledgerFold(state.(int), n), err
}
func (ledger) EncodeState(state any) ([]byte, error) {
	return strconv.AppendInt(nil, int64(state.(int)), 10), nil
}
func (ledger) DecodeState(data []byte) (any, error) { return strconv.Atoi(string(data)) }

// counter is a worker and a store in miniature: what a store would keep, and instances that come and go.
// Between commits it may lose everything but that.
type counter struct {
	kind   ledger
	limits aggregate.Limits
	now    time.Time
	clock  map[commands.Stream]time.Duration

	// What a store keeps.
	log    []*commands.Outcome
	stored map[commands.Stream]*storedStream
	ids    map[commands.ID]aggregate.Fact
	parked []*storedWait
	failed []aggregate.Failure
	// Answers are given once the round they belong to is committed.
	answers []aggregate.Answer

	// What a worker holds.
	instances map[commands.Stream]*aggregate.Instance
	looked    map[commands.ID]aggregate.Fact
	lot       *aggregate.Count
	order     []commands.Stream // of the instances, as they came

	// crash, when not nil, is asked before each commit of a round: true loses what is not committed.
	crash func() bool
	seen  func(what string)
}

type storedStream struct {
	head         aggregate.Head
	state        []byte
	stateVersion uint64
	tail         []commands.Event
}

type storedWait struct {
	env      commands.Envelope
	seq      uint64
	parkedAt time.Time
	deadline time.Duration
}

func newCounter(kind ledger, limits aggregate.Limits) *counter {
	c := &counter{kind: kind, limits: limits, now: now, clock: map[commands.Stream]time.Duration{},
		stored: map[commands.Stream]*storedStream{}, ids: map[commands.ID]aggregate.Fact{}, seen: func(string) {}}
	c.restart()
	return c
}

// restart forgets all but what a store keeps.
func (c *counter) restart() {
	c.instances, c.order = map[commands.Stream]*aggregate.Instance{}, nil
	c.looked = map[commands.ID]aggregate.Fact{}
	c.lot = &aggregate.Count{}
	for _, w := range c.parked {
		c.lot.Add(w.env.Session, 1)
	}
	// A worker loads the streams with something parked when it takes their lanes over.
	for _, w := range c.parked {
		c.instance(w.env.Stream)
	}
}

func (c *counter) Fact(id commands.ID) (aggregate.Fact, bool) { f, ok := c.looked[id]; return f, ok }
func (c *counter) Learn(id commands.ID, fact aggregate.Fact)  { c.looked[id] = fact }

func (c *counter) instance(stream commands.Stream) *aggregate.Instance {
	if inst := c.instances[stream]; inst != nil {
		return inst
	}
	s := c.stored[stream]
	if s == nil {
		s = &storedStream{}
	}
	var waiting []*aggregate.Waiting
	for _, w := range c.parked {
		if w.env.Stream == stream {
			waiting = append(waiting, &aggregate.Waiting{Envelope: w.env.Clone(), Seq: w.seq, ParkedAt: w.parkedAt, Deadline: w.deadline})
		}
	}
	tickets := func(id commands.ID) aggregate.Fact { return c.ids[id] }
	inst := aggregate.Restore(c.kind, stream, s.head, slices.Clone(s.state), slices.Clone(s.tail), waiting, tickets, nil)
	c.instances[stream] = inst
	c.order = append(c.order, stream)
	return inst
}

func (c *counter) round() *aggregate.Round {
	limits := c.limits
	return &aggregate.Round{Now: c.now, Limits: &limits, Facts: c, Lot: c.lot,
		Clock: func(s commands.Stream) time.Duration { return c.clock[s] }}
}

// take judges arrivals round by round; what the last of them releases may be left over. What was taken
// but not committed when it crashes is delivered again, and so is some of what was.
func (c *counter) take(arrivals []commands.Envelope) {
	for done := 0; ; {
		r := c.round()
		left := !c.resume(r)
		if left {
			c.seen("leftovers over several rounds")
		}
		at := done
		for ; at < len(arrivals); at++ {
			if progress := c.takeOne(r, &arrivals[at]); progress == aggregate.Deferred {
				c.seen("deferred")
				break
			} else if left {
				panic("a later arrival was taken before what was left over")
			}
		}
		if c.crashes("before a commit") || !c.commit(r) {
			continue
		}
		if done = at; c.crashes("after a commit") {
			done = 0
		}
		if done == len(arrivals) {
			return
		}
	}
}

// drain settles what is left over.
func (c *counter) drain() {
	for c.pending() {
		c.take(nil)
	}
}

// crashes asks whether to lose what is not committed.
func (c *counter) crashes(when string) bool {
	if c.crash == nil || !c.crash() {
		return false
	}
	c.seen("crash " + when)
	if c.pending() {
		c.seen("crash amid leftovers")
	}
	c.restart()
	return true
}

func (c *counter) takeOne(r *aggregate.Round, env *commands.Envelope) aggregate.Progress {
	for {
		progress := r.Take(c.instance(env.Stream), env)
		if progress != aggregate.NeedFacts {
			return progress
		}
		if len(r.Need) == 0 {
			panic("needs nothing")
		}
		for _, id := range r.Need {
			if _, looked := c.looked[id]; looked {
				panic("asked for what was looked up: " + id.String())
			}
			c.looked[id] = c.ids[id]
		}
	}
}

func (c *counter) resume(r *aggregate.Round) bool {
	for _, stream := range c.order {
		if !r.Resume(c.instances[stream]) {
			return false
		}
	}
	return true
}

func (c *counter) pending() bool {
	for _, inst := range c.instances {
		if inst.Pending() {
			return true
		}
	}
	return false
}

// sweep expires what is due on a stream, the one parked first first.
func (c *counter) sweep(stream commands.Stream) {
	for c.due(stream) {
		r := c.round()
		if c.pending() {
			c.seen("something is due amid leftovers")
		}
		for _, w := range slices.Clone(c.parked) {
			if w.env.Stream == stream {
				r.Expire(c.instance(stream), w.env.ID)
			}
		}
		if !c.crashes("before expiry was committed") {
			c.commit(r)
		}
	}
}

func (c *counter) due(stream commands.Stream) bool {
	return slices.ContainsFunc(c.parked, func(w *storedWait) bool {
		return w.env.Stream == stream && w.deadline <= c.clock[stream]
	})
}

// takeOff is an operator's word; it tells whether the command was waiting.
func (c *counter) takeOff(stream commands.Stream, id commands.ID) bool {
	for {
		r := c.round()
		was, progress := r.RejectParked(c.instance(stream), id, "so said the operator")
		c.commit(r)
		if progress == aggregate.Taken {
			return was
		}
	}
}

// commit keeps what a store keeps; it reports false when an id is known already, and nothing was kept.
func (c *counter) commit(r *aggregate.Round) bool {
	r.Finish()
	clash := false
	claimed := map[commands.ID]bool{}
	claim := func(id commands.ID, waits bool) {
		_, known := c.ids[id]
		clash = clash || claimed[id] || known && !waits
		claimed[id] = true
	}
	for _, o := range r.Result.Outcomes {
		claim(o.ID, slices.Contains(r.Result.Unpark, o.ID))
	}
	for _, w := range r.Result.Park {
		claim(w.ID, false)
	}
	if clash {
		c.seen("id known to the store alone")
		c.restart()
		maps.Copy(c.looked, c.ids)
		return false
	}
	for _, w := range r.Result.Park {
		c.parked = append(c.parked, &storedWait{env: w.Envelope.Clone(), seq: w.Seq, parkedAt: w.ParkedAt, deadline: w.Deadline})
		c.ids[w.ID] = aggregate.Fact{Standing: aggregate.Parked, Stream: w.Stream, Hash: w.Hash}
	}
	for _, w := range r.Result.Extend {
		row := c.rowOf(w.ID)
		if claimed[w.ID] || w.Deadline <= row.deadline {
			panic("not extended: " + w.ID.String())
		}
		claimed[w.ID], row.deadline = true, w.Deadline
	}
	for _, id := range r.Result.Unpark {
		row := c.rowOf(id)
		c.parked = slices.DeleteFunc(c.parked, func(w *storedWait) bool { return w == row })
		delete(c.ids, id)
	}
	for _, o := range r.Result.Outcomes {
		c.keep(o)
	}
	for stream, s := range c.stored {
		// The state is kept now and then; the events after it are folded by whoever loads it.
		if inst := c.instances[stream]; inst != nil && len(s.tail) > 4 && inst.Head.Version == s.head.Version {
			s.state, s.stateVersion, s.tail = slices.Clone(inst.State()), inst.Head.Version, nil
		}
	}
	c.answers = append(c.answers, r.Result.Answers...)
	c.failed = append(c.failed, r.Result.Failures...)
	return true
}

func (c *counter) keep(o *commands.Outcome) {
	if _, twice := c.ids[o.ID]; twice {
		panic("a second outcome of " + o.ID.String())
	}
	c.log = append(c.log, o)
	o.Position = uint64(len(c.log))
	fact := aggregate.Fact{Standing: aggregate.Rejected, Stream: o.Stream, Hash: o.Hash, Ticket: o.Ticket, Root: o.Root, RootReason: o.RootReason}
	if o.Landed() {
		fact = aggregate.Fact{Standing: aggregate.Landed, Stream: o.Stream, Hash: o.Hash, Version: o.Version}
		s := c.stored[o.Stream]
		if s == nil {
			s = &storedStream{}
			c.stored[o.Stream] = s
		}
		s.head = aggregate.Head{Version: o.Version, Action: o.ID, Position: o.Position, At: o.At, Session: o.Session,
			ByAny: o.Policy == commands.PolicyAny}
		s.tail = append(s.tail, o.Events...)
	}
	c.ids[o.ID] = fact
}

func (c *counter) rowOf(id commands.ID) *storedWait {
	for _, w := range c.parked {
		if w.env.ID == id {
			return w
		}
	}
	panic(fmt.Sprintf("%s is not in the parking lot", id))
}
