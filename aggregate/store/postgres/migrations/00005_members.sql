-- +goose Up

-- The worker processes that live, of which each writes its row about once a second. Without an index on
-- what changes, and with pages kept nearly empty, those updates stay on their page (HOT).
create sequence members_joined;
create table members (
    id     text        collate "C" primary key,
    name   text        not null,
    joined bigint      not null default nextval('members_joined'),
    seen   timestamptz not null default clock_timestamp()
) with (fillfactor = 10);
alter sequence members_joined owned by members.joined;

-- +goose Down
drop table members;
