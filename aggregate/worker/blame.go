package worker

import (
	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// blame knows which commands cannot be carried out: their code did not end, or the row that they came to
// cannot be stored. It goes by what they were to come to, so that a command whose landing cannot be stored
// is parked, or turned away for its ticket, as any other; and by the payload too, since an id can be
// another command's. An entry lives until its command has come to an end, so there are no more of them
// than commands that the worker holds.
type blame struct {
	faults map[commands.ID]fault
}

// fault is why a command is not to be admitted or parked; empty, when it is.
type fault struct {
	hash    commands.Hash
	code    string // it is not to be run
	landing string // its landing cannot be stored
	parking string // its parking cannot be stored
}

func newBlame() *blame { return &blame{faults: map[commands.ID]fault{}} }

// broken is aggregate.Round's.
func (b *blame) broken(env *commands.Envelope, ruling aggregate.Ruling) (cause string, broken bool) {
	f, known := b.faults[env.ID]
	if !known || f.hash != env.Hash {
		return "", false
	}
	switch {
	case ruling == aggregate.Park:
		cause = f.parking
	case f.code != "":
		cause = f.code
	default:
		cause = f.landing
	}
	return cause, cause != ""
}

// of is what is known of a command, for the caller to add to and put back.
func (b *blame) of(id commands.ID, hash commands.Hash) fault {
	if f := b.faults[id]; f.hash == hash {
		return f
	}
	return fault{hash: hash}
}

// neverEnds notes that a command's code did not end.
func (b *blame) neverEnds(env *commands.Envelope, cause string) {
	f := b.of(env.ID, env.Hash)
	f.code = cause
	b.faults[env.ID] = f
}

// notStored notes that what a command came to cannot be stored.
func (b *blame) notStored(c culprit, cause string) {
	f := b.of(c.id, c.hash)
	if c.ruling == aggregate.Park {
		f.parking = cause
	} else {
		f.landing = cause
	}
	b.faults[c.id] = f
}

// settled forgets what a committed round brought to an end, and what it found to have ended before. What
// waits has not ended, however often it is sent.
func (b *blame) settled(result *aggregate.Result, waits func(commands.ID) bool) {
	if len(b.faults) == 0 {
		return
	}
	for _, o := range result.Outcomes {
		delete(b.faults, o.ID)
	}
	for _, a := range result.Answers {
		if b.faults[a.ID].hash == a.Hash && !waits(a.ID) {
			delete(b.faults, a.ID)
		}
	}
}

// buried forgets orders that have become dead letters.
func (b *blame) buried(orders []poisoned) {
	for i := range orders {
		delete(b.faults, orders[i].env.ID)
	}
}

// rebuilt forgets what could not be stored: what is judged anew may come to something else.
func (b *blame) rebuilt() {
	for id, f := range b.faults {
		if f.code == "" {
			delete(b.faults, id)
			continue
		}
		f.landing, f.parking = "", ""
		b.faults[id] = f
	}
}

// culprit is a command, and what it came to that cannot be stored.
type culprit struct {
	id     commands.ID
	hash   commands.Hash
	ruling aggregate.Ruling
}

// culprit is the command that a sitting of one verdict was about, whether it was among the items, had been
// released, or was left over. A command that was turned away is none: its rejection is as small as what would
// be written in its place. So is a frame that could not be read, and an order that became a dead letter. An order
// that was carried out is one: what it says is told with the rejection.
func (s *sitting) culprit() (culprit, bool) {
	outcomes, park := s.round.Result.Outcomes, s.round.Result.Park
	switch {
	case len(s.broken)+len(s.poisoned) > 0:
	case len(s.items) == 1 && s.items[0].env != nil && s.items[0].env.Order != commands.NoOrder:
		order := s.items[0].env
		return culprit{order.ID, order.Hash, aggregate.Admit}, len(outcomes) == 1 && outcomes[0].Reason == commands.RejectedByOperator
	case len(outcomes) == 1 && len(park) == 0 && outcomes[0].Landed():
		return culprit{outcomes[0].ID, outcomes[0].Hash, aggregate.Admit}, true
	case len(outcomes) == 0 && len(park) == 1:
		return culprit{park[0].ID, park[0].Hash, aggregate.Park}, true
	}
	return culprit{}, false
}
