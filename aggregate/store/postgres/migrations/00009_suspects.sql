-- +goose Up

-- Commands that were judged alone because their frame kept coming back, as when their code ends the process.
create table suspects (
    id        uuid        primary key,
    process   text        collate "C" not null, -- that judged it last
    processes integer     not null,             -- how many have
    at        timestamptz not null
);

-- +goose Down
drop table suspects;
