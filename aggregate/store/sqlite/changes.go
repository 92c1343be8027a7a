package sqlite

import (
	"context"
	"fmt"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// Changes reads the changelog of a stream; see store.Reader.
func (s *Store) Changes(
	ctx context.Context, name commands.Stream, after uint64, limit int,
) ([]store.Change, error) {
	var changes []store.Change
	var seen uint64
	sighted := s.sight(name)
	err := s.readers.read(ctx, "read changelog", func(r *reader) error {
		_, h, err := s.head(r, sighted)
		if err != nil {
			return err
		}
		seen = h.Position
		if after > h.Version {
			return fmt.Errorf("%w: %s is at version %d, not %d", store.ErrNotKept, name, h.Version, after)
		}
		if limit <= 0 {
			return nil
		}
		return r.landings(h, after, func(o *commands.Outcome) bool {
			changes = store.AppendChanges(changes, o, after, limit)
			return len(changes) < limit && ctx.Err() == nil
		})
	})
	if err == nil {
		err = failed("read changelog", ctx.Err())
	}
	if err != nil {
		return nil, err
	}
	return changes, s.view.await(ctx, seen)
}

// StateBefore reads the newest kept state at or below the version; see store.Reader.
func (s *Store) StateBefore(ctx context.Context, name commands.Stream, version uint64) (store.Snapshot, error) {
	var found store.Snapshot
	var seen uint64
	sighted := s.sight(name)
	err := s.readers.read(ctx, "read state", func(r *reader) error {
		_, h, err := s.head(r, sighted)
		if err != nil {
			return err
		}
		seen = h.Position
		if version > h.Version {
			return fmt.Errorf("%w: %s is at version %d, not %d", store.ErrNotKept, name, h.Version, version)
		}
		found.State, found.Version, err = r.stateOf(h)
		if err != nil || found.Version == version {
			return err
		}
		var kept store.Snapshot
		if h.number != 0 {
			kept.State, kept.Version, err = r.versioned(r.snapshot, h.number, int64(version))
		}
		if found.Version > version || kept.Version > found.Version {
			found = kept
		}
		return err
	})
	if err != nil {
		return store.Snapshot{}, err
	}
	return found, s.view.await(ctx, seen)
}
