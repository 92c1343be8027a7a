-- +goose Up

-- How far each lane's outcomes have been passed on to other services: all of them up to this position. It is
-- not in the row of the lane, which every commit holds: whoever saves it keeps no commit waiting and waits for
-- none. The epoch is that of the lane, moved along with it, so it fences here as well. A lane that is acquired
-- for the first time gets its row then. What was there before anything was passed on counts as passed on.
create table relays (
    lane     integer primary key,
    epoch    bigint  not null, -- 0: nobody's
    position bigint  not null check (position >= 0)
) with (fillfactor = 10);
insert into relays (lane, epoch, position)
select l.lane, l.epoch, c.position from lanes l cross join counter c where c.position > 0;

-- That of 00006, and it tells how far the lane's outcomes have been passed on. A lane without a row is one of a
-- new store, or it came with a change of the number of lanes, and its streams may have been on any other lane.
drop function acquire_lanes;
-- +goose StatementBegin
create function acquire_lanes(wanted integer[], new_owner text, of_generation bigint)
returns table (lane integer, epoch bigint, worked bigint, relayed bigint)
language plpgsql volatile set lock_timeout = '2s' as $$
begin
    perform from lanes l where l.lane = any (wanted) order by l.lane for no key update;
    -- Who changes the number holds all rows until it is through, so this does not change any more.
    if (select m.generation from meta m) <> of_generation then
        raise exception 'the number of lanes was changed' using errcode = 'DM004';
    end if;
    return query
    with taken as (
        update lanes l set epoch = l.epoch + 1, owner = new_owner, acquired_at = now()
         where l.lane = any (wanted)
        returning l.lane, l.epoch, l.worked
    ), fenced as (
        insert into relays as r (lane, epoch, position)
        select t.lane, t.epoch, coalesce((select min(o.position) from relays o), 0) from taken t order by t.lane
            on conflict on constraint relays_pkey do update set epoch = excluded.epoch
        returning r.lane, r.position
    )
    select t.lane, t.epoch, t.worked, f.position from taken t join fenced f on f.lane = t.lane;
end
$$;
-- +goose StatementEnd

-- Saves how far lanes have been passed on, for those of the claims that hold theirs still, and tells for how
-- many that is.
-- +goose StatementBegin
create function save_relayed(claim_lane integer[], claim_epoch bigint[], claim_relayed bigint[])
returns bigint language plpgsql volatile as $$
declare
    held bigint;
begin
    -- The rows are locked in the order in which acquire_lanes does.
    perform from relays r where r.lane = any (claim_lane) order by r.lane for no key update;
    update relays r set position = greatest(r.position, c.relayed)
      from unnest(claim_lane, claim_epoch, claim_relayed) as c (lane, epoch, relayed)
     where r.lane = c.lane and r.epoch = c.epoch;
    get diagnostics held = row_count;
    return held;
end
$$;
-- +goose StatementEnd

-- +goose Down
drop function save_relayed;
drop function acquire_lanes;
-- +goose StatementBegin
create function acquire_lanes(wanted integer[], new_owner text, of_generation bigint)
returns table (lane integer, epoch bigint, worked bigint)
language plpgsql volatile set lock_timeout = '2s' as $$
begin
    perform from lanes l where l.lane = any (wanted) order by l.lane for no key update;
    if (select m.generation from meta m) <> of_generation then
        raise exception 'the number of lanes was changed' using errcode = 'DM004';
    end if;
    return query
    update lanes l set epoch = l.epoch + 1, owner = new_owner, acquired_at = now()
     where l.lane = any (wanted)
    returning l.lane, l.epoch, l.worked;
end
$$;
-- +goose StatementEnd
drop table relays;
