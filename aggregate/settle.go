package aggregate

import (
	"strings"

	"github.com/ticketed/doorman/commands"
)

// park holds a command. It waits at least as long as the one it waits on, and so does all that waits on
// it already.
func (r *Round) park(inst *Instance, env *commands.Envelope) {
	w := &Waiting{Envelope: env.Clone(), Seq: inst.nextSeq, ParkedAt: r.Now,
		Deadline: r.Clock(inst.Stream) + inst.Type.Settings().ParkFor}
	if predecessor := inst.parked[env.Ticket]; predecessor != nil {
		w.Deadline = max(w.Deadline, predecessor.Deadline)
	}
	w.fresh = true
	inst.hold(w)
	r.Lot.Parked(w)
	r.Facts.Learn(w.ID, Fact{Standing: Parked, Stream: inst.Stream, Hash: w.Hash})
	r.Result.Park = append(r.Result.Park, w)
	r.bytes += len(w.Data)
	for _, moved := range inst.extend(w) {
		r.Lot.Moved(moved)
		r.Result.Extend = append(r.Result.Extend, moved)
	}
}

func (r *Round) unpark(inst *Instance, w *Waiting) {
	inst.drop(w)
	w.settled = true
	r.Lot.Settled(w)
	if !w.fresh {
		r.Result.Unpark = append(r.Result.Unpark, w.ID)
	}
}

// drain settles what has been released or must be rejected, the one parked first first, until nothing is
// left or the round is full. When there is nothing left and the head has moved, the waiting commands
// under PolicySession are judged again, in the same order.
//
// So what comes next depends on nothing but what a store keeps: who goes on after a crash takes up the
// rest in the order in which it would have been taken up.
func (r *Round) drain(inst *Instance) {
	for {
		for len(inst.work) > 0 {
			if r.Full() {
				return
			}
			r.settle(inst, inst.next())
		}
		if !inst.moved || !r.privilege(inst) {
			inst.moved = false
			return
		}
	}
}

// privilege lines up the first waiting command that its session's last action lets in, and reports
// whether there was one.
func (r *Round) privilege(inst *Instance) bool {
	if inst.sessions == 0 {
		return false
	}
	for _, w := range inst.sessionWaiting() {
		q := r.question(inst, w, inst.named(w.Ticket, nobody))
		if Judge(&q).Ruling == Admit {
			inst.enqueue(w, q.Named)
			return true
		}
	}
	return false
}

func (r *Round) question(inst *Instance, w *Waiting, named Fact) Question {
	return Question{ID: w.ID, Ticket: w.Ticket, Policy: w.Policy, Session: w.Session, Now: r.Now,
		Window: inst.Type.Settings().SessionWindow, Head: inst.Head, Named: named}
}

// settle takes up a waiting command whose predecessor has been settled: it is judged anew, or rejected
// with what it waited on.
func (r *Round) settle(inst *Instance, t task) {
	w := t.waiting
	if t.named.Standing == Rejected {
		r.unpark(inst, w)
		r.reject(inst, &w.Envelope, Verdict{Reason: commands.PredecessorRejected, Root: t.named.Root, RootReason: t.named.RootReason},
			afterRejection(&t.named), true)
		return
	}
	q := r.question(inst, w, t.named)
	switch verdict := Judge(&q); verdict.Ruling {
	case Admit:
		r.unpark(inst, w)
		r.admit(inst, &w.Envelope)
	case Reject:
		r.unpark(inst, w)
		r.reject(inst, &w.Envelope, verdict, r.explain(inst, &q, verdict.Reason), false)
	default:
		// A session's privilege ended between being seen and being used: it goes on waiting.
		w.released = false
	}
}

// rejectLoop rejects a command that would close a loop, and all members of the loop with it. That is
// done within one round however full it is: a loop is no longer than the stream's bound, and the rest of
// a broken one could not be told from commands that merely waited on it.
func (r *Round) rejectLoop(inst *Instance, env *commands.Envelope, v Verdict, members []*Waiting) {
	const detail = "it waits on a command that waits on it"
	for _, w := range members {
		w.released = true
	}
	r.reject(inst, env, v, detail, false)
	for _, w := range members {
		r.unpark(inst, w)
		r.reject(inst, &w.Envelope, v, detail, true)
	}
}

// reject records a rejection and lines up all that waited on the command, to be rejected with it.
func (r *Round) reject(inst *Instance, env *commands.Envelope, v Verdict, detail string, cascaded bool) {
	o := r.outcome(inst, env)
	o.Reason, o.Detail, o.Root, o.RootReason, o.Cascaded = v.Reason, detail, v.Root, v.RootReason, cascaded
	fact := Fact{Standing: Rejected, Stream: inst.Stream, Hash: env.Hash, Ticket: env.Ticket, Root: v.Root, RootReason: v.RootReason}
	r.record(o, fact)
	for _, w := range inst.waiting[env.ID] {
		inst.enqueue(w, fact)
	}
}

// admit hands a command to the aggregate's own judgement.
func (r *Round) admit(inst *Instance, env *commands.Envelope) {
	events, state, encoded, err := r.decide(inst, env)
	if err != nil {
		r.turnDown(inst, env, err)
		return
	}
	o := r.outcome(inst, env)
	o.Events = events
	o.Version += uint64(len(events))
	inst.state, inst.encoded = state, encoded
	inst.Head = Head{Version: o.Version, Action: env.ID, At: r.Now, Session: inst.keptSession(env.Session),
		ByAny: env.Policy == commands.PolicyAny}
	inst.moved = true
	fact := Fact{Standing: Landed, Stream: inst.Stream, Hash: env.Hash, Version: o.Version}
	r.record(o, fact)
	r.Result.States[len(r.Result.States)-1] = encoded
	if len(events) > 0 {
		r.bytes += len(encoded)
	}
	for i := range events {
		r.bytes += len(events[i].Data)
	}
	for _, w := range inst.waiting[env.ID] {
		inst.enqueue(w, fact)
	}
}

// outcome begins the outcome of a command. It shares no memory with the envelope, whose texts are pieces of
// a whole frame: those who follow the log keep outcomes for long, and count them by their own size.
func (r *Round) outcome(inst *Instance, env *commands.Envelope) *commands.Outcome {
	o := &commands.Outcome{
		ID: env.ID, Stream: inst.Stream, Type: env.Type, Ticket: env.Ticket, Policy: env.Policy,
		Session: env.Session, Actor: env.Actor, Hash: env.Hash, At: r.Now, ReceivedAt: env.ReceivedAt, Version: inst.Head.Version,
		ReplyTo: env.ReplyTo, CorrelationID: env.CorrelationID, TraceParent: env.TraceParent, Via: env.Via,
	}
	detach(&o.Type, &o.Session, &o.Actor, &o.ReplyTo, &o.CorrelationID, &o.TraceParent, &o.Via)
	return o
}

// detach moves texts into memory of their own, all of them into one piece.
func detach(texts ...*string) {
	size := 0
	for _, text := range texts {
		size += len(*text)
	}
	var all strings.Builder
	all.Grow(size)
	for _, text := range texts {
		from := all.Len()
		all.WriteString(*text)
		*text = all.String()[from:]
	}
}

func (r *Round) record(o *commands.Outcome, fact Fact) {
	r.Result.Outcomes = append(r.Result.Outcomes, o)
	r.Result.States = append(r.Result.States, nil)
	r.Facts.Learn(o.ID, fact)
}
