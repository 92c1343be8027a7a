package query

import (
	"context"
	"fmt"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// Tell makes the view of an outcome. A rejection is filled in with its stream as of this moment: the
// ticket to send next, the version, and, unless it was rejected in one cascade with its root, the state
// and what its sender missed. Only a rejection needs the store; the errors are its own.
func (q *Query) Tell(ctx context.Context, o *commands.Outcome) (commands.CommandView, error) {
	return (&moment{query: q}).tell(ctx, o)
}

// moment remembers what streams looked like, so that one answer that tells of several commands tells the
// same of each stream.
type moment struct {
	query   *Query
	streams map[commands.Stream]*now
}

// now is a stream as of one moment.
type now struct {
	ticket  commands.ID
	version uint64
	state   []byte // nil before the first event
	unfit   bool   // the type's code cannot tell the state
}

func (m *moment) tell(ctx context.Context, o *commands.Outcome) (commands.CommandView, error) {
	view := commands.ViewOutcome(m.query.config.Epoch, o)
	if o.Landed() {
		return view, nil
	}
	n, err := m.now(ctx, o.Stream)
	if err != nil {
		return view, err
	}
	var missed []commands.ChangeView
	if !o.Cascaded {
		if missed, err = m.query.missed(ctx, o, n.version); err != nil {
			return view, err
		}
	}
	view.FillIn(n.ticket, n.version, n.state, missed)
	if n.unfit {
		view.State = nil
	}
	return view, nil
}

func (m *moment) now(ctx context.Context, stream commands.Stream) (*now, error) {
	if n := m.streams[stream]; n != nil {
		return n, nil
	}
	record, known, err := m.query.config.Reader.Head(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("read the head of %s: %w", stream, err)
	}
	n := &now{ticket: commands.Genesis}
	if known {
		n.ticket, n.version = record.Head.Ticket(), record.Head.Version
		if n.state, err = m.query.stateOf(ctx, record); err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			// The rejection is true all the same, and may be just because of this.
			n.unfit = true
			m.query.config.Log.Log(ctx, levelOf(err), "cannot tell a state", "stream", stream.String(), "version", n.version, "err", err)
		}
	}
	if m.streams == nil {
		m.streams = make(map[commands.Stream]*now, 1)
	}
	m.streams[stream] = n
	return n, nil
}

// stateOf is the state at the head of a record; nil before the first event.
func (q *Query) stateOf(ctx context.Context, record *store.Record) ([]byte, error) {
	if len(record.Tail) == 0 {
		return record.State, nil
	}
	t, err := q.typeOf(record.Stream)
	if err != nil {
		return nil, err
	}
	return q.folds.fold(ctx, t, record.State, record.Tail)
}

// missed lists the changes, up to the version, that followed the nearest landed ancestor of a rejected
// command's ticket, the newest ones.
func (q *Query) missed(ctx context.Context, o *commands.Outcome, version uint64) ([]commands.ChangeView, error) {
	after, known, err := q.ancestor(ctx, o)
	if err != nil || !known || after >= version {
		return nil, err
	}
	if version-after > commands.MaxMissed {
		after = version - commands.MaxMissed
	}
	changes, err := q.config.Reader.Changes(ctx, o.Stream, after, int(version-after)) //nolint:gosec // MaxMissed at most
	if err != nil {
		return nil, fmt.Errorf("read the changes of %s: %w", o.Stream, err)
	}
	views := make([]commands.ChangeView, len(changes))
	for i := range changes {
		views[i] = changes[i].View(q.config.Epoch)
	}
	return views, nil
}

// maxAncestors bounds how many rejected commands are gone back over. Since a cascade is passed in one
// step, only commands sent under policy strict one after another's rejection make longer chains.
const maxAncestors = 64

// ancestor finds the nearest landed ancestor of a rejected command's ticket, and the version it left.
// The tickets of a cascade lead to its root, so that is where the search goes at once. For genesis it is
// version 0. known is false when there is none: the ticket was of another stream, or none at all, or of
// a command that never came.
func (q *Query) ancestor(ctx context.Context, o *commands.Outcome) (version uint64, known bool, err error) {
	ticket := o.Ticket
	if o.Root != o.ID && o.Root != commands.None {
		ticket = o.Root
	}
	for range maxAncestors {
		switch ticket {
		case commands.Genesis:
			return 0, true, nil
		case commands.None, o.ID: // none at all, or a circle
			return 0, false, nil
		}
		facts, err := q.config.Reader.Lookup(ctx, []commands.ID{ticket})
		if err != nil {
			return 0, false, fmt.Errorf("look up %s: %w", ticket, err)
		}
		fact := &facts[0]
		switch {
		case fact.Stream != o.Stream:
			return 0, false, nil
		case fact.Standing == aggregate.Landed:
			return fact.Version, true, nil
		case fact.Standing != aggregate.Rejected:
			return 0, false, nil
		case fact.Root != ticket && fact.Root != commands.None:
			ticket = fact.Root
		default:
			ticket = fact.Ticket
		}
	}
	return 0, false, nil
}
