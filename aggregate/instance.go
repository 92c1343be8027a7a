package aggregate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ticketed/doorman/commands"
)

// Instance is one stream as a worker holds it: its head, its folded state and the commands that wait on
// it. A [Round] changes it; it is not safe for use by several goroutines.
type Instance struct {
	Stream commands.Stream
	Type   Type
	Head   Head

	state   any    // the fold of all events
	encoded []byte // the same as JSON; nil while there is no event

	parked   map[commands.ID]*Waiting   // by their own id
	waiting  map[commands.ID][]*Waiting // by the ticket they wait on, in order of parking
	sessions int                        // how many of the parked came under PolicySession
	nextSeq  uint64
	work     []task // released or to be rejected, in order of parking; goes before any later arrival
	moved    bool   // the head changed since waiting commands under PolicySession were looked at
	fault    error  // the type's code cannot fold this history
	probe    *commands.Envelope
}

// task is a waiting command whose predecessor has been settled.
type task struct {
	waiting *Waiting
	named   Fact // what its ticket names by now
}

// Faulty is Restore for a stream whose history the type's code is known not to fold.
func Faulty(t Type, stream commands.Stream, head Head, parked []*Waiting, tickets func(commands.ID) Fact, cause string) *Instance {
	inst := &Instance{Stream: stream, Type: t, Head: head, fault: errors.New(cause)}
	inst.restoreParked(parked, tickets)
	return inst
}

// NewInstance holds a stream of which nothing is known yet.
func NewInstance(t Type, stream commands.Stream) *Instance {
	return &Instance{Stream: stream, Type: t, state: t.Initial()}
}

// Restore makes an instance of what a store knows: the state as of some version (nil before the first
// event), the events after it, and the parked commands in order of parking. tickets tells what the
// tickets of those are known to name, so that what had been released when a process died goes on.
//
// A history that the type's code cannot fold makes an instance all the same: tickets are judged as ever,
// and whatever would land ends as failed.
func Restore(t Type, stream commands.Stream, head Head, state []byte, tail []commands.Event,
	parked []*Waiting, tickets func(commands.ID) Fact, guard *Guard) *Instance {
	inst := &Instance{Stream: stream, Type: t, Head: head, encoded: state}
	inst.refold(tail, guard)
	inst.restoreParked(parked, tickets)
	return inst
}

// restoreParked holds what waits, and lines up what had been released.
func (inst *Instance) restoreParked(parked []*Waiting, tickets func(commands.ID) Fact) {
	for _, w := range parked {
		w.released, w.fresh, w.settled = false, false, false // a store may have kept what a round gave it
		inst.hold(w)
	}
	for _, w := range parked {
		if named := inst.named(w.Ticket, tickets); named.Standing == Landed || named.Standing == Rejected {
			inst.enqueue(w, named)
		}
	}
	inst.moved = true // maybe; looking again at who waits under PolicySession does no harm
}

// Fold is the state after the events, as JSON: from a kept state (nil: the initial one) onward. The guard may be nil.
func Fold(t Type, from []byte, events []commands.Event, guard *Guard) ([]byte, error) {
	inst := Instance{Type: t, encoded: from}
	if inst.refold(events, guard); inst.fault != nil {
		return nil, inst.fault
	}
	return inst.encoded, nil
}

// Pending tells whether released or cascading commands are left over from a full round, or may be from
// before it was restored.
func (inst *Instance) Pending() bool { return len(inst.work) > 0 || inst.moved && inst.sessions > 0 }

// ParkedCount is how many commands wait on the stream.
func (inst *Instance) ParkedCount() int { return len(inst.parked) }

// ParkedBytes is the size of the payloads that wait.
func (inst *Instance) ParkedBytes() int {
	total := 0
	for _, w := range inst.parked {
		total += len(w.Data)
	}
	return total
}

// State is the state at the head as JSON; nil while there is no event.
func (inst *Instance) State() []byte { return inst.encoded }

// refold makes the state anew from its encoded form and the events after that. Where the type's code
// breaks on it, the instance keeps the fault and lands nothing more. Each event is a run of its own under the
// guard: what tells code that does not end is one that takes long, not that there are many.
func (inst *Instance) refold(events []commands.Event, guard *Guard) {
	probe := guard.probe(inst)
	inst.fault = inst.fold(events, func(code func() error) error { return guard.run(probe, code) })
}

func (inst *Instance) fold(events []commands.Event, run func(code func() error) error) error {
	var state any
	err := run(func() (err error) {
		if inst.encoded == nil {
			state = inst.Type.Initial()
			return nil
		}
		if state, err = inst.Type.DecodeState(inst.encoded); err != nil {
			return fmt.Errorf("decode the state of %s: %w", inst.Stream, err)
		}
		return nil
	})
	var event commands.Event
	apply := func() (err error) {
		if state, err = inst.Type.Evolve(state, event); err != nil {
			return fmt.Errorf("apply %s to %s: %w", event.Type, inst.Stream, err)
		}
		return nil
	}
	for i := range events {
		if err != nil {
			return err
		}
		event = events[i]
		err = run(apply)
	}
	encoded := inst.encoded
	if err == nil && len(events) > 0 {
		err = run(func() (err error) {
			if encoded, err = inst.Type.EncodeState(state); err != nil {
				return fmt.Errorf("encode the state of %s: %w", inst.Stream, err)
			}
			return nil
		})
	}
	if err != nil {
		return err
	}
	inst.state, inst.encoded = state, encoded
	return nil
}

// hold adds a command to those that wait.
func (inst *Instance) hold(w *Waiting) {
	if inst.parked == nil {
		inst.parked = make(map[commands.ID]*Waiting)
		inst.waiting = make(map[commands.ID][]*Waiting)
	}
	inst.parked[w.ID] = w
	inst.waiting[w.Ticket] = append(inst.waiting[w.Ticket], w)
	if w.Policy == commands.PolicySession {
		inst.sessions++
	}
	inst.nextSeq = max(inst.nextSeq, w.Seq+1)
}

// drop takes a settled command off those that wait.
func (inst *Instance) drop(w *Waiting) {
	delete(inst.parked, w.ID)
	if w.Policy == commands.PolicySession {
		inst.sessions--
	}
	queue := inst.waiting[w.Ticket]
	for i := range queue {
		if queue[i] == w {
			queue = append(queue[:i:i], queue[i+1:]...)
			break
		}
	}
	if len(queue) == 0 {
		delete(inst.waiting, w.Ticket)
	} else {
		inst.waiting[w.Ticket] = queue
	}
}

// enqueue lines up a waiting command, since what it waited for has been settled.
func (inst *Instance) enqueue(w *Waiting, named Fact) {
	if w.released {
		return
	}
	w.released = true
	at, _ := slices.BinarySearchFunc(inst.work, w.Seq, func(t task, seq uint64) int { return cmp.Compare(t.waiting.Seq, seq) })
	inst.work = slices.Insert(inst.work, at, task{waiting: w, named: named})
}

// next takes the first command off the line.
func (inst *Instance) next() task {
	first := inst.work[0]
	inst.work = slices.Delete(inst.work, 0, 1)
	return first
}

// keptSession is a copy of the session's text that does not keep the frame it came in.
func (inst *Instance) keptSession(session string) string {
	if session == inst.Head.Session {
		return inst.Head.Session
	}
	return strings.Clone(session)
}

// named says what a ticket names on this stream.
func (inst *Instance) named(ticket commands.ID, known func(commands.ID) Fact) Fact {
	switch {
	case ticket == commands.Genesis || ticket == commands.None:
		return Fact{}
	case ticket == inst.Head.Action:
		return Fact{Standing: Landed, Stream: inst.Stream, Version: inst.Head.Version}
	}
	if w := inst.parked[ticket]; w != nil {
		return Fact{Standing: Parked, Stream: inst.Stream, Hash: w.Hash}
	}
	fact := known(ticket)
	if fact.Standing == Parked || fact.Stream != inst.Stream {
		// What waits here is in inst.parked; the rest is another stream's and none of our business.
		return Fact{}
	}
	return fact
}

// loop follows the chain that a command with this id and ticket would wait on, and returns the parked
// commands of it when it leads back to the id.
func (inst *Instance) loop(id, ticket commands.ID) []*Waiting {
	var members []*Waiting
	for w := inst.parked[ticket]; w != nil; w = inst.parked[w.Ticket] {
		members = append(members, w)
		if w.Ticket == id {
			return members
		}
	}
	return nil
}

// extend moves the deadlines of all that waits on id, directly or not, to at least that of w, and
// returns those that moved.
func (inst *Instance) extend(w *Waiting) []*Waiting {
	var moved []*Waiting
	frontier := []*Waiting{w}
	for len(frontier) > 0 {
		at := frontier[0]
		frontier = frontier[1:]
		for _, next := range inst.waiting[at.ID] {
			if next.Deadline < w.Deadline {
				next.Deadline = w.Deadline
				moved = append(moved, next)
				frontier = append(frontier, next)
			}
		}
	}
	return moved
}

// sessionWaiting lists the waiting commands under PolicySession in order of parking.
func (inst *Instance) sessionWaiting() []*Waiting {
	var all []*Waiting
	for _, w := range inst.parked {
		if w.Policy == commands.PolicySession && !w.released {
			all = append(all, w)
		}
	}
	slices.SortFunc(all, func(a, b *Waiting) int { return cmp.Compare(a.Seq, b.Seq) })
	return all
}
