package worker

import (
	"context"
	"fmt"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/commands"
)

// A frame that keeps coming back may hold a command whose code ends the whole process, which no panic handler
// and no time-out catches: it runs out of memory or stack, or exits. Such frames are judged in smaller and
// smaller portions, each committed by itself while nothing else is judged, in the end command by command. Before
// one is judged alone it is noted; one that was noted by several processes, none of which lived to commit it,
// ends as failed.
//
// Most frames that come back twice are innocent: their lane was handed on twice, as when the database was away and the
// workers found each other gone. There may be hundreds of a few commands each, so a portion goes over several frames.

// mostTrials is how many processes may end over one command.
const mostTrials = 2

// portionOf is how many commands are judged at once, of frames that have come back so often.
func portionOf(returns int) (n int, careful bool) {
	switch {
	case returns < 2: // as after a worker was stopped, or lanes were shared out anew
		return 0, false
	case returns == 2:
		return 256, true
	case returns == 3:
		return 32, true
	}
	return 1, true
}

// portion is how much of the backlog may be judged next: up to the first frame that has to be judged with more care, or
// with less.
func (d *desk) portion() (n int, careful bool) {
	if len(d.backlog) == 0 {
		return 0, false
	}
	most, careful := portionOf(d.backlog[0].from.returns)
	for n < len(d.backlog) && (!careful || n < most) {
		if other, _ := portionOf(d.backlog[n].from.returns); other != most {
			break
		}
		n++
	}
	return n, careful
}

// alone tells whether something is being judged with care at the moment, and nothing else may be.
func (d *desk) alone() bool {
	return d.inflight != nil && d.inflight.alone || d.open != nil && d.open.alone
}

// try notes that the first command of the backlog is judged alone, if it is. It reports false when the store did
// not answer.
func (d *desk) try() bool {
	it := d.backlog[0]
	if most, _ := portionOf(it.from.returns); most > 1 || it.env == nil || d.w.cfg.Suspect == nil {
		return true
	}
	if !d.look([]commands.ID{it.env.ID}) {
		return false
	}
	if fact, _ := d.facts.Fact(it.env.ID); fact.Standing != aggregate.Unheard {
		return true // it is not run again
	}
	var trials int
	err := d.read(func(ctx context.Context) (err error) {
		trials, err = d.w.cfg.Suspect(ctx, it.env.ID)
		return err
	})
	if err != nil {
		d.lost("note a command that is judged alone", err)
		return false
	}
	if trials > mostTrials {
		cause := fmt.Sprintf("%d processes ended while they judged it alone", trials-1)
		d.w.cfg.Log.Error("a command ends the process that judges it; it ends as failed", "command_id", it.env.ID,
			"stream", it.env.Stream.String(), "type", it.env.Type, "err", cause)
		d.blame.neverEnds(it.env, cause)
	}
	return true
}

// returnsOf is how often a message has come back, as far as the bus says.
func returnsOf(metadata map[string]string) int {
	var n int
	if _, err := fmt.Sscan(metadata[bus.DeliveriesKey], &n); err != nil {
		return 0
	}
	return n
}
