package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/projections/catalog"
	"github.com/ticketed/doorman/projections/runner"
)

// sqlApply moves the checkpoint and changes the rows, or does nothing and returns 0. It holds the row of the
// checkpoint before it touches others, so two of them cannot wait for each other.
const sqlApply = `
with moved as (
    update projection_checkpoints set epoch = $4, position = $5
     where projection = $1 and epoch = $2 and position = $3
    returning 1
), put as (
    insert into catalog as c (tenant, type, id, version, ticket, at, position)
    select n.* from moved cross join unnest($6::text[], $7::text[], $8::text[], $9::bigint[], $10::uuid[], $11::timestamptz[],
                                            $12::bigint[]) as n
        on conflict (tenant, type, id) do update
       set version = excluded.version, ticket = excluded.ticket, at = excluded.at, position = excluded.position
)
select count(*) from moved`

// sqlStart has the projection stand at the beginning of an epoch.
const sqlStart = `
insert into projection_checkpoints (projection, epoch, position) values ($1, $2, 0)
    on conflict (projection) do update set epoch = excluded.epoch, position = 0`

// Truncating is done at once, and leaves nothing to be vacuumed. It takes a right that is not among those of
// every role that changes rows; the others delete.
const (
	sqlTruncate = `truncate catalog`
	sqlDelete   = `delete from catalog`
)

// sqlPage gives at least one row, with the checkpoint.
const sqlPage = `
select cp.epoch, cp.position, c.type, c.id, c.version, c.ticket, c.at, c.position
  from (values ($1)) as named (projection)
  left join projection_checkpoints cp using (projection)
  left join lateral (
       select type, id, version, ticket, at, position from catalog
        where tenant = $2 and type = $3 and position < $4 order by position desc limit $5
       ) c on true
 order by c.position desc`

// sqlPageOfAll finds the types, of which there are few, one after the other: each has its part of the index.
const sqlPageOfAll = `
with recursive types (type) as (
    select (select type from catalog where tenant = $2 order by tenant, type limit 1)
    union all
    select (select c.type from catalog c where c.tenant = $2 and c.type > types.type order by c.tenant, c.type limit 1)
      from types where types.type is not null
)
select cp.epoch, cp.position, c.type, c.id, c.version, c.ticket, c.at, c.position
  from (values ($1)) as named (projection)
  left join projection_checkpoints cp using (projection)
  left join (
       select n.type, n.id, n.version, n.ticket, n.at, n.position from types cross join lateral (
              select type, id, version, ticket, at, position from catalog
               where tenant = $2 and type = types.type and position < $3 order by position desc limit $4
              ) n
        order by n.position desc limit $4
       ) c on true
 order by c.position desc`

// rows is the backend of the catalog.
type rows struct{ *Projections }

var _ catalog.Backend = rows{}

// Catalog is the backend of the catalog of streams.
func (p *Projections) Catalog() catalog.Backend { return rows{p} }

// Checkpoint is catalog.Backend's.
func (r rows) Checkpoint(ctx context.Context) (runner.Checkpoint, error) {
	return r.checkpoint(ctx, catalog.Name)
}

// Apply is catalog.Backend's.
func (r rows) Apply(ctx context.Context, changed []catalog.Row, from, to runner.Checkpoint) error {
	ctx, cancel := context.WithTimeout(ctx, r.wait)
	defer cancel()
	n := len(changed)
	tenants, types, ids := make([]string, n), make([]string, n), make([]string, n)
	versions, positions := make([]int64, n), make([]int64, n)
	tickets, times := make([][16]byte, n), make([]time.Time, n)
	for i := range changed {
		row := &changed[i]
		tenants[i], types[i], ids[i] = row.Stream.Tenant, row.Stream.Type, row.Stream.ID
		versions[i], positions[i] = int64(row.Version), int64(row.Position) //nolint:gosec // counted up from 1
		tickets[i], times[i] = row.Ticket, row.At
	}
	var moved int
	err := r.pool.QueryRow(ctx, sqlApply, catalog.Name, from.Epoch, from.Position, to.Epoch, to.Position,
		tenants, types, ids, versions, tickets, times, positions).Scan(&moved)
	if err != nil {
		return failed("change the catalog", err)
	}
	if moved == 0 {
		return fmt.Errorf("%w: %s does not stand at %d of %q", runner.ErrMoved, catalog.Name, from.Position, from.Epoch)
	}
	return nil
}

// Reset is catalog.Backend's.
func (r rows) Reset(ctx context.Context, epoch string) error {
	err := r.start(ctx, epoch, sqlTruncate)
	if state(err) == stateInsufficientPrivilege {
		err = r.start(ctx, epoch, sqlDelete)
	}
	if err != nil {
		return failed("empty the catalog", err)
	}
	return nil
}

// start empties the table in the transaction that sets the checkpoint, in the order of Apply.
func (r rows) start(ctx context.Context, epoch, empty string) error {
	ctx, cancel := context.WithTimeout(ctx, r.wait)
	defer cancel()
	batch := &pgx.Batch{} // one transaction
	batch.Queue(sqlStart, catalog.Name, epoch)
	batch.Queue(empty)
	return r.pool.SendBatch(ctx, batch).Close()
}

// Page is catalog.Backend's.
func (r rows) Page(ctx context.Context, ask catalog.Ask) (*catalog.Page, error) {
	ctx, cancel := context.WithTimeout(ctx, r.wait)
	defer cancel()
	statement, params := sqlPage, []any{catalog.Name, ask.Tenant, ask.Type, ask.Newest(), ask.Limit + 1}
	if ask.Type == "" {
		statement, params = sqlPageOfAll, []any{catalog.Name, ask.Tenant, ask.Newest(), ask.Limit + 1}
	}
	got, err := r.pool.Query(ctx, statement, params...)
	if err != nil {
		return nil, failed("read the catalog", err)
	}
	defer got.Close()
	page := &catalog.Page{}
	for got.Next() {
		if err := readRow(got, page, ask.Tenant); err != nil {
			return nil, failed("read the catalog", err)
		}
	}
	if err := got.Err(); err != nil {
		return nil, failed("read the catalog", err)
	}
	if page.More = len(page.Rows) > ask.Limit; page.More {
		page.Rows = page.Rows[:ask.Limit]
	}
	return page, nil
}

// readRow reads a row of sqlPage, in which all may be missing.
func readRow(from pgx.Rows, page *catalog.Page, tenant string) error {
	var (
		epoch, kind, id       *string
		at, version, position *int64
		ticket                *[16]byte
		landed                *time.Time
	)
	if err := from.Scan(&epoch, &at, &kind, &id, &version, &ticket, &landed, &position); err != nil {
		return err
	}
	if epoch != nil {
		page.At = runner.Checkpoint{Epoch: *epoch, Position: uint64(*at)} //nolint:gosec // checked by the table
	}
	if id != nil {
		page.Rows = append(page.Rows, catalog.Row{
			Stream:  commands.Stream{Tenant: tenant, Type: *kind, ID: *id},
			Version: uint64(*version), Position: uint64(*position), //nolint:gosec // checked by the table
			Ticket: *ticket, At: landed.UTC(),
		})
	}
	return nil
}
