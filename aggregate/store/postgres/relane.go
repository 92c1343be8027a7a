package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ticketed/doorman/aggregate/store"
)

// BeginLaneChange announces another number of lanes. From then on whoever sends on lanes stops, and goes on as
// if nothing had been said once the time is over. It fails with store.ErrLanesChanging while another change is
// under way.
func (s *Store) BeginLaneChange(ctx context.Context, lanes int, by string, within time.Duration) (id string, err error) {
	if lanes < 1 || lanes > maxLanes {
		return "", fmt.Errorf("postgres: the number of lanes must be between 1 and %d, not %d", maxLanes, lanes)
	}
	err = s.commits.QueryRow(ctx, `
insert into lane_change as c (id, wanted, until, operator)
values ($1, $2, clock_timestamp() + $3::double precision * interval '1 second', $4)
    on conflict (only_row) do update
   set id = excluded.id, wanted = excluded.wanted, until = excluded.until, operator = excluded.operator,
       began = excluded.began, closing = false
 where c.until <= clock_timestamp()
returning id`, rand.Text(), lanes, within.Seconds(), by).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", store.ErrLanesChanging
	}
	if err != nil {
		return "", failure("begin to change the number of lanes", err)
	}
	return id, nil
}

// CloseLanes has workers give their lanes up, or go on with them, while a change is under way.
func (s *Store) CloseLanes(ctx context.Context, id string, closing bool) error {
	done, err := s.commits.Exec(ctx, `
update lane_change set closing = $2 where id = $1 and until > clock_timestamp()`, id, closing)
	if err != nil {
		return failure("have the lanes given up", err)
	}
	if done.RowsAffected() == 0 {
		return store.ErrNoLaneChange
	}
	return nil
}

// AbortLaneChange undoes a change that is under way, and says whether there was one: everybody goes on with the
// number there is.
func (s *Store) AbortLaneChange(ctx context.Context) (bool, error) {
	var active bool
	err := s.commits.QueryRow(ctx, `delete from lane_change returning until > clock_timestamp()`).Scan(&active)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, failure("abort the change of the number of lanes", err)
	}
	return active, nil
}

// FinishLaneChange makes the number that a change is about hold, in one transaction: what is parked moves to
// the lanes that its streams are on then, with the time it has left, and no claim made before commits any more.
// Heads, log and the log's epoch stay as they are. It waits for commits that are under way.
func (s *Store) FinishLaneChange(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.patience())
	defer cancel()
	for {
		err := pgx.BeginFunc(ctx, s.commits, func(tx pgx.Tx) error { return relane(ctx, tx, id) })
		switch answer := state(err); {
		case err == nil:
			return nil
		case errors.Is(err, store.ErrNoLaneChange):
			return err
		case answer != stateLockTimeout || ctx.Err() != nil:
			return failure("change the number of lanes", err)
		}
		if err := s.commits.query(ctx, endStuck, func(row) error { return nil }); err != nil {
			return failure("end stuck commits", err)
		}
	}
}

// relane is the transaction of FinishLaneChange.
func relane(ctx context.Context, tx pgx.Tx, id string) error {
	// The rows of all lanes, in the order in which commits lock them: no commit gets past this one, and each
	// waits here or is through.
	_, err := tx.Exec(ctx, `set local lock_timeout = '2s'`)
	if err == nil {
		_, err = tx.Exec(ctx, `select from lanes order by lane for update`)
	}
	if err != nil {
		return err
	}
	var wanted int
	err = tx.QueryRow(ctx, `delete from lane_change where id = $1 and until > clock_timestamp() returning wanted`, id).Scan(&wanted)
	if errors.Is(err, pgx.ErrNoRows) {
		return store.ErrNoLaneChange
	}
	if err != nil {
		return err
	}
	names, err := laneNames(ctx, tx)
	if err != nil {
		return err
	}
	lanes := make([]int32, len(names))
	for i, name := range names {
		lanes[i] = int32(parseName(name).Lane(wanted))
	}
	for _, step := range []struct {
		sql  string
		args []any
	}{
		// All clocks are set to the one that is furthest, and deadlines by as much as theirs.
		{`
update parked p set lane = n.lane, deadline = p.deadline - l.worked + (select max(worked) from lanes)
  from unnest($1::text[], $2::integer[]) as n (name, lane), lanes l
 where p.name = n.name and l.lane = p.lane`, []any{names, lanes}},
		{`update asks a set lane = n.lane from unnest($1::text[], $2::integer[]) as n (name, lane) where a.name = n.name`,
			[]any{names, lanes}},
		{`insert into past_lanes (generation, lanes) select generation, lanes from meta`, nil},
		{`update meta set generation = generation + 1, lanes = $1`, []any{wanted}},
		// Epochs begin above all that ever were, those of lanes that once were included.
		{`
insert into lanes (lane, epoch, worked)
select n, 0, 0 from generate_series(0, $1::integer - 1) n
    on conflict do nothing`, []any{wanted}},
		{`
update lanes set epoch = (select max(epoch) + 1 from lanes), worked = (select max(worked) from lanes),
       owner = '', acquired_at = null, worked_at = null`, nil},
		{`delete from lanes where lane >= $1`, []any{wanted}},
		// Any lane's streams may have been on any other one, so none has been passed on further than the one that
		// is furthest behind. No claim made before saves more.
		{`select from relays order by lane for update`, nil},
		{`
insert into relays (lane, epoch, position)
select n, 0, (select coalesce(min(position), 0) from relays) from generate_series(0, $1::integer - 1) n
    on conflict do nothing`, []any{wanted}},
		{`update relays set epoch = 0, position = (select min(position) from relays)`, nil},
		{`delete from relays where lane >= $1`, []any{wanted}},
	} {
		if _, err := tx.Exec(ctx, step.sql, step.args...); err != nil {
			return err
		}
	}
	return nil
}

// laneNames are the streams of which something is noted with the lane.
func laneNames(ctx context.Context, tx pgx.Tx) ([]string, error) {
	rows, err := tx.Query(ctx, `select name from parked union select name from asks`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
