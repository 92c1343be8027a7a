package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/record"
	"github.com/ticketed/doorman/commands"
)

var readStream = &statement{"read_stream", `
select s.state_version, s.state, head.position, head.version, head.id, head.body,
       (select array_agg(t.body)
          from (select body from log l
                 where l.stream = s.stream and l.version > s.state_version and l.quiet = 0
                 order by l.version) t)
  from streams s
 cross join lateral (
       select l.position, l.version, l.id, l.body from log l
        where l.stream = s.stream order by l.version desc, l.quiet desc limit 1
       ) head
 where s.name = $1`}

// Head reads one stream.
func (s *Store) Head(ctx context.Context, stream commands.Stream) (*store.Record, bool, error) {
	found := &store.Record{Stream: stream}
	ok := false
	err := s.reads.query(ctx, readStream, func(r row) error {
		ok = true
		return readHead(found, r)
	}, nameParam(stream))
	if err != nil {
		return nil, false, failure("read a stream", err)
	}
	if !ok {
		return nil, false, nil
	}
	return found, true, nil
}

// readState takes the newest of the stream's state and the snapshots, and the version of the head.
var readState = &statement{"read_state", `
select head.version, kept.version, kept.state
  from streams s
 cross join lateral (select max(version) as version from log where stream = s.stream) head
  left join lateral (
       (select s.state_version as version, s.state as state
         where s.state_version <= $2 and s.state is not null)
       union all
       (select version, state from snapshots where stream = s.stream and version <= $2
         order by version desc limit 1)
       order by version desc limit 1
       ) kept on true
 where s.name = $1`}

// StateBefore reads the newest kept state at or below the version.
func (s *Store) StateBefore(ctx context.Context, stream commands.Stream, version uint64) (store.Snapshot, error) {
	var (
		head uint64
		kept store.Snapshot
	)
	err := s.reads.query(ctx, readState, func(r row) error {
		head, kept = r.uint64(0), store.Snapshot{Version: r.uint64(1), State: r.bytes(2)}
		return nil
	}, nameParam(stream), numberParam(version))
	if err != nil {
		return store.Snapshot{}, failure("read a state", err)
	}
	if version > head {
		return store.Snapshot{}, fmt.Errorf("%w: %s is at version %d, not %d", store.ErrNotKept, stream, head, version)
	}
	return kept, nil
}

// readChanges gives the version of the head with each landing that holds one of the $3 events after $2, or
// with none when there is no such landing. The first may begin before, the last end after what is asked for.
var readChanges = &statement{"read_changes", `
select head.version, change.position, change.version, change.id, change.body
  from streams s
 cross join lateral (select max(version) as version from log where stream = s.stream) head
  left join lateral (
       (select position, version, id, body from log
         where stream = s.stream and version > $2 and version < $2 + $3::bigint and quiet = 0)
       union all
       (select position, version, id, body from log
         where stream = s.stream and version >= $2 + $3::bigint and quiet = 0
         order by version limit 1)
       ) change on true
 where s.name = $1
 order by change.version`}

// Changes reads the changelog of a stream.
func (s *Store) Changes(ctx context.Context, stream commands.Stream, after uint64, limit int) ([]store.Change, error) {
	var (
		head    uint64
		changes []store.Change
	)
	err := s.reads.query(ctx, readChanges, func(r row) error {
		head = r.uint64(0)
		if r.null(1) {
			return nil
		}
		o := commands.Outcome{Position: r.uint64(1), Version: r.uint64(2), ID: r.id(3)}
		if err := record.DecodeOutcome(r.bytes(4), &o); err != nil {
			return fmt.Errorf("position %d: %w", o.Position, err)
		}
		changes = store.AppendChanges(changes, &o, after, limit)
		return nil
	}, nameParam(stream), numberParam(after), limitParam(max(limit, 1)))
	if err != nil {
		return nil, failure("read a changelog", err)
	}
	if after > head {
		return nil, fmt.Errorf("%w: %s is at version %d, not %d", store.ErrNotKept, stream, head, after)
	}
	return changes, nil
}

// readStatus looks an id up in the log and the parking lot at one moment.
var readStatus = &statement{"read_status", `
select asked.n, l.position, l.version, l.name, l.body,
       p.seq, p.parked_at, p.deadline, p.name, p.body, lanes.worked
  from unnest($1::uuid[]) with ordinality as asked (id, n)
  left join log l on l.id = asked.id
  left join parked p on p.id = asked.id
  left join lanes on lanes.lane = p.lane`}

// Status tells where commands stand.
func (s *Store) Status(ctx context.Context, ids []commands.ID) ([]store.CommandStatus, error) {
	found := make([]store.CommandStatus, len(ids))
	for i, id := range ids {
		found[i].ID = id
	}
	if len(ids) == 0 {
		return found, nil
	}
	err := s.reads.query(ctx, readStatus, func(r row) error {
		into := &found[r.uint64(0)-1]
		switch {
		case !r.null(1):
			o := &commands.Outcome{ID: into.ID, Position: r.uint64(1), Version: r.uint64(2), Stream: r.stream(3)}
			into.Outcome = o
			return record.DecodeOutcome(r.bytes(4), o)
		case !r.null(5):
			w := &aggregate.Waiting{Seq: r.uint64(5), ParkedAt: r.time(6), Deadline: time.Duration(r.int64(7))}
			w.ID, w.Stream = into.ID, r.stream(8)
			into.Waiting = w
			into.Until = time.Now().UTC().Add(w.Deadline - time.Duration(r.int64(10))).Truncate(time.Microsecond)
			return record.DecodeEnvelope(r.bytes(9), &w.Envelope)
		}
		return nil
	}, idsParam(ids))
	if err != nil {
		return nil, failure("read where commands stand", err)
	}
	return found, nil
}

// lookUp reads no more of a body than what record.Fact and record.EnvelopeHash look at.
var lookUp = &statement{"look_up", `
select asked.n, l.version, l.name, substring(l.body from 1 for 256), p.name, substring(p.body from 1 for 256)
  from unnest($1::uuid[]) with ordinality as asked (id, n)
  left join log l on l.id = asked.id
  left join parked p on p.id = asked.id`}

// Lookup tells what is known of the ids.
func (s *Store) Lookup(ctx context.Context, ids []commands.ID) ([]aggregate.Fact, error) {
	facts := make([]aggregate.Fact, len(ids))
	if len(ids) == 0 {
		return facts, nil
	}
	err := s.reads.query(ctx, lookUp, func(r row) (err error) {
		into := &facts[r.uint64(0)-1]
		switch {
		case !r.null(1):
			into.Stream, into.Version = r.stream(2), r.uint64(1)
			return record.Fact(r.bytes(3), into)
		case !r.null(4):
			into.Standing, into.Stream = aggregate.Parked, r.stream(4)
			into.Hash, err = record.EnvelopeHash(r[5])
			return err
		}
		return nil
	}, idsParam(ids))
	if err != nil {
		return nil, failure("look ids up", err)
	}
	return facts, nil
}

// readLog gives at least one row, with the end of the log.
var readLog = &statement{"read_log", `
select c.position, l.position, l.id, l.version, l.name, l.body
  from counter c
  left join lateral (
       select position, id, version, name, body from log where position > $1 order by position limit $2::bigint
       ) l on true
 order by l.position`}

// Log reads outcomes by position.
func (s *Store) Log(ctx context.Context, after uint64, limit int) ([]*commands.Outcome, error) {
	var (
		end      uint64
		outcomes []*commands.Outcome
	)
	err := s.reads.query(ctx, readLog, func(r row) error {
		end = r.uint64(0)
		if r.null(1) {
			return nil
		}
		o := &commands.Outcome{Position: r.uint64(1), ID: r.id(2), Version: r.uint64(3), Stream: r.stream(4)}
		if err := record.DecodeOutcome(r.bytes(5), o); err != nil {
			return fmt.Errorf("position %d: %w", o.Position, err)
		}
		outcomes = append(outcomes, o)
		return nil
	}, numberParam(after), limitParam(limit))
	if err != nil {
		return nil, failure("read the log", err)
	}
	if after > end {
		return nil, fmt.Errorf("%w: the log ends at %d, before %d", store.ErrNotKept, end, after)
	}
	return outcomes, nil
}

var readEnd = &statement{"read_end", `select position from counter`}

// End is the position of the newest outcome.
func (s *Store) End(ctx context.Context) (end uint64, err error) {
	err = s.reads.query(ctx, readEnd, func(r row) error {
		end = r.uint64(0)
		return nil
	})
	if err != nil {
		return 0, failure("read the end of the log", err)
	}
	return end, nil
}
