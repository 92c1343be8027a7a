-- +goose Up

-- How often the number of lanes was changed. What is true of one generation, as which lane a stream is on,
-- is not of another one.
alter table meta add column generation bigint not null default 0;

-- Past divisions of the streams: messages for them may still come, until it is retired.
create table past_lanes (
    generation bigint      primary key,
    lanes      integer     not null check (lanes > 0),
    ended_at   timestamptz not null default now()
);

-- The change of the number that is under way; at most one. It counts until its time is over.
create table lane_change (
    only_row boolean     primary key default true check (only_row),
    id       text        collate "C" not null,
    wanted   integer     not null check (wanted > 0),
    began    timestamptz not null default clock_timestamp(),
    until    timestamptz not null,
    closing  boolean     not null default false, -- workers are to give their lanes up
    operator text        not null
);

-- The processes that send on lanes or work them, of which each writes its row several times while it lives.
create table processes (
    id         text        collate "C" primary key,
    name       text        not null,
    roles      text        not null,
    bus        text        not null,
    generation bigint      not null, -- which it goes by
    change     text        not null, -- the change that it has heard of last
    quiet      integer     not null, -- for that change: 1 it sends nothing any more, 2 nor works at any lane
    seen       timestamptz not null default clock_timestamp()
) with (fillfactor = 10);

-- Takes lanes over, in the order in which commits lock them, for somebody who goes by this generation. It
-- waits for the transactions that hold the rows, two seconds for each at most, and then fails with
-- lock_not_available (55P03). DM004: the number of lanes was changed.
drop function acquire_lanes;
-- +goose StatementBegin
create function acquire_lanes(wanted integer[], new_owner text, of_generation bigint)
returns table (lane integer, epoch bigint, worked bigint)
language plpgsql volatile set lock_timeout = '2s' as $$
begin
    perform from lanes l where l.lane = any (wanted) order by l.lane for no key update;
    -- Who changes the number holds all rows until it is through, so this does not change any more.
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

-- +goose Down
drop function acquire_lanes;
-- +goose StatementBegin
create function acquire_lanes(wanted integer[], new_owner text)
returns table (lane integer, epoch bigint, worked bigint)
language plpgsql volatile set lock_timeout = '2s' as $$
begin
    perform from lanes l where l.lane = any (wanted) order by l.lane for no key update;
    return query
    update lanes l set epoch = l.epoch + 1, owner = new_owner, acquired_at = now()
     where l.lane = any (wanted)
    returning l.lane, l.epoch, l.worked;
end
$$;
-- +goose StatementEnd
drop table processes, lane_change, past_lanes;
alter table meta drop column generation;
