-- +goose Up

-- Which history this is. One row.
create table meta (
    only_row   boolean     primary key default true check (only_row),
    epoch      text        not null check (epoch ~ '^[A-Za-z0-9]+$'),
    lanes      integer     not null check (lanes > 0),
    created_at timestamptz not null default now()
);

-- Who may commit on a lane. Every commit updates the rows of its lanes, and that update is the fence: it
-- finds no row when the epoch has moved on, and it holds the row until the commit is through. The pages
-- are kept nearly empty so that updates stay on their page (HOT).
create table lanes (
    lane        integer primary key,
    epoch       bigint  not null default 0,
    worked      bigint  not null default 0 check (worked >= 0), -- nanoseconds in the lane's life
    owner       text    not null default '',
    acquired_at timestamptz,
    worked_at   timestamptz
) with (fillfactor = 10);

-- The position of the newest outcome. One row; whoever has updated it is next to commit, so positions are
-- dense and in commit order.
create table counter (
    only_row boolean primary key default true check (only_row),
    position bigint  not null default 0
) with (fillfactor = 10);

-- The streams on which something has landed, with their states. Where a stream stands is not kept here
-- but is its last row in the log. A state changes in place: it is not indexed, and half of each page is
-- left free for it (HOT).
create table streams (
    stream        bigint primary key,                     -- reserved in blocks from stream_blocks
    state_version bigint not null check (state_version >= 0),
    name          text   collate "C" not null unique,     -- [tenant/]type/id
    state         bytea                                   -- of state_version; null before the first one
) with (fillfactor = 50);

-- Each value stands for a block of 1,024 stream numbers.
create sequence stream_blocks;

-- All outcomes: one row each, with the events of a landing inside its body.
--
-- log_stream_version is a stream's history: its last entry is the head, and those with quiet = 0 are the
-- changelog. A landing without events leaves the version as it is, so it has its position there; that
-- two landings with events end at one version is impossible.
create table log (
    position bigint primary key,
    version  bigint not null,              -- the stream's, after it
    stream   bigint,                       -- null for a rejection
    quiet    bigint not null,              -- the position of a landing without events, otherwise 0
    id       uuid   not null unique,
    name     text   collate "C" not null,  -- of the stream
    body     bytea  not null
);
create unique index log_stream_version on log (stream, version, quiet) where stream is not null;

-- Folded states as of earlier versions.
create table snapshots (
    stream  bigint not null,
    version bigint not null,
    state   bytea  not null,
    primary key (stream, version)
);

-- The parking lot. An id is here or in the log, never in both.
create table parked (
    id        uuid        primary key,
    n         bigint      generated always as identity, -- order of parking
    seq       bigint      not null,                     -- order of parking within the stream
    deadline  bigint      not null,                     -- nanoseconds of the lane's working time
    parked_at timestamptz not null,
    lane      integer     not null,
    name      text        collate "C" not null,         -- of the stream
    session   bytea       not null,
    body      bytea       not null
) with (fillfactor = 70);
create index parked_lane_name on parked (lane, name);

create table dead_letters (
    n      bigint      generated always as identity primary key,
    at     timestamptz not null,
    id     uuid        not null,
    name   text        collate "C" not null,
    reason text        not null,
    cause  bytea       not null,
    body   bytea       not null
);

-- +goose Down
drop table dead_letters, parked, snapshots, log, streams, counter, lanes, meta;
drop sequence stream_blocks;
