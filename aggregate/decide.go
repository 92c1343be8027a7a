package aggregate

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/ticketed/doorman/commands"
)

// decide runs the type's code: its judgement, the fold of the events it gave, and the encoding of the
// state after them. The state is folded from the events as they will be stored, so that a replay gives
// the same bytes.
func (r *Round) decide(inst *Instance, env *commands.Envelope) (events []commands.Event, state any, encoded []byte, err error) {
	if err = r.broken(env, Admit); err != nil {
		return nil, nil, nil, err
	}
	if r.Barred != nil {
		if cause, barred := r.Barred(env); barred {
			return nil, nil, nil, errors.New(cause)
		}
	}
	if inst.fault != nil {
		return nil, nil, nil, inst.fault
	}
	err = r.Guard.run(env, func() error {
		if events, err = inst.Type.Decide(inst.state, env.Type, env.Data); err != nil || len(events) == 0 {
			state, encoded = inst.state, inst.encoded
			return err
		}
		if len(events) > r.Limits.Events {
			return fmt.Errorf("%d events of one command, %d at most", len(events), r.Limits.Events)
		}
		state = inst.state
		for _, event := range events {
			if state, err = inst.Type.Evolve(state, event); err != nil {
				return fmt.Errorf("apply %s: %w", event.Type, err)
			}
		}
		if encoded, err = inst.Type.EncodeState(state); err != nil {
			return fmt.Errorf("encode the state: %w", err)
		}
		return nil
	})
	return events, state, encoded, err
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

// explain says in a sentence why a ticket was turned away.
func (r *Round) explain(inst *Instance, q *Question, reason commands.Reason) string {
	switch reason {
	case commands.StaleTicket:
		return "events were appended after the action its ticket names; the stream is at version " +
			strconv.FormatUint(inst.Head.Version, 10)
	case commands.SelfTicket:
		return "its ticket is its own id"
	case commands.PredecessorRejected:
		return afterRejection(&q.Named)
	case commands.TicketNotCurrent:
		return "its ticket is not valid now; the stream is at version " +
			strconv.FormatUint(inst.Head.Version, 10)
	case commands.ParkingFull:
		return "its predecessor has not arrived, and " + fullness(q.Room, r.Limits)
	}
	return ""
}

func afterRejection(named *Fact) string {
	return "the command it follows was rejected: " + string(named.RootReason)
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
