package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/record"
	"github.com/ticketed/doorman/aggregate/store/sqlite/engine"
	"github.com/ticketed/doorman/commands"
)

// Load reads what the worker needs to judge commands of these streams; see store.Lanes.
func (s *Store) Load(ctx context.Context, streams []commands.Stream) ([]*store.Record, error) {
	records := make([]*store.Record, 0, len(streams))
	parked := s.view.anyParked()
	sights := make([]sight, len(streams))
	for i, name := range streams {
		sights[i] = s.sight(name)
	}
	var seen uint64
	err := s.readers.read(ctx, "load", func(r *reader) error {
		for i, name := range streams {
			if err := ctx.Err(); err != nil {
				return err
			}
			known, loaded, err := s.record(r, sights[i])
			if err != nil {
				return fmt.Errorf("stream %s: %w", name, err)
			}
			if parked {
				if loaded.Waiting, err = r.waiting(name); err != nil {
					return fmt.Errorf("stream %s: %w", name, err)
				}
			}
			loaded.Handle = &store.Handle{Value: known}
			records = append(records, loaded)
			seen = max(seen, loaded.Head.Position)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return records, s.view.await(ctx, seen)
}

// Head reads one stream without its parked commands; see store.Reader.
func (s *Store) Head(ctx context.Context, name commands.Stream) (*store.Record, bool, error) {
	var found *store.Record
	seen := s.sight(name)
	err := s.readers.read(ctx, "read head", func(r *reader) error {
		_, loaded, err := s.record(r, seen)
		found = loaded
		return err
	})
	if err != nil || found.Head.Action == commands.None {
		return nil, false, err
	}
	if err := s.view.await(ctx, found.Head.Position); err != nil {
		return nil, false, err
	}
	return found, true, nil
}

// record reads a stream with its state and the events since.
func (s *Store) record(r *reader, seen sight) (*hold, *store.Record, error) {
	for {
		known, h, err := s.head(r, seen)
		if err != nil {
			return nil, nil, err
		}
		loaded := &store.Record{Stream: seen.name, Head: h.Head}
		if loaded.State, loaded.StateVersion, err = r.stateOf(h); err != nil {
			return nil, nil, err
		}
		if loaded.StateVersion > h.Version {
			// The row was written between the look at the view and the one at the row, which is newer.
			seen.stream, seen.head = nil, nil
			continue
		}
		err = r.landings(h, loaded.StateVersion, func(o *commands.Outcome) bool {
			for i := range o.Events {
				if o.FirstVersion()+uint64(i) > loaded.StateVersion {
					loaded.Tail = append(loaded.Tail, o.Events[i])
				}
			}
			return true
		})
		return known, loaded, err
	}
}

// sight is what the view shows of a stream; without a stream and a head, its row is current.
//
// It is taken before the transaction that reads the row. The other way round, a sweep might write the row
// after the transaction's moment and before the look: the look would then call a row current that the
// transaction does not see yet.
type sight struct {
	name   commands.Stream
	lane   int
	stream *stream
	head   *head
	epoch  uint64
}

func (s *Store) sight(name commands.Stream) sight {
	lane := name.Lane(s.identity.Lanes)
	known, h, epoch := s.view.lookup(name, lane)
	return sight{name: name, lane: lane, stream: known, head: h, epoch: epoch}
}

// head finds a stream and its newest head published by the time of the sight, or a newer one.
func (s *Store) head(r *reader, seen sight) (*hold, *head, error) {
	known, h := seen.stream, seen.head
	if known == nil {
		var err error
		if h, err = r.row(seen.name); err != nil {
			return nil, nil, err
		}
		known = newStream(seen.name, h)
	}
	return &hold{store: s, stream: known, lane: seen.lane, epoch: seen.epoch}, h, nil
}

// newStream is a stream whose row is current, with the head as read from it. The state stays behind: it is in
// the row.
func newStream(name commands.Stream, read *head) *stream {
	h := *read
	h.state, h.stateVersion = nil, 0
	return &stream{name: cloneStream(name), head: &h}
}

// row reads a stream's head as its row has it; without a row it is at version 0.
func (r *reader) row(name commands.Stream) (*head, error) {
	h := &head{}
	row := r.streamByName
	row.BindText(1, streamName(name))
	found, err := row.Step()
	if err != nil || !found {
		return h, err
	}
	defer row.Reset()
	h.number = row.Int(0)
	h.Head = aggregate.Head{
		Version: uint64(row.Int(1)), Action: idAt(row, 2), Position: uint64(row.Int(3)),
		At: time.UnixMicro(row.Int(4)).UTC(), Session: row.Text(5), ByAny: row.Int(6) != 0,
	}
	h.state, h.stateVersion = row.Blob(8), uint64(row.Int(9))
	h.tail, err = decodePage(row.Blob(7))
	return h, err
}

// farBehind is how many versions a row's state is behind its head for a newer snapshot to be looked for.
const farBehind = 64

// stateOf gives the newest state that is kept: the head's, or that of its row. After a crash the row may be behind
// by as much as lies between two sweeps; snapshots are written with their commits.
func (r *reader) stateOf(h *head) ([]byte, uint64, error) {
	if h.state != nil || h.number == 0 {
		return h.state, h.stateVersion, nil
	}
	state, version, err := r.versioned(r.state, h.number, -1)
	if err != nil || version+farBehind > h.Version {
		return state, version, err
	}
	kept, at, err := r.versioned(r.snapshot, h.number, int64(h.Version))
	if err != nil || at <= version {
		return state, version, err
	}
	return kept, at, nil
}

// versioned reads a state and its version by a statement whose parameters are a stream and, unless it is
// negative, a version.
func (r *reader) versioned(s *engine.Stmt, number, version int64) ([]byte, uint64, error) {
	s.BindInt(1, number)
	if version >= 0 {
		s.BindInt(2, version)
	}
	found, err := s.Step()
	if err != nil || !found {
		return nil, 0, err
	}
	defer s.Reset()
	return s.Blob(0), uint64(s.Int(1)), nil
}

// landings gives, oldest first, the stream's landings that have events with versions above after, until it is
// told to stop.
func (r *reader) landings(h *head, after uint64, yield func(*commands.Outcome) bool) error {
	if after >= h.Version {
		return nil
	}
	at, err := r.positions(h, after)
	if err != nil {
		return err
	}
	for _, position := range at {
		o, err := r.outcomeAt(position)
		if err != nil {
			return err
		}
		if o.Version > after && !yield(o) {
			return nil
		}
	}
	return nil
}

// positions lists where the landings are that have events above a version, and at most one before them.
func (r *reader) positions(h *head, after uint64) ([]uint64, error) {
	pages := append(slices.Clip(h.sealed), h.tail)
	if h.number != 0 && (pages[0].count == 0 || pages[0].first > after+1) {
		older, err := r.pagesFrom(h.number, after+1)
		if err != nil {
			return nil, err
		}
		pages = append(older, pages...)
	}
	var at []uint64
	last := uint64(0) // version that the newest of at begins with
	for i := range pages {
		for l := range pages[i].all() {
			switch {
			case l.position > h.Position || l.first <= last:
				// A page in a row can be newer than the head, and have what is in memory too.
			case l.first <= after+1:
				at, last = append(at[:0], l.position), l.first
			default:
				at, last = append(at, l.position), l.first
			}
		}
	}
	return at, nil
}

func (r *reader) pagesFrom(number int64, version uint64) ([]page, error) {
	s := r.pages
	s.BindInt(1, number)
	s.BindInt(2, int64(version))
	var pages []page
	for {
		row, err := s.Step()
		if err != nil || !row {
			return pages, err
		}
		p, err := decodePage(s.Blob(0))
		if err != nil {
			s.Reset()
			return nil, err
		}
		pages = append(pages, p)
	}
}

var errNotInLog = errors.New("a landing is missing in the log")

func (r *reader) outcomeAt(position uint64) (*commands.Outcome, error) {
	s := r.logAt
	s.BindInt(1, int64(position))
	found, err := s.Step()
	if err != nil {
		return nil, err
	}
	defer s.Reset()
	if !found {
		return nil, fmt.Errorf("position %d: %w", position, errNotInLog)
	}
	return decodeRow(s)
}

// decodeRow reads a whole row of the log.
func decodeRow(row *engine.Stmt) (*commands.Outcome, error) {
	o := readOutcome(row)
	if err := record.DecodeOutcome(row.Blob(logBody), o); err != nil {
		return nil, fmt.Errorf("position %d: %w", o.Position, err)
	}
	return o, nil
}
