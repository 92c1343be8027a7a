package worker

import (
	"time"

	"github.com/ticketed/doorman/commands"
)

// tick advances the clocks of the lanes and rejects what is due.
func (d *desk) tick(now time.Time) {
	elapsed := now.Sub(d.ticked)
	if elapsed <= 0 {
		return // it lay in the channel while the lanes were being taken
	}
	d.ticked = now
	if d.stale || d.pausing {
		return
	}
	// A gap, as when the process was frozen, is not time in which the lanes were worked; nor is the time
	// in which a commit hangs: what comes in then is not judged.
	const longestStep = time.Second
	if d.inflight != nil && now.Sub(d.inflight.launched) > longestStep {
		return
	}
	for _, l := range d.lanes {
		l.claim.Worked += min(elapsed, longestStep)
	}
	for _, l := range d.lanes {
		if d.sweep(l); d.stale {
			return
		}
	}
	if now.Sub(d.second) >= time.Second {
		d.second = now
		d.w.cfg.Metrics.Parked(d.parked.Total(), d.parked.oldest(now))
		d.saveClocks()
	}
}

// sweep rejects the commands of a lane whose deadline has passed, once everything that was queued
// before has been judged.
func (d *desk) sweep(l *lane) {
	if len(l.deadlines) == 0 || l.deadlines[0].at > l.claim.Worked {
		l.due = false
		return
	}
	if !l.settled(d.w.cfg.QueueBound) || d.caution.left > 0 && d.inflight != nil {
		return
	}
	const most = 256 // in one tick
	for _, entry := range d.parked.due(l, most) {
		if _, held := d.cache.get(entry.stream); !held && !d.load([]commands.Stream{entry.stream}) {
			return
		}
		h, _ := d.cache.get(entry.stream)
		s := d.sit()
		if s.round.Full() {
			return
		}
		s.touch(h)
		s.round.Expire(h.Instance, entry.id)
		if h.Pending() {
			d.resume = append(d.resume, h)
		}
	}
	l.due = false
}

// saveClocks makes sure that a lane on which something waits does not lose more than a second of its
// clock when the process dies, and that the clock stops when the store does.
func (d *desk) saveClocks() {
	if d.inflight != nil || d.open != nil {
		return
	}
	for _, l := range d.lanes {
		if l.parked > 0 && l.claim.Worked-l.saved >= time.Second {
			d.sit().clocks = true
			return
		}
	}
}
