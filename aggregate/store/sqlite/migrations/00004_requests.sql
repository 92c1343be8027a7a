-- +goose Up

-- Who is to be told what became of a command besides the one who sent it first. Numbers are not used again.
CREATE TABLE asks (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    lane        INTEGER NOT NULL, -- of the stream
    id          BLOB NOT NULL CHECK (length(id) = 16),
    stream      TEXT NOT NULL,
    conflict    INTEGER NOT NULL CHECK (conflict IN (0, 1)),
    reply_to    TEXT NOT NULL,
    correlation TEXT NOT NULL
) STRICT;

-- What is decided on a dead letter, whether other services were told of it, and letters that are no commands: the
-- envelope of one of another origin is that service's message. Other services are not told of what was there before.
ALTER TABLE dead_letters ADD COLUMN origin TEXT NOT NULL DEFAULT 'worker';
ALTER TABLE dead_letters ADD COLUMN told INTEGER NOT NULL DEFAULT 0 CHECK (told IN (0, 1));
ALTER TABLE dead_letters ADD COLUMN resolution TEXT NOT NULL DEFAULT '' CHECK (resolution IN ('', 'retried', 'discarded'));
ALTER TABLE dead_letters ADD COLUMN decided_at INTEGER; -- microseconds since 1970
ALTER TABLE dead_letters ADD COLUMN decided_by TEXT;
ALTER TABLE dead_letters ADD COLUMN why TEXT;
ALTER TABLE dead_letters ADD COLUMN retried_as BLOB CHECK (length(retried_as) = 16);
UPDATE dead_letters SET told = 1;
CREATE INDEX dead_letters_untold ON dead_letters (number) WHERE told = 0;
CREATE INDEX dead_letters_amqp ON dead_letters (number) WHERE origin = 'amqp';
CREATE INDEX dead_letters_open ON dead_letters (number) WHERE resolution = '';

-- +goose Down
DROP INDEX dead_letters_open;
DROP INDEX dead_letters_amqp;
DROP INDEX dead_letters_untold;
DELETE FROM dead_letters WHERE origin <> 'worker';
ALTER TABLE dead_letters DROP COLUMN retried_as;
ALTER TABLE dead_letters DROP COLUMN why;
ALTER TABLE dead_letters DROP COLUMN decided_by;
ALTER TABLE dead_letters DROP COLUMN decided_at;
ALTER TABLE dead_letters DROP COLUMN resolution;
ALTER TABLE dead_letters DROP COLUMN told;
ALTER TABLE dead_letters DROP COLUMN origin;
DROP TABLE asks;
