package aggregate

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/ticketed/doorman/commands"
)

// Result is what one round of judging came to, in the order it happened. The worker commits it as one
// transaction and then shows it to observers.
type Result struct {
	Outcomes []*commands.Outcome
	Park     []*Waiting    // newly parked, and still so at the end of the round
	Extend   []*Waiting    // parked in an earlier round, deadline moved
	Unpark   []commands.ID // parked in an earlier round, settled now; their outcomes are in Outcomes
	Answers  []Answer
	Failures []Failure
}

// Answer is what a single sender is told without anything being remembered: the earlier outcome again,
// or that the id is taken by another command.
type Answer struct {
	Ruling  Ruling // Repeat or Conflict
	ID      commands.ID
	Hash    commands.Hash // of the payload that this sender sent
	Session string        // the sender's
	ReplyTo string        // where it wants to be answered, empty for nowhere
	// CorrelationID is what it calls its request there.
	CorrelationID string
}

// Failure is a command whose aggregate code broke.
type Failure struct {
	Envelope *commands.Envelope
	Cause    string // the error or panic, with the stack
}

// Facts is what is known of command ids beyond the instances at hand: what was read from the store for
// this round, and what earlier rounds came to that are not committed yet.
type Facts interface {
	// Fact tells what is known; ok is false when nobody has looked.
	Fact(id commands.ID) (fact Fact, ok bool)
	// Learn records what became of an id in this round.
	Learn(id commands.ID, fact Fact)
}

// Progress says how far a command was taken.
type Progress uint8

// The answers of [Round.Take].
const (
	Taken     Progress = iota // judged; the result holds what came of it
	NeedFacts                 // nothing happened; look up Round.Need and take it again
	Deferred                  // nothing happened; the round is full, take it in the next one
)

// Round judges a batch of commands as if one by one in arrival order, without any I/O. What it comes to
// gathers in Result; the instances it changed are speculative until that is committed.
type Round struct {
	Now    time.Time
	Limits *Limits
	Facts  Facts
	Lot    Lot
	// Clock is the working time of the lane of a stream, by which deadlines are counted.
	Clock func(commands.Stream) time.Duration
	// Broken, when not nil, tells of commands known to break the aggregate's code or the commit, with
	// the cause: they end as failed without being run.
	Broken func(*commands.Envelope) (cause string, broken bool)
	// Guard, when not nil, sees which code of which type is being run.
	Guard *Guard

	Result Result
	// Need are the ids that NeedFacts was about.
	Need []commands.ID
}

// Full tells that the round takes no further command: what it came to should be committed first.
func (r *Round) Full() bool {
	return len(r.Result.Outcomes)+len(r.Result.Park)+len(r.Result.Answers) >= r.Limits.Round
}

// Take judges one command of the instance's stream, and all that its outcome releases or rejects.
func (r *Round) Take(inst *Instance, env *commands.Envelope) Progress {
	if !r.Resume(inst) || r.Full() {
		return Deferred
	}
	q := Question{
		ID: env.ID, Ticket: env.Ticket, Policy: env.Policy, Session: env.Session,
		Now: r.Now, Window: inst.Type.Settings().SessionWindow, Head: inst.Head,
	}
	if !r.inform(&q, inst, env) {
		return NeedFacts
	}
	var members []*Waiting
	if q.Named.Standing == Parked {
		members = inst.loop(env.ID, env.Ticket)
		q.Closes = members != nil
	}
	switch verdict := Judge(&q); verdict.Ruling {
	case Repeat, Conflict:
		r.answer(verdict.Ruling, env)
	case Park:
		r.park(inst, env)
	case Reject:
		for _, w := range members {
			inst.enqueue(w, Fact{Standing: Rejected, Root: verdict.Root, RootReason: verdict.RootReason}, commands.TicketCycle, true)
		}
		r.reject(inst, env, verdict, r.explain(inst, &q, verdict.Reason), false)
	case Admit:
		r.admit(inst, env)
	}
	r.drain(inst)
	return Taken
}

// Resume goes on with what a full round left over; it reports whether nothing is left.
func (r *Round) Resume(inst *Instance) bool {
	if len(inst.work) > 0 {
		r.drain(inst)
	}
	return len(inst.work) == 0
}

// Expire rejects a waiting command whose deadline has passed, and all that waits on it. What was
// released meanwhile, or has been given more time, stays.
func (r *Round) Expire(inst *Instance, id commands.ID) {
	w := inst.parked[id]
	if w == nil || w.released || w.Deadline > r.Clock(inst.Stream) {
		return
	}
	r.rejectWaiting(inst, w, commands.PredecessorMissing, "the command it follows ("+w.Ticket.String()+") did not arrive in time")
}

// RejectParked takes a waiting command off at an operator's word, and all that waits on it. It reports
// whether the command was waiting.
func (r *Round) RejectParked(inst *Instance, id commands.ID, detail string) bool {
	w := inst.parked[id]
	if w == nil || w.released {
		return false
	}
	r.rejectWaiting(inst, w, commands.RejectedByOperator, detail)
	return true
}

func (r *Round) rejectWaiting(inst *Instance, w *Waiting, reason commands.Reason, detail string) {
	r.unpark(inst, w)
	r.reject(inst, &w.Envelope, Verdict{Ruling: Reject, Reason: reason, Root: w.ID, RootReason: reason}, detail, false)
	r.drain(inst)
}

// inform fills in what is known of the command's own id and of its ticket. On the happy path, where the
// ticket is the head, it asks nobody: the store refuses an id that is known already, and the round is
// then judged again with the facts at hand. It reports false when facts must be looked up first.
func (r *Round) inform(q *Question, inst *Instance, env *commands.Envelope) bool {
	if w := inst.parked[env.ID]; w != nil {
		q.Own = sameOr(w.Hash == env.Hash)
		return true
	}
	own, known := r.Facts.Fact(env.ID)
	if own.Standing != Unheard {
		q.Own = sameOr(own.Hash == env.Hash)
		return true
	}
	if env.Policy == commands.PolicyAny || env.Ticket == inst.Head.Action && env.Ticket != commands.None ||
		env.Ticket == commands.Genesis && inst.Head.Version == 0 {
		q.Named = inst.named(env.Ticket, nobody)
		return true
	}
	if !known {
		r.Need = append(r.Need, env.ID)
	}
	q.Named = inst.named(env.Ticket, func(ticket commands.ID) Fact {
		fact, found := r.Facts.Fact(ticket)
		if !found && ticket != env.ID {
			r.Need = append(r.Need, ticket)
			known = false
		}
		return fact
	})
	q.Room = room(r.Lot, inst, env.Session, r.Limits)
	return known
}

func nobody(commands.ID) Fact { return Fact{} }

func sameOr(same bool) Own {
	if same {
		return OwnSame
	}
	return OwnDifferent
}

func (r *Round) answer(ruling Ruling, env *commands.Envelope) {
	r.Result.Answers = append(r.Result.Answers, Answer{Ruling: ruling, ID: env.ID, Hash: env.Hash,
		Session: env.Session, ReplyTo: env.ReplyTo, CorrelationID: env.CorrelationID})
}

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
	r.Result.Park = append(r.Result.Park, w)
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

// drain settles what has been released or must be rejected, in order, until nothing is left or the
// round is full. When the queue is empty and the head has moved, the waiting commands under
// PolicySession are judged again, the one parked first first.
func (r *Round) drain(inst *Instance) {
	for {
		for len(inst.work) > 0 {
			if r.Full() {
				return
			}
			next := inst.work[0]
			inst.work[0] = task{}
			inst.work = inst.work[1:]
			r.settle(inst, next)
		}
		inst.work = nil
		if !inst.moved || !r.privilege(inst) {
			inst.moved = false
			return
		}
	}
}

// privilege puts the first waiting command that its session's last action lets in at the end of the
// queue, and reports whether there was one.
func (r *Round) privilege(inst *Instance) bool {
	if inst.sessions == 0 {
		return false
	}
	for _, w := range inst.sessionWaiting() {
		q := r.question(inst, w, inst.named(w.Ticket, nobody))
		if Judge(&q).Ruling == Admit {
			inst.enqueue(w, q.Named, "", false)
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
		r.reject(inst, &w.Envelope, Verdict{Reason: t.reason, Root: t.named.Root, RootReason: t.named.RootReason},
			cascadeDetail(t), t.cascade)
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

func cascadeDetail(t task) string {
	if t.reason == commands.TicketCycle {
		return "it waits on a command that waits on it"
	}
	return "the command it follows was rejected: " + string(t.named.RootReason)
}

// reject records a rejection and lines up all that waited on the command, to be rejected with it.
func (r *Round) reject(inst *Instance, env *commands.Envelope, v Verdict, detail string, cascaded bool) {
	o := r.outcome(inst, env)
	o.Reason, o.Detail, o.Root, o.RootReason, o.Cascaded = v.Reason, detail, v.Root, v.RootReason, cascaded
	fact := Fact{Standing: Rejected, Stream: inst.Stream, Hash: env.Hash, Ticket: env.Ticket, Root: v.Root, RootReason: v.RootReason}
	r.record(o, fact)
	for _, w := range inst.waiting[env.ID] {
		inst.enqueue(w, fact, commands.PredecessorRejected, true)
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
	for _, w := range inst.waiting[env.ID] {
		inst.enqueue(w, fact, "", false)
	}
}

// decide runs the type's code: its judgement, the fold of the events it gave, and the encoding of the
// state after them. The state is folded from the events as they will be stored, so that a replay gives
// the same bytes.
func (r *Round) decide(inst *Instance, env *commands.Envelope) (events []commands.Event, state any, encoded []byte, err error) {
	if r.Broken != nil {
		if cause, broken := r.Broken(env); broken {
			return nil, nil, nil, errors.New(cause)
		}
	}
	if inst.fault != nil {
		return nil, nil, nil, inst.fault
	}
	r.Guard.enter(env)
	defer r.Guard.leave(env)
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
	}()
	events, err = inst.Type.Decide(inst.state, env.Type, env.Data)
	if err != nil || len(events) == 0 {
		return nil, inst.state, inst.encoded, err
	}
	if len(events) > r.Limits.Events {
		return nil, nil, nil, fmt.Errorf("%d events of one command, %d at most", len(events), r.Limits.Events)
	}
	state = inst.state
	for _, event := range events {
		if state, err = inst.Type.Evolve(state, event); err != nil {
			return nil, nil, nil, fmt.Errorf("apply %s: %w", event.Type, err)
		}
	}
	if encoded, err = inst.Type.EncodeState(state); err != nil {
		return nil, nil, nil, fmt.Errorf("encode the state: %w", err)
	}
	return events, state, encoded, nil
}

// turnDown rejects a command that the aggregate's own judgement did not let land.
func (r *Round) turnDown(inst *Instance, env *commands.Envelope, err error) {
	verdict := Verdict{Ruling: Reject, Root: env.ID}
	var (
		refusal *Refusal
		invalid *InvalidError
		code    string
		detail  = err.Error()
	)
	switch {
	case errors.As(err, &refusal):
		verdict.Reason, code, detail = commands.Refused, refusal.Code, refusal.Message
	case errors.As(err, &invalid):
		verdict.Reason = commands.Invalid
	case errors.Is(err, ErrUnknownCommand):
		verdict.Reason, detail = commands.UnknownCommand, "the type "+inst.Stream.Type+" has no command "+env.Type
	default:
		verdict.Reason, detail = commands.Failed, "the code of the type "+inst.Stream.Type+" broke on it; an operator can see the cause"
		r.Result.Failures = append(r.Result.Failures, Failure{Envelope: env, Cause: err.Error()})
		// Broken code may have changed the state in place.
		if inst.fault == nil {
			inst.refold(nil, r.Guard)
		}
	}
	verdict.RootReason = verdict.Reason
	r.reject(inst, env, verdict, detail, false)
	r.Result.Outcomes[len(r.Result.Outcomes)-1].Refusal = code
}

func (r *Round) outcome(inst *Instance, env *commands.Envelope) *commands.Outcome {
	return &commands.Outcome{
		ID: env.ID, Stream: env.Stream, Type: env.Type, Ticket: env.Ticket, Policy: env.Policy,
		Session: env.Session, Actor: env.Actor, Hash: env.Hash, At: r.Now, Version: inst.Head.Version,
		ReplyTo: env.ReplyTo, CorrelationID: env.CorrelationID, TraceParent: env.TraceParent,
	}
}

func (r *Round) record(o *commands.Outcome, fact Fact) {
	r.Result.Outcomes = append(r.Result.Outcomes, o)
	r.Facts.Learn(o.ID, fact)
}

// explain says in a sentence why a ticket was turned away.
func (r *Round) explain(inst *Instance, q *Question, reason commands.Reason) string {
	switch reason {
	case commands.StaleTicket:
		return "events were appended after the action its ticket names; the stream is at version " + strconv.FormatUint(inst.Head.Version, 10)
	case commands.SelfTicket:
		return "its ticket is its own id"
	case commands.PredecessorRejected:
		return "the command it follows was rejected: " + string(q.Named.RootReason)
	case commands.TicketCycle:
		return "it waits on a command that waits on it"
	case commands.TicketNotCurrent:
		return "its ticket is not valid now; the stream is at version " + strconv.FormatUint(inst.Head.Version, 10)
	case commands.ParkingFull:
		return "its predecessor has not arrived, and " + fullness(q.Room, r.Limits)
	}
	return ""
}

func fullness(room Room, limits *Limits) string {
	switch room {
	case RoomStreamFull:
		return strconv.Itoa(limits.ParkedPerStream) + " commands wait on this stream already"
	case RoomSessionFull:
		return strconv.Itoa(limits.ParkedPerSession) + " commands of this session wait already"
	}
	return "the server holds no more than " + strconv.Itoa(limits.Parked) + " waiting commands"
}

// Finish ends the round: what was parked and settled within it was never parked for anybody else.
func (r *Round) Finish() {
	extended := map[*Waiting]bool{}
	r.Result.Park = slices.DeleteFunc(r.Result.Park, func(w *Waiting) bool { return w.settled })
	r.Result.Extend = slices.DeleteFunc(r.Result.Extend, func(w *Waiting) bool {
		again := w.settled || w.fresh || extended[w]
		extended[w] = true
		return again
	})
	// The result is read while the next round may already move deadlines: it keeps copies.
	for i, w := range r.Result.Park {
		w.fresh = false
		shown := *w
		r.Result.Park[i] = &shown
	}
	for i, w := range r.Result.Extend {
		shown := *w
		r.Result.Extend[i] = &shown
	}
}
