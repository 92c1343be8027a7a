-- +goose Up

-- No refused message before this one is kept: what was let go stays in the index until it is vacuumed, and is not to be
-- walked over again and again. It comes first because whoever buries letters holds this table's row before theirs.
alter table refused add column oldest bigint not null default 0;

-- A broker delivers again what it was not told to be done with. By its key such a message is found among the letters.
alter table dead_letters add column key uuid;
create index dead_letters_key on dead_letters (key) where key is not null;

-- Buries letters one after another, and lets the oldest refused messages go until the others keep within the
-- bounds. It returns the numbers, and how many it let go. A letter that came before has the number of the one that
-- was kept not long ago, if one was.
-- +goose StatementBegin
create function bury_letters(
    letter_at timestamptz[], letter_origin text[], letter_id uuid[], letter_name text[], letter_reason text[],
    letter_cause bytea[], letter_body bytea[], letter_key uuid[], letter_again boolean[], again_within interval,
    most_letters bigint, most_bytes bigint, out numbers bigint[], out gone bigint
) language plpgsql volatile as $$
declare
    kept   bigint;
    filled bigint;
    first  bigint;
    number bigint;
    letter record;
    going  bigint[] := '{}';
begin
    numbers := '{}';
    select r.letters, r.bytes, r.oldest into strict kept, filled, first from refused r for update;
    for i in 1 .. cardinality(letter_at) loop
        number := null;
        if letter_again[i] then
            select d.n into number from dead_letters d
             where d.key = letter_key[i] and d.at > letter_at[i] - again_within order by d.n limit 1;
        end if;
        if number is null then
            insert into dead_letters (at, origin, id, name, reason, cause, body, key)
            values (letter_at[i], letter_origin[i], letter_id[i], letter_name[i], letter_reason[i], letter_cause[i],
                    letter_body[i], letter_key[i])
            returning n into strict number;
            if letter_origin[i] = 'amqp' then
                kept := kept + 1;
                filled := filled + octet_length(letter_cause[i]) + octet_length(letter_body[i]);
            end if;
        end if;
        numbers := numbers || number;
    end loop;
    if kept > most_letters or filled > most_bytes then
        for letter in
            select d.n, octet_length(d.cause) + octet_length(d.body) as size
              from dead_letters d where d.origin = 'amqp' and d.n >= first order by d.n
        loop
            exit when kept <= most_letters and filled <= most_bytes;
            going := going || letter.n;
            first := letter.n + 1;
            kept := kept - 1;
            filled := filled - letter.size;
        end loop;
        delete from dead_letters d where d.n = any (going);
        if kept > most_letters or filled > most_bytes then -- somebody else has deleted some: none is left
            kept := 0;
            filled := 0;
        end if;
    end if;
    gone := cardinality(going);
    update refused set letters = kept, bytes = filled, oldest = first;
end
$$;
-- +goose StatementEnd

-- What processes of an earlier program call, while they are still at work.
-- +goose StatementBegin
create or replace function bury_letters(
    letter_at timestamptz[], letter_origin text[], letter_id uuid[], letter_name text[], letter_reason text[],
    letter_cause bytea[], letter_body bytea[],
    most_letters bigint, most_bytes bigint, out numbers bigint[], out gone bigint
) language sql volatile as $$
    select b.numbers, b.gone
      from bury_letters(letter_at, letter_origin, letter_id, letter_name, letter_reason, letter_cause, letter_body,
                        array_fill(null::uuid, array[cardinality(letter_at)]),
                        array_fill(false, array[cardinality(letter_at)]), interval '0', most_letters, most_bytes) b
$$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
create or replace function bury_letters(
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
drop function bury_letters(timestamptz[], text[], uuid[], text[], text[], bytea[], bytea[], uuid[], boolean[], interval, bigint, bigint);
alter table refused drop column oldest;
alter table dead_letters drop column key;
