package sqlite_test

import (
	"context"
	"fmt"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/sqlite"
	"github.com/ticketed/doorman/commands"
)

// hand composes simple batches: landings with one event on numbered streams.
type hand struct {
	store   *sqlite.Store
	claims  []store.Claim
	records map[int]*store.Record
}

func newHand(s *sqlite.Store) (*hand, error) {
	claims, err := s.Acquire(context.Background(), []int{0, 1, 2, 3}, "test")
	return &hand{store: s, claims: claims, records: map[int]*store.Record{}}, err
}

func name(n int) commands.Stream { return commands.Stream{Type: "order", ID: fmt.Sprint(n)} }

// batch has one landing on each of the streams.
func (h *hand) batch(data []byte, streams ...int) (*store.Batch, error) {
	batch := &store.Batch{Claims: h.claims}
	for _, n := range streams {
		r, ok := h.records[n]
		if !ok {
			loaded, err := h.store.Load(context.Background(), []commands.Stream{name(n)})
			if err != nil {
				return nil, err
			}
			r = loaded[0]
			h.records[n] = r
		}
		o := &commands.Outcome{ID: commands.NewID(), Stream: name(n), Type: "add", Ticket: r.Head.Ticket(),
			At: time.Now().UTC().Truncate(time.Microsecond), Version: r.Head.Version + 1,
			Events: []commands.Event{{Type: "added", Schema: 1, Data: data}}}
		r.Head = aggregate.Head{Version: o.Version, Action: o.ID, At: o.At}
		batch.Outcomes = append(batch.Outcomes, o)
		batch.Heads = append(batch.Heads, &store.HeadChange{Stream: o.Stream, Head: r.Head, Handle: r.Handle,
			State: fmt.Append(nil, o.Version), StateVersion: o.Version})
	}
	return batch, nil
}

// land commits a batch; after an error everything held is forgotten.
func (h *hand) land(data []byte, streams ...int) (store.Range, error) {
	batch, err := h.batch(data, streams...)
	if err != nil {
		return store.Range{}, err
	}
	covered, err := h.store.Commit(context.Background(), batch)
	if err != nil {
		clear(h.records)
	}
	return covered, err
}

// sound reads everything and tells what does not fit together: positions, versions, heads, changelogs.
func sound(s *sqlite.Store, streams int) error {
	ctx := context.Background()
	versions := map[commands.Stream]uint64{}
	last := map[commands.Stream]*commands.Outcome{}
	for after := uint64(0); ; {
		page, err := s.Log(ctx, after, 1000)
		if err != nil {
			return err
		}
		for _, o := range page {
			if after++; o.Position != after {
				return fmt.Errorf("position %d where %d should be", o.Position, after)
			}
			if versions[o.Stream]++; o.Version != versions[o.Stream] {
				return fmt.Errorf("%s: version %d where %d should be", o.Stream, o.Version, versions[o.Stream])
			}
			last[o.Stream] = o
		}
		if len(page) < 1000 {
			break
		}
	}
	for n := range streams {
		if err := soundStream(s, name(n), last[name(n)]); err != nil {
			return err
		}
	}
	return nil
}

func soundStream(s *sqlite.Store, stream commands.Stream, last *commands.Outcome) error {
	r, ok, err := s.Head(context.Background(), stream)
	if err != nil || last == nil && !ok {
		return err
	}
	if !ok || last == nil || r.Head.Action != last.ID || r.Head.Version != last.Version || r.Head.Position != last.Position {
		return fmt.Errorf("%s: the head is not the last landing", stream)
	}
	state := ""
	if r.StateVersion > 0 {
		state = fmt.Sprint(r.StateVersion)
	}
	if uint64(len(r.Tail)) != r.Head.Version-r.StateVersion || string(r.State) != state {
		return fmt.Errorf("%s: state of version %d and %d events do not reach version %d", stream, r.StateVersion,
			len(r.Tail), r.Head.Version)
	}
	changes, err := s.Changes(context.Background(), stream, 0, int(last.Version)+1)
	if err != nil {
		return err
	}
	if uint64(len(changes)) != last.Version {
		return fmt.Errorf("%s: %d changes of %d", stream, len(changes), last.Version)
	}
	for i, change := range changes {
		if change.Version != uint64(i+1) {
			return fmt.Errorf("%s: change %d has version %d", stream, i, change.Version)
		}
	}
	return nil
}
