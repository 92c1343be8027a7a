-- +goose Up

-- What a session waits for is read whenever one of its clients connects. Commands without a session, whose
-- number has no such bound, are not in it.
CREATE INDEX parked_session ON parked (session) WHERE session <> '';

-- +goose Down
DROP INDEX parked_session;
