package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/record"
	"github.com/ticketed/doorman/commands"
)

// acquireLanes calls the function of migrations/00008_relays.sql.
var acquireLanes = &statement{"acquire_lanes", `select lane, epoch, worked, relayed from acquire_lanes($1, $2, $3)`}

// endStuck ends sessions of this store that have a transaction open and wait for their client: of one
// that froze after it had sent a commit but for its last few bytes. No time-out of the server covers that
// state before Postgres 17. A client of ours never pauses there.
var endStuck = &statement{"end_stuck", `
select count(pg_terminate_backend(pid))
  from pg_stat_activity
 where application_name = current_setting('application_name') and datname = current_database()
   and usename = current_user and pid <> pg_backend_pid()
   and backend_xid is not null and wait_event = 'ClientRead' and state_change < now() - interval '1 second'`}

// Acquire takes lanes over. It waits for commits that are under way, as long as a statement may take, and
// ends those that hang because their client does.
func (s *Store) Acquire(ctx context.Context, lanes []int, owner string) ([]store.Claim, error) {
	known := s.identity.Load()
	place := make(map[int]int, len(lanes))
	for i, lane := range lanes {
		if lane < 0 || lane >= known.Lanes {
			return nil, fmt.Errorf("postgres: there is no lane %d, there are %d", lane, known.Lanes)
		}
		if _, twice := place[lane]; twice {
			return nil, fmt.Errorf("postgres: lane %d is asked for twice", lane)
		}
		place[lane] = i
	}
	claims := make([]store.Claim, len(lanes))
	if len(lanes) == 0 {
		return claims, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.patience())
	defer cancel()
	for {
		err := s.commits.query(ctx, acquireLanes, func(r row) error {
			lane := r.int(0)
			claims[place[lane]] = store.Claim{Lane: lane, Epoch: r.uint64(1), Worked: time.Duration(r.int64(2)), Relayed: r.uint64(3)}
			return nil
		}, lanesParam(lanes), []byte(owner), numberParam(known.generation))
		if err == nil {
			return claims, nil
		}
		if state(err) == stateLanesChanged {
			return nil, fmt.Errorf("%w: this process goes by %d", store.ErrLanesChanged, known.Lanes)
		}
		if answer := state(err); answer != stateLockTimeout && answer != stateTimeout || ctx.Err() != nil {
			return nil, failure("acquire lanes", err)
		}
		if err := s.commits.query(ctx, endStuck, func(row) error { return nil }); err != nil {
			return nil, failure("end stuck commits", err)
		}
	}
}

var readBacklog = &statement{"read_backlog", `
select id, name, session, deadline from parked where lane = any ($1) order by n`}

// Backlog lists what is parked on the lanes.
func (s *Store) Backlog(ctx context.Context, lanes []int) ([]store.Parked, error) {
	var parked []store.Parked
	err := s.reads.query(ctx, readBacklog, func(r row) error {
		parked = append(parked, store.Parked{ID: r.id(0), Stream: r.stream(1), Session: r.text(2),
			Deadline: time.Duration(r.int64(3))})
		return nil
	}, lanesParam(lanes))
	if err != nil {
		return nil, failure("read the backlog", err)
	}
	return parked, nil
}

// loadStreams gives one row per name asked for, of one moment: the state, the last landing, the bodies of
// the landings that the state does not hold yet, and the parked commands as five arrays.
var loadStreams = &statement{"load_streams", `
select asked.n, s.stream, s.state_version, s.state,
       head.position, head.version, head.id, head.body, tail.bodies,
       waiting.ids, waiting.seqs, waiting.ats, waiting.deadlines, waiting.bodies
  from unnest($1::text[], $2::integer[]) with ordinality as asked (name, lane, n)
  left join streams s on s.name = asked.name
  left join lateral (
       select l.position, l.version, l.id, l.body from log l
        where l.stream = s.stream order by l.version desc, l.quiet desc limit 1
       ) head on true
  left join lateral (
       select array_agg(t.body) as bodies
         from (select body from log l
                where l.stream = s.stream and l.version > s.state_version and l.quiet = 0
                order by l.version) t
       ) tail on true
  left join lateral (
       select array_agg(p.id) as ids, array_agg(p.seq) as seqs, array_agg(p.parked_at) as ats,
              array_agg(p.deadline) as deadlines, array_agg(p.body) as bodies
         from (select * from parked where lane = asked.lane and parked.name = asked.name order by seq) p
       ) waiting on true
 order by asked.n`}

// Load reads what is needed to judge commands of these streams.
func (s *Store) Load(ctx context.Context, streams []commands.Stream) ([]*store.Record, error) {
	records := make([]*store.Record, len(streams))
	if len(streams) == 0 {
		return records, nil
	}
	var names, lanes column
	names.start(pgtype.TextOID, len(streams))
	lanes.start(pgtype.Int4OID, len(streams))
	count := s.Identity().Lanes
	for i, stream := range streams {
		names.name(stream)
		lanes.int32(int32(stream.Lane(count)))
		records[i] = &store.Record{Stream: stream}
	}
	err := s.reads.query(ctx, loadStreams, func(r row) error {
		into := records[r.uint64(0)-1]
		if !r.null(1) {
			into.Handle = &store.Handle{Value: &handle{number: r.int64(1), stored: true}}
			if err := readHead(into, r[2:]); err != nil {
				return err
			}
		}
		return readWaiting(into, r[9:])
	}, names.b, lanes.b)
	if err != nil {
		return nil, failure("load streams", err)
	}
	for _, r := range records {
		if r.Handle != nil {
			continue
		}
		number, err := s.numbers.next(ctx)
		if err != nil {
			return nil, failure("number a stream", err)
		}
		r.Handle = &store.Handle{Value: &handle{number: number}}
	}
	return records, nil
}

// readHead reads state_version, state, position, version, id and body of the last landing, and the bodies
// that the state does not hold yet.
func readHead(into *store.Record, r row) error {
	into.StateVersion, into.State = r.uint64(0), r.bytes(1)
	last := commands.Outcome{Position: r.uint64(2), Version: r.uint64(3), ID: r.id(4)}
	if err := record.DecodeOutcome(r.bytes(5), &last); err != nil {
		return fmt.Errorf("the log of %s: %w", into.Stream, err)
	}
	into.Head = aggregate.Head{Version: last.Version, Action: last.ID, Position: last.Position, At: last.At,
		Session: strings.Clone(last.Session), ByAny: last.Policy == commands.PolicyAny}
	bodies := r.list(6)
	for i := range bodies {
		var o commands.Outcome
		if err := record.DecodeOutcome(bodies.bytes(i), &o); err != nil {
			return fmt.Errorf("the log of %s: %w", into.Stream, err)
		}
		into.Tail = append(into.Tail, o.Events...)
	}
	// The state may be of a version in the middle of a landing.
	have, missing := uint64(len(into.Tail)), last.Version-into.StateVersion
	if have < missing {
		return fmt.Errorf("the log of %s lacks events after version %d", into.Stream, into.StateVersion)
	}
	into.Tail = into.Tail[have-missing:]
	return nil
}

// readWaiting reads ids, seqs, times of parking, deadlines and bodies.
func readWaiting(into *store.Record, r row) error {
	ids, seqs, ats, deadlines, bodies := r.list(0), r.list(1), r.list(2), r.list(3), r.list(4)
	for i := range ids {
		w := &aggregate.Waiting{Seq: seqs.uint64(i), ParkedAt: ats.time(i), Deadline: time.Duration(deadlines.int64(i))}
		w.ID, w.Stream = ids.id(i), into.Stream
		if err := record.DecodeEnvelope(bodies.bytes(i), &w.Envelope); err != nil {
			return fmt.Errorf("parked command %s: %w", w.ID, err)
		}
		into.Waiting = append(into.Waiting, w)
	}
	return nil
}
