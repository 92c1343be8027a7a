-- +goose Up

-- Takes lanes over, in the order in which commits lock them. It waits for the transactions that hold the
-- rows, two seconds for each at most, and then fails with lock_not_available (55P03).
-- +goose StatementBegin
create function acquire_lanes(wanted integer[], new_owner text)
returns table (lane integer, epoch bigint, worked bigint)
language plpgsql volatile set lock_timeout = '2s' as $$
begin
    perform from lanes l where l.lane = any (wanted) order by l.lane for no key update;
    return query
    update lanes l set epoch = l.epoch + 1, owner = new_owner, acquired_at = now()
     where l.lane = any (wanted)
    returning l.lane, l.epoch, l.worked;
end
$$;
-- +goose StatementEnd

-- +goose Down
drop function acquire_lanes;
