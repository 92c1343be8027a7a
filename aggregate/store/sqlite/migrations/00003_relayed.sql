-- +goose Up

-- How far the lane's outcomes have been passed on to other services: a position. What was there before anything
-- was passed on counts as passed on.
ALTER TABLE lanes ADD COLUMN relayed INTEGER NOT NULL DEFAULT 0 CHECK (relayed >= 0);
UPDATE lanes SET relayed = (SELECT coalesce(max(position), 0) FROM log);

-- +goose Down
ALTER TABLE lanes DROP COLUMN relayed;
