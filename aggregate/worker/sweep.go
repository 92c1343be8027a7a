package worker

import (
	"time"

	"github.com/ticketed/doorman/commands"
)

// tick advances the clocks of the lanes and finds what is due.
func (d *desk) tick(now time.Time) {
	elapsed := now.Sub(d.ticked)
	if elapsed < d.w.cfg.Tick/2 {
		return // it lay in the channel while something else was done, and the next one is about to come
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
	var worked []*lane
	for _, l := range d.lanes {
		if d.brought(l, now) {
			l.claim.Worked += min(elapsed, longestStep)
			worked = append(worked, l)
		} else {
			l.due = false // what is queued has yet to come, also when the lane was found empty before
		}
	}
	d.gather() // what has come is not to be taken for what comes later
	for _, l := range worked {
		d.sweep(l)
	}
	if now.Sub(d.second) >= time.Second {
		d.second = now
		d.w.cfg.Metrics.Parked(d.parked.Total(), d.parked.oldest(now))
		d.saveClocks()
	}
}

// brought tells whether all that is queued on a lane comes here.
func (d *desk) brought(l *lane, now time.Time) bool {
	since := d.began
	if d.w.cfg.Consuming != nil {
		var err error
		if since, err = d.w.cfg.Consuming(l.claim.Lane); err != nil {
			return false
		}
	}
	return now.Sub(since) >= d.w.cfg.HeldBack || !l.came.Before(since)
}

// sweep finds a lane on which commands are due, once everything that was queued before has been judged.
func (d *desk) sweep(l *lane) {
	switch {
	case l.expiring:
	case len(l.deadlines) == 0 || l.deadlines[0].at > l.claim.Worked:
		l.due = false
	case l.settled(d.w.cfg.QueueBound):
		l.due, l.expiring = false, true
	}
}

// expiring tells whether the commands that are due on some lane may be rejected now. After a commit failed,
// its commands come first.
func (d *desk) expiring() bool {
	if d.caution.left > 0 && len(d.backlog) > 0 {
		return false
	}
	for _, l := range d.lanes {
		if l.expiring {
			return true
		}
	}
	return false
}

// expire rejects what is due. Half a round is left for what arrives meanwhile. It reports false when the
// round is full or the store did not answer.
func (d *desk) expire(s *sitting) bool {
	if !d.expiring() {
		return true
	}
	most := max(s.round.Limits.Round/2, 1)
	for _, l := range d.lanes {
		if !l.expiring {
			continue
		}
		due := d.parked.due(l, l.dueUntil, most)
		there, ok := d.presentAll(due)
		if !ok {
			return false
		}
		for _, entry := range due[:there] {
			if s.round.Full() {
				return false
			}
			h, _ := d.cache.get(entry.stream)
			s.touch(h)
			s.round.Expire(h.Instance, entry.id)
			if h.Pending() {
				d.resume = append(d.resume, h)
			}
		}
		l.expiring = len(due) == most || there < len(due)
		most -= there
	}
	return !s.round.Full()
}

// presentAll loads the streams of what is due, together, and tells up to which of it it did: only so many are loaded
// at once. It reports false when the store did not answer.
func (d *desk) presentAll(due []*deadline) (n int, ok bool) {
	var missing []commands.Stream
	asked := map[commands.Stream]bool{}
	for ; n < len(due); n++ {
		stream := due[n].stream
		if _, held := d.cache.get(stream); held || asked[stream] {
			continue
		}
		if len(missing) >= d.loads {
			break
		}
		asked[stream] = true
		missing = append(missing, stream)
	}
	return n, len(missing) == 0 || d.load(missing)
}

// saveClocks makes sure that a lane on which something waits does not lose more than a second of its
// clock when the process dies, and that the clock stops when the store does.
func (d *desk) saveClocks() {
	if d.caution.left > 0 && d.inflight != nil {
		return
	}
	for _, l := range d.lanes {
		if l.parked > 0 && l.claim.Worked-l.saved >= time.Second {
			d.sit().clocks = true
			return
		}
	}
}
