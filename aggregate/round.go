package aggregate

import (
	"errors"
	"slices"
	"time"

	"github.com/ticketed/doorman/commands"
)

// Result is what one round of judging came to, in the order it happened. The worker commits it as one
// transaction and then shows it to observers.
type Result struct {
	At       time.Time // when the round ended
	Outcomes []*commands.Outcome
	// States are the streams' states after each outcome that landed, as JSON, nil before the first event;
	// for those who watch commits, not stored. They do not change any more.
	States   [][]byte
	Park     []*Waiting    // newly parked, and still so at the end of the round
	Extend   []*Waiting    // parked in an earlier round, deadline moved
	Unpark   []commands.ID // parked in an earlier round, settled now; their outcomes are in Outcomes
	Answers  []Answer
	Failures []Failure
}

// Answer is what a single sender is told: the earlier outcome again, or that the id is taken by another command. It is
// no outcome, and nothing is remembered of it but whom to answer, until he is.
type Answer struct {
	Ruling  Ruling // Repeat or Conflict
	ID      commands.ID
	Stream  commands.Stream
	Hash    commands.Hash // of the payload that this sender sent
	Session string        // the sender's
	ReplyTo string        // where it wants to be answered, empty for nowhere
	// CorrelationID is what it calls its request there.
	CorrelationID string
	Via           string // the gateway that took it
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

// The answers of [Round.Take] and [Round.RejectParked].
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
	// Broken, when not nil, tells of commands known to break what the ruling asks for, and the cause:
	// Admit, the aggregate's code or the commit of their landing; Park, the commit of their parking. They
	// end as failed in place of it. Whatever else is ruled about them is ruled as ever.
	Broken func(*commands.Envelope, Ruling) (cause string, broken bool)
	// Barred, when not nil, tells of commands that must not be run at present, and why: they end as
	// failed.
	Barred func(*commands.Envelope) (cause string, barred bool)
	// Guard, when not nil, sees which code of which type is being run.
	Guard *Guard

	Result Result
	bytes  int // of it, about
	// Need are the ids that NeedFacts was about.
	Need []commands.ID
}

// Full tells that the round takes no further command: what it came to should be committed first.
func (r *Round) Full() bool {
	return len(r.Result.Outcomes)+len(r.Result.Park)+len(r.Result.Answers) >= r.Limits.Round ||
		r.Limits.RoundBytes > 0 && r.bytes >= r.Limits.RoundBytes
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
		r.answer(inst, verdict.Ruling, env)
	case Park:
		if err := r.broken(env, Park); err != nil {
			r.turnDown(inst, env, err)
		} else {
			r.park(inst, env)
		}
	case Reject:
		if verdict.Reason == commands.TicketCycle {
			r.rejectLoop(inst, env, verdict, members)
		} else {
			r.reject(inst, env, verdict, r.explain(inst, &q, verdict.Reason), false)
		}
	case Admit:
		r.admit(inst, env)
	}
	r.drain(inst)
	return Taken
}

// Resume goes on with what a full round left over; it reports whether nothing is left.
func (r *Round) Resume(inst *Instance) bool {
	if inst.Pending() {
		r.drain(inst)
	}
	return !inst.Pending()
}

// Expire rejects a waiting command whose deadline has passed, and all that waits on it. What was
// released meanwhile, or has been given more time, stays; so does everything when the round is full.
func (r *Round) Expire(inst *Instance, id commands.ID) {
	if !r.Resume(inst) || r.Full() {
		return
	}
	w := inst.parked[id]
	if w == nil || w.Deadline > r.Clock(inst.Stream) {
		return
	}
	r.rejectWaiting(inst, w, commands.PredecessorMissing, "the command it follows ("+w.Ticket.String()+") did not arrive in time")
}

// RejectParked takes a waiting command off at an operator's word, and all that waits on it. Like Take it goes after
// what had been released before, and is Deferred while that fills the round. was tells whether the command waited
// still.
func (r *Round) RejectParked(inst *Instance, id commands.ID, detail string) (was bool, progress Progress) {
	if !r.Resume(inst) || r.Full() {
		return false, Deferred
	}
	w := inst.parked[id]
	if w == nil {
		return false, Taken
	}
	r.rejectWaiting(inst, w, commands.RejectedByOperator, detail)
	return true, Taken
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
	r.Need = r.Need[:0]
	if w := inst.parked[env.ID]; w != nil {
		q.Own = sameOr(w.Hash == env.Hash)
		return true
	}
	own, known := r.Facts.Fact(env.ID)
	if own.Standing != Unheard {
		q.Own = sameOr(own.Hash == env.Hash)
		return true
	}
	again := env.ID == inst.Head.Action // whether it is the same command, the facts say
	if !again && (env.Policy == commands.PolicyAny || env.Ticket == inst.Head.Action && env.Ticket != commands.None ||
		env.Ticket == commands.Genesis && inst.Head.Version == 0) {
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

// broken says why what is ruled about a command cannot be done.
func (r *Round) broken(env *commands.Envelope, ruling Ruling) error {
	if r.Broken == nil {
		return nil
	}
	if cause, broken := r.Broken(env, ruling); broken {
		return errors.New(cause)
	}
	return nil
}

func nobody(commands.ID) Fact { return Fact{} }

func sameOr(same bool) Own {
	if same {
		return OwnSame
	}
	return OwnDifferent
}

// answer notes what a single sender is told; like an outcome it keeps nothing of the frame.
func (r *Round) answer(inst *Instance, ruling Ruling, env *commands.Envelope) {
	a := Answer{Ruling: ruling, ID: env.ID, Stream: inst.Stream, Hash: env.Hash,
		Session: env.Session, ReplyTo: env.ReplyTo, CorrelationID: env.CorrelationID, Via: env.Via}
	detach(&a.Session, &a.ReplyTo, &a.CorrelationID, &a.Via)
	r.Result.Answers = append(r.Result.Answers, a)
}

// Finish ends the round: what was parked and settled within it was never parked for anybody else.
func (r *Round) Finish() {
	r.Result.At = r.Now
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
		r.Result.Park[i] = r.shown(w)
	}
	for i, w := range r.Result.Extend {
		r.Result.Extend[i] = r.shown(w)
	}
}

func (r *Round) shown(w *Waiting) *Waiting {
	shown := *w
	shown.Until = r.Now.Add(w.Deadline - r.Clock(w.Stream))
	return &shown
}
