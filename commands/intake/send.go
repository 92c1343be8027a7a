package intake

import (
	"context"
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/vetting"
)

// send hands over every command that was not refused and waits until it is known of each whether it was
// accepted, or until that has taken too long.
func (in *Intake) send(req *request) {
	away := in.config.Ready != nil && in.config.Ready() != nil
	for _, it := range req.items {
		if away && it.Refused == nil {
			it.Refuse(commands.Unavailable, "commands cannot be judged at the moment")
		}
		if it.Refused != nil {
			continue
		}
		req.sending, req.envs = append(req.sending, it), append(req.envs, &it.Env)
		it.Seal(req.began)
		if req.waiting {
			it.waiter, it.waits = in.config.Register(it.Env.ID, it.Env.Hash)
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
	if !in.overdue.await(req) {
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
				open = append(open, &it.Env)
			}
		}
		in.config.Withdraw(open...)
	}
	select {
	case <-req.signals: // the last one was taken back, or was heard of after all
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
			it.Refuse(commands.FateUnknown, "it was handed over, but not confirmed in time")
			it.Refused.Instance = address(it.Env.ID)
		case failed:
			it.Refuse(in.config.Refusal(it.err), "")
		default:
			in.find(req, it, &p)
		}
		if it.waits {
			it.waiter.Close()
		}
	}
}

// find looks for the outcome of one accepted command.
func (in *Intake) find(req *request, it *item, p *patience) {
	var outcome *commands.Outcome
	var conflict bool
	if !it.waits {
		conflict = in.config.Conflicted(req.mark, it.Env.ID, it.Env.Hash)
	} else if outcome, conflict = it.waiter.Told(); outcome == nil && !conflict && req.waiting && req.wait > 0 {
		// An error says that the outcome is not known in time, which is an answer too. A store that
		// cannot be read is the register's to report.
		outcome, conflict, _ = it.waiter.Wait(p.context())
	}
	switch {
	case conflict:
		it.Refuse(commands.IDConflict, vetting.ConflictDetail)
	case outcome != nil && req.told >= mostTold:
		it.untold = outcome
	case outcome != nil:
		in.tell(p.parent, it, outcome)
		req.told += sizeOf(&it.view)
	}
}

// mostTold is how much of what outcomes tell is in memory at once, about, in bytes: a rejection may tell much, and
// an array may have many of them.
const mostTold = 4 << 20

func (in *Intake) tell(ctx context.Context, it *item, outcome *commands.Outcome) {
	view, err := in.config.Tell(ctx, outcome)
	if err != nil {
		in.config.Log.Warn("cannot tell an outcome", "command_id", it.Env.ID.String(), "stream", it.Env.Stream.String(), "err", err)
		return
	}
	it.view = view
}

func sizeOf(view *commands.CommandView) int {
	size := len(view.State)
	for i := range view.Missed {
		size += len(view.Missed[i].Data)
	}
	return size
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
