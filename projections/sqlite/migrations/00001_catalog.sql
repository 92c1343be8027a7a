-- +goose Up

-- Up to where the log is in the rows of each projection. It is moved in the transaction that changes them.
CREATE TABLE checkpoints (
    projection TEXT    PRIMARY KEY,
    epoch      TEXT    NOT NULL,
    position   INTEGER NOT NULL CHECK (position >= 0)
) STRICT, WITHOUT ROWID;

-- Each stream on which an event has happened, as of its last action.
CREATE TABLE catalog (
    tenant   TEXT    NOT NULL,
    type     TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    version  INTEGER NOT NULL CHECK (version > 0),
    ticket   BLOB    NOT NULL CHECK (length(ticket) = 16),
    at       INTEGER NOT NULL, -- microseconds since 1970
    position INTEGER NOT NULL CHECK (position > 0),
    PRIMARY KEY (tenant, type, id)
) STRICT, WITHOUT ROWID;

-- Every change of a stream moves its entry here: the price of an order by last change.
CREATE UNIQUE INDEX catalog_by_change ON catalog (tenant, type, position);

-- +goose Down
DROP TABLE catalog;
DROP TABLE checkpoints;
