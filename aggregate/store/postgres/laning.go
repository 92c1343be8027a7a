package postgres

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
)

// noteLaneUser says what a process does, and removes those that have not been seen for long.
var noteLaneUser = &statement{"note_lane_user", `
with gone as (
       delete from processes where id in (
              select id from processes where id <> $1 and seen < now() - interval '1 minute' for update skip locked)
     )
insert into processes (id, name, roles, bus, generation, change, quiet) values ($1, $2, $3, $4, $5, $6, $7)
    on conflict (id) do update
   set name = excluded.name, roles = excluded.roles, bus = excluded.bus, generation = excluded.generation,
       change = excluded.change, quiet = excluded.quiet, seen = clock_timestamp()`}

// removeLaneUser takes it off the list.
var removeLaneUser = &statement{"remove_lane_user", `delete from processes where id = $1`}

// readLaning gives the present division, then the past ones. A change whose time is over is none.
var readLaning = &statement{"read_laning", `
select m.generation, m.lanes, 0::bigint as age,
       c.id, c.wanted, c.closing, c.operator,
       (extract(epoch from clock_timestamp() - c.began) * 1e9)::bigint as began,
       (extract(epoch from c.until - clock_timestamp()) * 1e9)::bigint as remaining
  from meta m
  left join lane_change c on c.until > clock_timestamp()
 union all
select p.generation, p.lanes, (extract(epoch from clock_timestamp() - p.ended_at) * 1e9)::bigint,
       null, null, null, null, null, null
  from past_lanes p, meta m
 where p.generation < m.generation
 order by generation desc`}

// Laning tells how streams are divided now, and whether that is being changed.
func (s *Store) Laning(ctx context.Context) (store.Laning, error) {
	var l store.Laning
	first := true
	err := s.commits.query(ctx, readLaning, func(r row) error {
		if !first {
			l.Past = append(l.Past, store.PastLaning{Generation: r.uint64(0), Lanes: r.int(1), Since: time.Duration(r.int64(2))})
			return nil
		}
		first = false
		l.Generation, l.Lanes = r.uint64(0), r.int(1)
		if !r.null(3) {
			l.Change = &store.LaneChange{ID: r.text(3), Lanes: r.int(4), Closing: r.bool(5), By: r.text(6),
				Began: time.Duration(r.int64(7)), Left: time.Duration(r.int64(8))}
		}
		return nil
	})
	if err != nil {
		return store.Laning{}, failure("read the number of lanes", err)
	}
	return l, nil
}

// NoteLaneUser says that a process lives and what it does with lanes.
func (s *Store) NoteLaneUser(ctx context.Context, u store.LaneUser) error {
	err := s.commits.query(ctx, noteLaneUser, func(row) error { return nil }, []byte(u.ID), []byte(u.Name), []byte(u.Roles),
		[]byte(u.Bus), numberParam(u.Generation), []byte(u.Change), binary.BigEndian.AppendUint32(nil, uint32(u.Quiet)))
	if err != nil {
		return failure("note what this process does with lanes", err)
	}
	return nil
}

// RemoveLaneUser says that a process has ended.
func (s *Store) RemoveLaneUser(ctx context.Context, id string) error {
	if err := s.commits.query(ctx, removeLaneUser, func(row) error { return nil }, []byte(id)); err != nil {
		return failure("take this process off the list", err)
	}
	return nil
}

var readLaneUsers = &statement{"read_lane_users", `
select id, name, roles, bus, generation, change, quiet, (extract(epoch from clock_timestamp() - seen) * 1e9)::bigint
  from processes order by name, id`}

// LaneUsers lists the processes that were seen within the last minute.
func (s *Store) LaneUsers(ctx context.Context) ([]store.LaneUser, error) {
	var all []store.LaneUser
	err := s.reads.query(ctx, readLaneUsers, func(r row) error {
		all = append(all, store.LaneUser{ID: r.text(0), Name: r.text(1), Roles: r.text(2), Bus: r.text(3), Generation: r.uint64(4),
			Change: r.text(5), Quiet: r.int(6), Seen: max(0, time.Duration(r.int64(7)))})
		return nil
	})
	if err != nil {
		return nil, failure("list the processes", err)
	}
	return all, nil
}

// Adopt makes this process go by a division of the streams that Laning told of. Nobody may be working at lanes
// through this store meanwhile.
func (s *Store) Adopt(l store.Laning) {
	next := *s.identity.Load()
	next.Lanes, next.generation = l.Lanes, l.Generation
	s.identity.Store(&next)
}

// LaneGeneration is the generation that this process goes by.
func (s *Store) LaneGeneration() uint64 { return s.identity.Load().generation }

var readLanes = &statement{"read_lanes", `
select l.lane, l.epoch, l.owner, l.acquired_at, l.worked, l.worked_at,
       (select count(*) from parked p where p.lane = l.lane)
  from lanes l order by l.lane`}

// LaneStates lists the lanes.
func (s *Store) LaneStates(ctx context.Context) ([]store.LaneState, error) {
	var all []store.LaneState
	err := s.reads.query(ctx, readLanes, func(r row) error {
		l := store.LaneState{Lane: r.int(0), Epoch: r.uint64(1), Owner: r.text(2), Worked: time.Duration(r.int64(4)),
			Parked: int(r.int64(6))}
		if !r.null(3) {
			l.Acquired = r.time(3)
		}
		if !r.null(5) {
			l.WorkedAt = r.time(5)
		}
		all = append(all, l)
		return nil
	})
	if err != nil {
		return nil, failure("list the lanes", err)
	}
	return all, nil
}

var retireLanes = &statement{"retire_lanes", `delete from past_lanes where generation = $1`}

// RetireLanes forgets a past division: no message for it can come any more.
func (s *Store) RetireLanes(ctx context.Context, generation uint64) error {
	if err := s.commits.query(ctx, retireLanes, func(row) error { return nil }, numberParam(generation)); err != nil {
		return failure("forget a past number of lanes", err)
	}
	return nil
}
