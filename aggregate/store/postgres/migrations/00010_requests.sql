-- +goose Up

-- Who is to be told what became of a command besides the one who sent it first. Written in the batch in which that
-- was judged, deleted once the answer is out.
create table asks (
    n           bigint  generated always as identity primary key,
    lane        integer not null,             -- of the stream
    id          uuid    not null,             -- of the command
    name        text    collate "C" not null, -- of the stream
    conflict    boolean not null,
    reply_to    bytea   not null,
    correlation bytea   not null
);
create index asks_lane on asks (lane, n);

-- Commits of batches with asks. All others call the function of 00002 itself, so that they cost what they did; and
-- while processes of an earlier program are still at work, it is there for them.
-- +goose StatementBegin
create function commit_asking(
    claim_lane integer[], claim_epoch bigint[], claim_worked bigint[],
    stream_number bigint[], stream_name text[], stream_state_version bigint[], stream_state bytea[],
    snapshot_stream bigint[], snapshot_version bigint[], snapshot_state bytea[],
    outcome_version bigint[], outcome_stream bigint[], outcome_quiet boolean[], outcome_id uuid[],
    outcome_name text[], outcome_body bytea[],
    unpark_id uuid[],
    extend_id uuid[], extend_deadline bigint[],
    park_id uuid[], park_seq bigint[], park_deadline bigint[], park_at timestamptz[], park_lane integer[],
    park_name text[], park_session bytea[], park_body bytea[],
    dead_at timestamptz[], dead_id uuid[], dead_name text[], dead_reason text[], dead_cause bytea[],
    dead_body bytea[],
    ask_lane integer[], ask_id uuid[], ask_name text[], ask_conflict boolean[], ask_reply_to bytea[],
    ask_correlation bytea[]
) returns bigint language plpgsql volatile as $$
declare
    newest constant bigint := commit_batch(
        claim_lane, claim_epoch, claim_worked,
        stream_number, stream_name, stream_state_version, stream_state,
        snapshot_stream, snapshot_version, snapshot_state,
        outcome_version, outcome_stream, outcome_quiet, outcome_id, outcome_name, outcome_body,
        unpark_id, extend_id, extend_deadline,
        park_id, park_seq, park_deadline, park_at, park_lane, park_name, park_session, park_body,
        dead_at, dead_id, dead_name, dead_reason, dead_cause, dead_body);
begin
    -- The lanes are held, so the numbers of each lane's asks are in the order of its commits.
    insert into asks (lane, id, name, conflict, reply_to, correlation)
    select unnest(ask_lane), unnest(ask_id), unnest(ask_name), unnest(ask_conflict), unnest(ask_reply_to),
           unnest(ask_correlation);
    return newest;
end
$$;
-- +goose StatementEnd

-- What is decided on a dead letter, whether other services were told of it, and letters that are no commands: the
-- body of one of another origin is that service's message. Other services are not told of what was there before.
alter table dead_letters
    add column origin     text        collate "C" not null default 'worker',
    add column told       boolean     not null default false,
    add column resolution text        collate "C" not null default '' check (resolution in ('', 'retried', 'discarded')),
    add column decided_at timestamptz,
    add column decided_by bytea,
    add column why        bytea,
    add column retried_as uuid,
    add check ((resolution = '') = (decided_at is null));
update dead_letters set told = true;
create index dead_letters_untold on dead_letters (n) where not told;
create index dead_letters_amqp on dead_letters (n) where origin = 'amqp';
create index dead_letters_open on dead_letters (n) where resolution = '';

-- How many refused messages there are, and their bytes. One row, which whoever buries one holds.
create table refused (
    only_row boolean primary key default true check (only_row),
    letters  bigint  not null,
    bytes    bigint  not null
) with (fillfactor = 10);
insert into refused (letters, bytes) values (0, 0);

-- Buries letters one after another, and lets the oldest refused messages go until the others keep within the
-- bounds. It returns the numbers, and how many it let go.
-- +goose StatementBegin
create function bury_letters(
    letter_at timestamptz[], letter_origin text[], letter_id uuid[], letter_name text[], letter_reason text[],
    letter_cause bytea[], letter_body bytea[],
    most_letters bigint, most_bytes bigint, out numbers bigint[], out gone bigint
) language plpgsql volatile as $$
declare
    kept   bigint;
    filled bigint;
    number bigint;
    freed  bigint;
begin
    numbers := '{}';
    gone := 0;
    select r.letters, r.bytes into strict kept, filled from refused r for update;
    for i in 1 .. cardinality(letter_at) loop
        insert into dead_letters (at, origin, id, name, reason, cause, body)
        values (letter_at[i], letter_origin[i], letter_id[i], letter_name[i], letter_reason[i], letter_cause[i],
                letter_body[i])
        returning n into strict number;
        numbers := numbers || number;
        if letter_origin[i] = 'amqp' then
            kept := kept + 1;
            filled := filled + octet_length(letter_cause[i]) + octet_length(letter_body[i]);
        end if;
    end loop;
    while kept > most_letters or filled > most_bytes loop
        delete from dead_letters d
         where d.n = (select o.n from dead_letters o where o.origin = 'amqp' order by o.n limit 1)
        returning octet_length(d.cause) + octet_length(d.body) into strict freed;
        kept := kept - 1;
        filled := filled - freed;
        gone := gone + 1;
    end loop;
    update refused set letters = kept, bytes = filled;
end
$$;
-- +goose StatementEnd

-- +goose Down
drop function bury_letters;
drop table refused;
delete from dead_letters where origin <> 'worker';
alter table dead_letters
    drop column origin, drop column told, drop column resolution, drop column decided_at, drop column decided_by,
    drop column why, drop column retried_as;
drop function commit_asking;
drop table asks;
