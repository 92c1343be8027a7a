-- +goose Up

-- What is true of the whole file: epoch (of the log's history), lanes, settled (see streams), clocks.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- One row for each command that came to its end, landed with its events or rejected. Position is the rowid,
-- so rows are appended and never move. The body is that of package record.
CREATE TABLE log (
    position INTEGER PRIMARY KEY CHECK (position > 0),
    id       BLOB NOT NULL CHECK (length(id) = 16),
    stream   TEXT NOT NULL,    -- type/id, with the tenant in front where there is one
    version  INTEGER NOT NULL, -- the stream's after it
    body     BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX log_id ON log (id);

-- The head of each stream. A row may lag behind the log: the log is read again from meta.settled on when the
-- file is opened, so that a commit need not write the row of every stream that it touches.
CREATE TABLE streams (
    number        INTEGER PRIMARY KEY,
    name          TEXT NOT NULL,
    version       INTEGER NOT NULL,
    action        BLOB NOT NULL CHECK (length(action) = 16),
    position      INTEGER NOT NULL,
    at            INTEGER NOT NULL, -- microseconds since 1970
    session       TEXT NOT NULL,
    by_any        INTEGER NOT NULL CHECK (by_any IN (0, 1)),
    state         BLOB,             -- NULL before the first one
    state_version INTEGER NOT NULL CHECK (state_version BETWEEN 0 AND version),
    tail          BLOB NOT NULL     -- where its newest landings are in the log, those that fill no page yet
) STRICT;

CREATE UNIQUE INDEX streams_name ON streams (name);

-- Where the older landings of a stream are in the log, 64 to a page. An index entry for each landing would
-- dirty a page of the index for each stream of a batch.
CREATE TABLE stream_pages (
    stream        INTEGER NOT NULL,
    first_version INTEGER NOT NULL,
    landings      BLOB NOT NULL,
    PRIMARY KEY (stream, first_version)
) STRICT, WITHOUT ROWID;

-- States kept for reads as of a version.
CREATE TABLE snapshots (
    stream  INTEGER NOT NULL,
    version INTEGER NOT NULL,
    state   BLOB NOT NULL,
    PRIMARY KEY (stream, version)
) STRICT, WITHOUT ROWID;

-- Commands that wait for their predecessor, in the order of parking.
CREATE TABLE parked (
    number    INTEGER PRIMARY KEY,
    id        BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    stream    TEXT NOT NULL,
    lane      INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    session   TEXT NOT NULL,
    deadline  INTEGER NOT NULL, -- nanoseconds of the lane's working time
    parked_at INTEGER NOT NULL, -- microseconds since 1970
    body      BLOB NOT NULL     -- the envelope, package record
) STRICT;

CREATE INDEX parked_stream ON parked (stream);

CREATE TABLE lanes (
    lane  INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    owner TEXT NOT NULL
) STRICT;

-- Commands whose aggregate code broke.
CREATE TABLE dead_letters (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL, -- microseconds since 1970
    id       BLOB NOT NULL CHECK (length(id) = 16),
    stream   TEXT NOT NULL,
    reason   TEXT NOT NULL,
    cause    TEXT NOT NULL,
    envelope BLOB NOT NULL
) STRICT;

-- +goose Down
DROP TABLE dead_letters;
DROP TABLE lanes;
DROP TABLE parked;
DROP TABLE snapshots;
DROP TABLE stream_pages;
DROP TABLE streams;
DROP TABLE log;
DROP TABLE meta;
