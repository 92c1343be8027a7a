-- +goose Up

-- What a session waits for is read whenever one of its clients connects, in order of parking. Commands
-- without a session, whose number has no such bound, are not in it.
create index parked_session on parked (session, n) where session <> '';

-- +goose Down
drop index parked_session;
