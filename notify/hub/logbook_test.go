package hub_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// logbook is a store kept in a slice. A stream's state is the number of its events, so that a wrong one is
// seen at once.
type logbook struct {
	mu     sync.Mutex
	rng    *rand.Rand // of its failures
	flaky  bool
	log    []*commands.Outcome
	landed map[commands.Stream][]*commands.Outcome
	parked []store.CommandStatus
}

func (b *logbook) fails() error {
	if b.flaky && b.rng.IntN(60) == 0 {
		return store.ErrUnavailable
	}
	return nil
}

func state(version uint64) []byte {
	if version == 0 {
		return nil
	}
	return strconv.AppendUint(nil, version, 10)
}

func (b *logbook) End(context.Context) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return uint64(len(b.log)), b.fails()
}

func (b *logbook) Log(_ context.Context, after uint64, limit int) ([]*commands.Outcome, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if after > uint64(len(b.log)) {
		return nil, store.ErrNotKept
	}
	rest := b.log[after:]
	return slices.Clone(rest[:min(len(rest), limit)]), b.fails()
}

func (b *logbook) of(stream commands.Stream) []*commands.Outcome { return b.landed[stream] }

func (b *logbook) Head(_ context.Context, stream commands.Stream) (*store.Record, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.of(stream)
	if len(all) == 0 {
		return nil, false, b.fails()
	}
	last := all[len(all)-1]
	return &store.Record{Stream: stream, State: state(last.Version), StateVersion: last.Version,
		Head: aggregate.Head{Version: last.Version, Action: last.ID, Position: last.Position, At: last.At}}, true, b.fails()
}

func (b *logbook) Changes(_ context.Context, stream commands.Stream, after uint64, limit int) ([]store.Change, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var changes []store.Change
	head := uint64(0)
	for _, o := range b.of(stream) {
		head = o.Version
		for i, e := range o.Events {
			if v := o.FirstVersion() + uint64(i); v > after && len(changes) < limit {
				changes = append(changes, store.Change{Version: v, Position: o.Position, Event: e, Command: o.ID, Type: o.Type, At: o.At})
			}
		}
	}
	if after > head {
		return nil, store.ErrNotKept
	}
	return changes, b.fails()
}

func (b *logbook) Status(_ context.Context, ids []commands.ID) ([]store.CommandStatus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := make([]store.CommandStatus, len(ids))
	for i, id := range ids {
		found[i].ID = id
		for _, o := range b.log {
			if o.ID == id {
				found[i].Outcome = o
			}
		}
		for _, p := range b.parked {
			if p.ID == id {
				found[i] = p
			}
		}
	}
	return found, b.fails()
}

func (b *logbook) WaitingOf(_ context.Context, sessions []string, limit int) ([]store.CommandStatus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []store.CommandStatus
	for _, p := range b.parked {
		if slices.Contains(sessions, p.Waiting.Session) && len(found) < limit {
			found = append(found, p)
		}
	}
	return found, b.fails()
}

func (b *logbook) StateOf(_ context.Context, record *store.Record) ([]byte, error) {
	return record.State, nil
}

func (b *logbook) StateAt(_ context.Context, _ commands.Stream, version uint64) ([]byte, error) {
	return state(version), nil
}

func (b *logbook) Fold(_ context.Context, _ commands.Stream, from []byte, events []commands.Event) ([]byte, error) {
	version := uint64(0)
	if from != nil {
		version, _ = strconv.ParseUint(string(from), 10, 64)
	}
	return state(version + uint64(len(events))), nil
}

func (b *logbook) tell(_ context.Context, o *commands.Outcome) (commands.CommandView, error) {
	view := commands.ViewOutcome(epoch, o)
	view.FillIn(commands.Genesis, 0, nil, nil)
	return view, nil
}

const epoch = "E1"

var newest atomic.Int64

func newID() commands.ID {
	id, _ := commands.ParseID(fmt.Sprintf("01977000-0000-7000-8000-%012d", newest.Add(1)))
	return id
}

func stream(n int) commands.Stream {
	return commands.Stream{Type: "doc", ID: strconv.Itoa(n)}
}

// landing is a command that landed with some events; commit gives it its place.
func landing(s commands.Stream, session string, events int) *commands.Outcome {
	o := &commands.Outcome{ID: newID(), Stream: s, Type: "change", Session: session, Actor: "somebody", At: time.Now().UTC()}
	for range events {
		o.Events = append(o.Events, commands.Event{Type: "changed", Schema: 1, Data: []byte("{}")})
	}
	return o
}

func rejection(s commands.Stream, session string) *commands.Outcome {
	o := landing(s, session, 0)
	o.Reason, o.Root, o.RootReason = commands.StaleTicket, o.ID, commands.StaleTicket
	return o
}

func waiting(s commands.Stream, session string) *aggregate.Waiting {
	w := &aggregate.Waiting{Until: time.Now().Add(time.Minute)}
	w.ID, w.Stream, w.Session, w.Ticket = newID(), s, session, newID()
	return w
}

// commit appends to the log, and says what a worker would tell of it.
func (b *logbook) commit(result *aggregate.Result) store.Range {
	b.mu.Lock()
	defer b.mu.Unlock()
	covered := store.Range{First: uint64(len(b.log)) + 1}
	for _, o := range result.Outcomes {
		all := b.of(o.Stream)
		if len(all) > 0 {
			o.Version = all[len(all)-1].Version
		}
		o.Version += uint64(len(o.Events))
		o.Position = uint64(len(b.log)) + 1
		b.log = append(b.log, o)
		if b.landed == nil {
			b.landed = map[commands.Stream][]*commands.Outcome{}
		}
		if o.Landed() {
			b.landed[o.Stream] = append(b.landed[o.Stream], o)
		}
		var after []byte
		if o.Landed() {
			after = state(o.Version)
		}
		result.States = append(result.States, after)
		b.parked = slices.DeleteFunc(b.parked, func(p store.CommandStatus) bool { return p.ID == o.ID })
	}
	for _, w := range result.Park {
		b.parked = append(b.parked, store.CommandStatus{ID: w.ID, Waiting: w, Until: w.Until})
	}
	covered.Last = uint64(len(b.log))
	return covered
}
