package sqlite

import (
	"fmt"
	"strings"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

var (
	errStaleHandle = fmt.Errorf("%w: the handle is not of the stream's newest record", store.ErrFenced)
	errVersions    = fmt.Errorf("%w: the versions of the batch do not follow the stream's head", store.ErrFenced)
)

// staging is what the batch under way makes of the streams it changes. Nothing of it is visible until it is
// published, and a batch that fails leaves no trace.
type staging struct {
	staged []staged
	byName map[commands.Stream]int // into staged
}

// staged is one stream and what its head is to be.
type staged struct {
	stream *stream
	change *store.HeadChange
	head   head
	chosen bool // the commit writes its row with the sweep's
}

func (g *staged) keepsSnapshot() bool { return g.change.Snapshot && g.change.State != nil }

// of is the staged change of a stream, nil when the batch does not change it.
func (b *staging) of(name commands.Stream) *staged {
	if at, ok := b.byName[name]; ok {
		return &b.staged[at]
	}
	return nil
}

func (b *staging) clear() {
	clear(b.byName)
	clear(b.staged)
	b.staged = b.staged[:0]
}

// stage makes the heads after the batch and fills in the positions, from first on.
func (b *staging) stage(s *Store, batch *store.Batch, first uint64) error {
	b.clear()
	for _, change := range batch.Heads {
		held, err := s.held(change)
		if err != nil {
			return fmt.Errorf("commit: stream %s: %w", change.Stream, err)
		}
		b.byName[change.Stream] = len(b.staged)
		b.staged = append(b.staged, staged{stream: held, change: change, head: *held.head})
	}
	for i, o := range batch.Outcomes {
		o.Position = first + uint64(i)
		if !o.Landed() {
			continue
		}
		g := b.of(o.Stream)
		if g == nil {
			return fmt.Errorf("commit: %w: command %s landed on %s, whose head is not in the batch", store.ErrFenced, o.ID, o.Stream)
		}
		if err := g.land(o); err != nil {
			return fmt.Errorf("commit: stream %s: %w", o.Stream, err)
		}
	}
	for i := range b.staged {
		if err := b.staged[i].finish(); err != nil {
			return fmt.Errorf("commit: stream %s: %w", b.staged[i].stream.name, err)
		}
	}
	return nil
}

// held finds the stream that a change is about.
func (s *Store) held(change *store.HeadChange) (*stream, error) {
	if change.Handle == nil {
		return nil, errStaleHandle
	}
	held, ok := change.Handle.Value.(*hold)
	if !ok || held.store != s || held.stream.name != change.Stream || held.epoch != s.view.epochs[held.lane] {
		return nil, errStaleHandle
	}
	if !held.stream.unsettled && s.view.unsettled[held.stream.name] != nil {
		return nil, errStaleHandle // it was loaded again and changed since
	}
	return held.stream, nil
}

// land applies one landing.
func (g *staged) land(o *commands.Outcome) error {
	h := &g.head
	if o.Version != h.Version+uint64(len(o.Events)) {
		return errVersions
	}
	if len(o.Events) > 0 {
		h.land(landing{first: o.FirstVersion(), position: o.Position})
	}
	h.Version, h.Position, h.Action = o.Version, o.Position, o.ID
	return nil
}

// finish checks that the change ends where its landings do, and takes the rest from it.
func (g *staged) finish() error {
	h, change := &g.head, g.change
	if change.Head.Version != h.Version || change.Head.Action != h.Action || change.StateVersion > h.Version {
		return errVersions
	}
	change.Head.Position = h.Position
	session := h.Session
	h.Head = change.Head
	if session != h.Session {
		// The text may share the memory of a whole message, which would stay as long as it does.
		session = strings.Clone(h.Session)
	}
	h.Session = session
	if change.State != nil {
		h.state, h.stateVersion = change.State, change.StateVersion
	}
	return nil
}
