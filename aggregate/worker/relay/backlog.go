package relay

import (
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// backlog is what waits to be published: commits in memory, and how far the log has to be read for those that
// were let go. It is always in one of three states:
//
//	unsettled   lanes were taken, and the end of the log at that time is not known: nothing is kept
//	reading     everything up to let comes from the log; what is kept comes after it
//	following   what is kept comes next; when gap is set the log up to let comes after it, and nothing more is kept
type backlog struct {
	mostOutcomes, mostBytes int

	kept     []commit
	outcomes int // of those kept
	bytes    int

	at        uint64 // everything up to here is published
	let       uint64 // the newest position that must be read from the log
	gap       bool
	unsettled bool
}

// commit is one that waits.
type commit struct {
	last     uint64 // position
	outcomes []*commands.Outcome
	bytes    int
	at       time.Time // when it was told
}

// unsure forgets everything: it will be in the log.
func (b *backlog) unsure() {
	b.unsettled = true
	b.forget()
}

func (b *backlog) forget() {
	clear(b.kept)
	b.kept, b.outcomes, b.bytes, b.gap = b.kept[:0], 0, 0, false
}

// settle takes note of the end of the log after lanes were taken.
func (b *backlog) settle(end uint64) {
	b.let = max(b.let, end)
	b.unsettled = false
}

// skip passes over a commit of which nothing is wanted, when there is nothing to do before it.
func (b *backlog) skip(covered store.Range) bool {
	if b.unsettled || b.gap || len(b.kept) > 0 || b.let > b.at {
		return false
	}
	b.at = max(b.at, covered.Last)
	return true
}

// put adds a commit, or lets it go.
func (b *backlog) put(covered store.Range, outcomes []*commands.Outcome, now time.Time) {
	if b.unsettled || b.gap {
		b.let = max(b.let, covered.Last)
		return
	}
	if covered.Last <= max(b.let, b.at) {
		return // it is read from the log, or was
	}
	if len(outcomes) == 0 && len(b.kept) > 0 {
		newest := &b.kept[len(b.kept)-1]
		newest.last = max(newest.last, covered.Last) // there is nothing in between
		return
	}
	c := commit{last: covered.Last, outcomes: outcomes, at: now}
	for _, o := range outcomes {
		c.bytes += weight(o)
	}
	if len(b.kept) == 0 || b.outcomes+len(outcomes) <= b.mostOutcomes && b.bytes+c.bytes <= b.mostBytes {
		b.kept = append(b.kept, c)
		b.outcomes += len(outcomes)
		b.bytes += c.bytes
		return
	}
	if b.let > b.at { // what is kept comes after what is being read, and is read as well now
		b.forget()
	} else {
		b.gap = true
	}
	b.let = covered.Last
}

// reading tells whether the log is to be read next.
func (b *backlog) reading() bool {
	if b.gap && len(b.kept) == 0 {
		b.gap = false
	}
	return !b.gap && b.let > b.at
}

// next is what is kept and comes next, up to the bounds, and the position up to which that is everything.
func (b *backlog) next(most, mostBytes int, into []*commands.Outcome) (batch []*commands.Outcome, to uint64) {
	to = b.at
	bytes := 0
	for i := range b.kept {
		c := &b.kept[i]
		for _, o := range c.outcomes {
			if o.Position <= b.at {
				continue
			}
			if len(into) >= most || bytes > mostBytes {
				return into, to
			}
			into = append(into, o)
			bytes += weight(o)
			to = o.Position
		}
		to = max(to, c.last)
	}
	return into, to
}

// passed takes note of what is published, and calls done with the time at which each commit of it was told.
func (b *backlog) passed(at uint64, done func(time.Time)) {
	b.at = at
	for len(b.kept) > 0 && b.kept[0].last <= at {
		first := &b.kept[0]
		if len(first.outcomes) > 0 {
			done(first.at)
		}
		b.outcomes -= len(first.outcomes)
		b.bytes -= first.bytes
		*first = commit{}
		if b.kept = b.kept[1:]; len(b.kept) == 0 {
			b.kept = nil // the array behind it has moved on
		}
	}
}

// weight is about how many bytes an outcome keeps in memory.
func weight(o *commands.Outcome) int {
	const itself = 600
	bytes := itself + len(o.Detail)
	for i := range o.Events {
		bytes += 60 + len(o.Events[i].Data)
	}
	return bytes
}
