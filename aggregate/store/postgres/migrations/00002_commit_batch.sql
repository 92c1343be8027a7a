-- +goose Up

-- A whole commit is one call of this function: the server has everything before it takes the first lock,
-- so a client that freezes half-way holds none, and there is one round trip. Each statement inside sees
-- what was committed before that statement began (READ COMMITTED, volatile function), which the checks
-- after the counter rely on.
--
-- Errors of its own, which undo everything:
--   DM001  a claim is older, or newer, than its lane
--   DM002  an id is known already
--   DM003  a stream or a parked command is not as the caller believes
--
-- It returns the position of the newest outcome after the batch.
-- +goose StatementBegin
create function commit_batch(
    claim_lane integer[], claim_epoch bigint[], claim_worked bigint[],
    -- Streams that are new or given a state: a name for a new one, null for others (all, when it is empty).
    stream_number bigint[], stream_name text[], stream_state_version bigint[], stream_state bytea[],
    snapshot_stream bigint[], snapshot_version bigint[], snapshot_state bytea[],
    -- The stream is null for a rejection; quiet is a landing without events.
    outcome_version bigint[], outcome_stream bigint[], outcome_quiet boolean[], outcome_id uuid[],
    outcome_name text[], outcome_body bytea[],
    unpark_id uuid[],
    extend_id uuid[], extend_deadline bigint[],
    park_id uuid[], park_seq bigint[], park_deadline bigint[], park_at timestamptz[], park_lane integer[],
    park_name text[], park_session bytea[], park_body bytea[],
    dead_at timestamptz[], dead_id uuid[], dead_name text[], dead_reason text[], dead_cause bytea[],
    dead_body bytea[]
) returns bigint language plpgsql volatile as $$
declare
    outcomes constant bigint := cardinality(outcome_id);
    parks    constant bigint := cardinality(park_id);
    stated   constant bigint := cardinality(stream_number);
    touched  bigint;
    created  bigint := 0;
    newest   bigint;
begin
    -- The fence. It waits for whoever holds one of the lanes, then compares with what that one left.
    update lanes l set worked = c.worked, worked_at = now()
      from unnest(claim_lane, claim_epoch, claim_worked) as c (lane, epoch, worked)
     where l.lane = c.lane and l.epoch = c.epoch;
    get diagnostics touched = row_count;
    if touched <> cardinality(claim_lane) then
        raise exception 'a lane was taken over' using errcode = 'DM001';
    end if;

    -- What needs no position.
    if cardinality(stream_name) > 0 then
        insert into streams (stream, state_version, name, state)
        select n.stream, n.state_version, n.name, n.state
          from unnest(stream_number, stream_name, stream_state_version, stream_state)
            as n (stream, name, state_version, state)
         where n.name is not null;
        get diagnostics created = row_count;
    end if;
    if created < stated then
        update streams s set state_version = n.state_version, state = n.state
          from unnest(stream_number, stream_name, stream_state_version, stream_state)
            as n (stream, name, state_version, state)
         where n.name is null and s.stream = n.stream;
        get diagnostics touched = row_count;
        if created + touched <> stated then
            raise exception 'a stream is not there' using errcode = 'DM003';
        end if;
    end if;
    if cardinality(snapshot_stream) > 0 then
        insert into snapshots (stream, version, state)
        select * from unnest(snapshot_stream, snapshot_version, snapshot_state)
            on conflict do nothing;
    end if;
    if cardinality(unpark_id) > 0 then
        delete from parked where id = any (unpark_id);
        get diagnostics touched = row_count;
        if touched <> cardinality(unpark_id) then
            raise exception 'a command is not parked' using errcode = 'DM003';
        end if;
    end if;
    if cardinality(extend_id) > 0 then
        update parked p set deadline = e.deadline
          from unnest(extend_id, extend_deadline) as e (id, deadline)
         where p.id = e.id;
        get diagnostics touched = row_count;
        if touched <> cardinality(extend_id) then
            raise exception 'a command is not parked' using errcode = 'DM003';
        end if;
    end if;
    if cardinality(dead_id) > 0 then
        insert into dead_letters (at, id, name, reason, cause, body)
        select * from unnest(dead_at, dead_id, dead_name, dead_reason, dead_cause, dead_body);
    end if;

    -- The counter: from here to the end of the transaction there is one committer at a time.
    if outcomes + parks = 0 then
        select c.position into strict newest from counter c;
        return newest;
    end if;
    update counter c set position = c.position + outcomes returning c.position into strict newest;

    if parks > 0 then
        insert into parked (id, seq, deadline, parked_at, lane, name, session, body)
        select * from unnest(park_id, park_seq, park_deadline, park_at, park_lane, park_name,
                             park_session, park_body);
        if exists (select from log l where l.id = any (park_id)) then
            raise exception 'a command to be parked has an outcome' using errcode = 'DM002';
        end if;
    end if;
    if outcomes > 0 then
        if exists (select from parked) and exists (select from parked p where p.id = any (outcome_id)) then
            raise exception 'a command with an outcome is parked' using errcode = 'DM002';
        end if;
        -- Arrays taken apart in a select list go row by row into the table; in a from clause each would
        -- be gathered first, which costs a tenth of the whole commit.
        insert into log (position, version, stream, quiet, id, name, body)
        select newest - outcomes + o.n, o.version, o.stream,
               case when o.quiet then newest - outcomes + o.n else 0 end, o.id, o.name, o.body
          from (select generate_series(1, outcomes) as n, unnest(outcome_version) as version,
                       unnest(outcome_stream) as stream, unnest(outcome_quiet) as quiet, unnest(outcome_id) as id,
                       unnest(outcome_name) as name, unnest(outcome_body) as body) o;
    end if;
    return newest;
end
$$;
-- +goose StatementEnd

-- +goose Down
drop function commit_batch;
