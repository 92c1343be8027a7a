package worker

import (
	"fmt"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/bus/frame"
	"github.com/ticketed/doorman/commands"
)

// An operator's order comes over the bus as a command does, and is in the same hands: what was judged in a sitting
// that is undone is judged again, and its frame is acknowledged once that sitting is committed. So it may come twice,
// or when its command no longer waits, and nothing happens then.

// poisoned is an order that cannot be carried out. It becomes a dead letter.
type poisoned struct {
	env   *commands.Envelope
	lane  int
	cause string
}

// letter keeps the order as a frame, as one that could not be read is kept: it is no command, and must not be
// taken for one.
func (p *poisoned) letter(s *sitting) store.DeadLetter {
	cause := fmt.Sprintf("an operator's order about the command %s, by %.300q: %s", p.env.Ticket, p.env.Actor, p.cause)
	return store.DeadLetter{At: s.round.Now, Reason: commands.Malformed, Cause: cause,
		Envelope: &commands.Envelope{Command: commands.Command{Data: frame.Append(nil, p.env)}}}
}

// obey carries an order out. Only what is parked here is looked at: the rest of an order is whatever somebody put
// into a frame.
func (d *desk) obey(s *sitting, it item) aggregate.Progress {
	detail, err := it.env.OrderDetail()
	cause, faulty := d.blame.broken(it.env, aggregate.Admit)
	if err != nil {
		cause, faulty = err.Error(), true
	}
	log := d.w.cfg.Log.With("command_id", it.env.Ticket, "stream", it.env.Stream.String(), "by", it.env.Actor)
	if faulty {
		log.Error("an operator's order cannot be carried out; it becomes a dead letter", "err", cause)
		s.poisoned = append(s.poisoned, poisoned{it.env, it.from.lane, cause})
		return aggregate.Taken
	}
	was, progress := false, aggregate.Taken
	if d.parked.about(it.env) {
		if h, ok := d.cache.get(it.env.Stream); ok {
			s.touch(h)
			was, progress = s.round.RejectParked(h.Instance, it.env.Ticket, detail)
			if h.Pending() {
				d.resume = append(d.resume, h)
			}
		}
	}
	if !was && progress == aggregate.Taken {
		log.Info("an operator's order came when its command was not waiting")
	}
	return progress
}
