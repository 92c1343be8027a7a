-- +goose Up

-- Up to where the log is in the rows of each projection. It is moved in the transaction that changes them,
-- before they are: whoever moves it is the only one at work. The page is kept nearly empty so that updates
-- stay on it (HOT).
create table projection_checkpoints (
    projection text   primary key,
    epoch      text   not null,
    position   bigint not null check (position >= 0)
) with (fillfactor = 10);

-- Each stream on which an event has happened, as of its last action.
create table catalog (
    tenant   text        collate "C" not null,
    type     text        collate "C" not null,
    id       text        collate "C" not null,
    version  bigint      not null check (version > 0),
    ticket   uuid        not null,
    at       timestamptz not null,
    position bigint      not null check (position > 0),
    primary key (tenant, type, id)
);

-- Every change of a stream moves its entry here: the price of an order by last change.
create unique index catalog_by_change on catalog (tenant, type, position desc);

-- +goose Down
drop table catalog, projection_checkpoints;
