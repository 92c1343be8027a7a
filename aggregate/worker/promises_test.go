package worker_test

import (
	"bytes"
	"slices"
	"strconv"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/bus/frame"
	"github.com/ticketed/doorman/commands"
)

// check holds the log against the promises of DESIGN section 5, using nothing but the log and what was
// sent.
func (w *world) check() {
	sent := map[commands.ID]map[commands.Hash]bool{}
	for _, env := range w.crowd.sent {
		if sent[env.ID] == nil {
			sent[env.ID] = map[commands.Hash]bool{}
		}
		sent[env.ID][env.Hash] = true
	}
	streams := map[commands.Stream]*history{}
	outcomes := map[commands.ID]int{}
	for i, o := range w.store.log {
		if o.Position != uint64(i+1) {
			w.t.Errorf("promise 6: %s has position %d in place of %d", short(o.ID), o.Position, i+1)
		}
		outcomes[o.ID]++
		h := streams[o.Stream]
		if h == nil {
			h = &history{actions: map[commands.ID]uint64{}, rejected: map[commands.ID]*commands.Outcome{}}
			streams[o.Stream] = h
		}
		if problem := h.judge(o); problem != "" {
			w.t.Errorf("%s on %s in %s, %s at version %d: %s", short(o.ID), short(o.Ticket), o.Stream.ID, o.Reason, o.Version, problem)
		}
		h.append(o)
	}
	for id := range sent {
		if n := outcomes[id]; n != 1 && !w.stolen[id] || n > 1 {
			w.t.Errorf("promises 1 and 3: %s has %d outcomes", short(id), n)
		}
	}
	dead := 0
	for _, letter := range w.store.dead {
		if letter.Reason == commands.Failed {
			dead++
		}
	}
	if dead < w.count(commands.Failed) {
		w.t.Errorf("%d dead letters of %d failures", dead, w.count(commands.Failed))
	}
	for stream, h := range streams {
		w.checkStored(stream, h)
	}
}

func (w *world) count(reason commands.Reason) (n int) {
	for _, o := range w.store.log {
		if o.Reason == reason {
			n++
		}
	}
	return n
}

// checkStored: heads and states are those of the log, whatever was undone on the way (promises 7, 10).
func (w *world) checkStored(stream commands.Stream, h *history) {
	record := w.store.streams[stream]
	if record.Head.Version != h.version || record.Head.Action != h.last {
		w.t.Errorf("promise 7: %s is at version %d after %s by the log, at %d after %s by its head", stream.ID,
			h.version, short(h.last), record.Head.Version, short(record.Head.Action))
	}
	state, _ := strconv.Atoi(string(record.State))
	for _, event := range record.Tail {
		state = simFold(state, event)
	}
	if state != h.state {
		w.t.Errorf("promise 10: the state of %s is %d by its events, %d as stored", stream.ID, h.state, state)
	}
}

// history is one stream as the log tells it so far.
type history struct {
	version  uint64
	state    int
	last     commands.ID
	actions  map[commands.ID]uint64 // the version after each
	rejected map[commands.ID]*commands.Outcome
}

func (h *history) append(o *commands.Outcome) {
	if !o.Landed() {
		h.rejected[o.ID] = o
		return
	}
	h.version, h.last = o.Version, o.ID
	h.actions[o.ID] = o.Version
	for _, event := range o.Events {
		h.state = simFold(h.state, event)
	}
}

// judge says what is untrue about an outcome; nothing, if all is well (promises 2 and 4).
func (h *history) judge(o *commands.Outcome) string {
	if o.Version != h.version+uint64(len(o.Events)) {
		return "promise 2: the version before it is " + strconv.FormatUint(h.version, 10)
	}
	after, known := h.actions[o.Ticket]
	stale := known && after < h.version || o.Ticket == commands.Genesis && h.version > 0
	valid := known && after == h.version || o.Ticket == commands.Genesis && h.version == 0
	before := h.rejected[o.Ticket]
	root := o.Root == o.ID && o.RootReason == o.Reason
	truth := func(is bool) string {
		if !is {
			return "promise 4: that is not true"
		}
		return ""
	}
	switch o.Reason {
	case "", commands.Refused, commands.UnknownCommand, commands.Failed, commands.Invalid:
		if o.Type == "unparkable" && o.Reason == commands.Failed {
			return truth(!known && before == nil && o.Ticket != commands.Genesis && root) // where it would have been parked
		}
		if checked := o.Policy == commands.PolicyTicket || o.Policy == commands.PolicyStrict; checked && !valid {
			return "promise 2: its ticket was not valid"
		}
		return truth(brokenBy(o) && (o.Landed() || root))
	case commands.StaleTicket:
		return truth(stale && root)
	case commands.TicketNotCurrent:
		return truth(!valid && root && o.Policy == commands.PolicyStrict)
	case commands.PredecessorRejected:
		return truth(before != nil && before.Root == o.Root && before.RootReason == o.RootReason)
	case commands.PredecessorMissing, commands.RejectedByOperator, commands.ParkingFull:
		return truth(!known && before == nil && o.Ticket != commands.Genesis && root)
	case commands.SelfTicket:
		return truth(o.Ticket == o.ID && root)
	case commands.TicketCycle:
		return truth(root && !o.Cascaded || o.Cascaded && h.rejected[o.Root].Reason == commands.TicketCycle)
	}
	return "no such reason"
}

// brokenBy tells whether a command's own code, or its row, can have led to its end.
func brokenBy(o *commands.Outcome) bool {
	switch o.Type {
	case "panic", "spoil", "endless", "poison":
		return o.Reason == commands.Failed
	case "refuse":
		return o.Reason == commands.Refused
	case "juggle":
		return o.Reason == commands.UnknownCommand
	}
	return o.Landed()
}

func (m *memory) standing(id commands.ID) aggregate.Standing {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known[id].Standing
}

func (m *memory) at(position uint64) *commands.Outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	if position == 0 || position > uint64(len(m.log)) {
		return nil
	}
	return m.log[position-1]
}

func (m *memory) waiting() (all []commands.Command) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.parked {
		all = append(all, w.Command)
	}
	return all
}

// buried tells whether an order has become a dead letter.
func (m *memory) buried(order *commands.Envelope) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.dead, func(letter store.DeadLetter) bool {
		return bytes.Equal(letter.Envelope.Data, frame.Append(nil, order))
	})
}

func (m *memory) deadlines() map[commands.ID]time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[commands.ID]time.Duration{}
	for _, w := range m.parked {
		all[w.ID] = w.Deadline
	}
	return all
}
