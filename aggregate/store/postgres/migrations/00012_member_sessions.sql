-- +goose Up

-- The server process behind the connection over which a worker said that it lives. When that has ended, and the worker
-- has not been heard of over another one since, it was killed. NULL: it is not known, as of processes of an earlier program.
alter table members add column session integer;

-- Whether a worker lives that was seen last at a time: not for ever, and not long after its connection ended, unless
-- the database ended it.
-- +goose StatementBegin
create function member_lives(seen timestamptz, session integer, lapse interval, cut interval)
returns boolean language sql volatile as $$
    select seen > now() - lapse
       and (seen > now() - cut or session is null or seen < pg_postmaster_start_time()
            or exists (select from pg_stat_get_activity(session)))
$$;
-- +goose StatementEnd

-- +goose Down
drop function member_lives;
alter table members drop column session;
