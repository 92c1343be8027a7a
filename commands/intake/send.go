package intake

import (
	"context"
	"time"

	"github.com/ticketed/doorman/commands"
)

// send hands over every command that was not refused and waits until it is known of each whether it was
// accepted, or until that has taken too long.
func (in *Intake) send(req *request) {
	away := in.config.Ready != nil && in.config.Ready() != nil
	for _, it := range req.items {
		if away && it.refused == nil {
			it.refuse(commands.Unavailable, "commands cannot be judged at the moment")
		}
		if it.refused != nil {
			continue
		}
		req.sending, req.envs = append(req.sending, it), append(req.envs, &it.env)
		trace := it.env.TraceParent
		it.env = commands.Seal(it.env.Command, req.began)
		it.env.TraceParent = trace
		if req.waiting {
			it.waiter, it.waits = in.config.Register(it.env.ID, it.env.Hash)
			req.waiting = it.waits
		}
	}
	if len(req.sending) == 0 {
		req.waiting = false
		return
	}
	req.mark = in.config.Mark()
	req.unheard.Store(int32(len(req.sending))) //nolint:gosec // bounded by Limits.Array
	if req.array {
		in.config.SendAll(req.envs, req.doneAll)
	} else {
		in.config.Send(req.envs[0], req.done)
	}
	req.timer.Reset(in.config.AcceptWithin)
	select {
	case <-req.confirmed:
		req.timer.Stop()
	case <-req.timer.C:
		in.giveUp(req)
	}
}

// giveUp takes back what it can of those of which nothing was heard in time, so that their senders need not
// be told that their fate is unknown.
func (in *Intake) giveUp(req *request) {
	if in.config.Withdraw != nil {
		var open []*commands.Envelope
		for _, it := range req.sending {
			if it.fate.Load() == unanswered {
				open = append(open, &it.env)
			}
		}
		in.config.Withdraw(open...)
	}
	select {
	case <-req.confirmed: // the last one was taken back, or was heard of after all
	default:
		req.abandoned = true
	}
}

// settle finds out, for every command that was accepted, what is known of its outcome, and waits for it
// where the client asked for that.
func (in *Intake) settle(ctx context.Context, req *request) {
	p := patience{parent: ctx, until: req.began.Add(time.Duration(req.wait) * time.Second)}
	defer p.end()
	for _, it := range req.sending {
		switch it.fate.Load() {
		case unanswered:
			it.refuse(commands.FateUnknown, "it was handed over, but not confirmed in time")
			it.refused.Instance = address(it.env.ID)
		case failed:
			it.refuse(in.config.Refusal(it.err), "")
		default:
			in.find(req, it, &p)
		}
		if it.waits {
			it.waiter.Close()
		}
	}
}

const conflictDetail = "another command was sent with this id before: another stream, type, ticket or policy, or other bytes of data"

// find looks for the outcome of one accepted command.
func (in *Intake) find(req *request, it *item, p *patience) {
	var outcome *commands.Outcome
	var conflict bool
	if !it.waits {
		conflict = in.config.Conflicted(req.mark, it.env.ID, it.env.Hash)
	} else if outcome, conflict = it.waiter.Told(); outcome == nil && !conflict && req.waiting && req.wait > 0 {
		// An error says that the outcome is not known in time, which is an answer too. A store that
		// cannot be read is the register's to report.
		outcome, conflict, _ = it.waiter.Wait(p.context())
	}
	switch {
	case conflict:
		it.refuse(commands.IDConflict, conflictDetail)
	case outcome != nil:
		view, err := in.config.Tell(p.parent, outcome)
		if err != nil {
			in.config.Log.Warn("cannot tell an outcome", "command_id", it.env.ID.String(), "stream", it.env.Stream.String(), "err", err)
			return
		}
		it.view = view
	}
}

// patience is the time a client is willing to wait, a context only once it is needed.
type patience struct {
	parent context.Context //nolint:containedctx // lives as long as the request it belongs to
	until  time.Time
	ctx    context.Context //nolint:containedctx // as above
	cancel context.CancelFunc
}

func (p *patience) context() context.Context {
	if p.ctx == nil {
		p.ctx, p.cancel = context.WithDeadline(p.parent, p.until)
	}
	return p.ctx
}

func (p *patience) end() {
	if p.cancel != nil {
		p.cancel()
	}
}
