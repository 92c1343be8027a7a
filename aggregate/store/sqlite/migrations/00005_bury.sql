-- +goose Up

-- What was refused and comes again is found among the letters by its key.
ALTER TABLE dead_letters ADD COLUMN key BLOB CHECK (length(key) = 16);
CREATE INDEX dead_letters_key ON dead_letters (key) WHERE key IS NOT NULL;

-- +goose Down
DROP INDEX dead_letters_key;
ALTER TABLE dead_letters DROP COLUMN key;
