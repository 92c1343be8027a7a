package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/projections/catalog"
	"github.com/ticketed/doorman/projections/runner"
)

const (
	sqlPutRow = `INSERT INTO catalog (tenant, type, id, version, ticket, at, position) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, type, id) DO UPDATE
		SET version = excluded.version, ticket = excluded.ticket, at = excluded.at, position = excluded.position`
	sqlDropRows = `DELETE FROM catalog`
	sqlPage     = `SELECT id, version, ticket, at, position FROM catalog
		WHERE tenant = ? AND type = ? AND position < ? ORDER BY position DESC LIMIT ?`
	sqlNextType = `SELECT min(type) FROM catalog WHERE tenant = ? AND type > ?`
)

// rows is the backend of the catalog.
type rows struct{ *Projections }

var _ catalog.Backend = rows{}

// Catalog is the backend of the catalog of streams.
func (p *Projections) Catalog() catalog.Backend { return rows{p} }

// Checkpoint is catalog.Backend's.
func (r rows) Checkpoint(ctx context.Context) (at runner.Checkpoint, err error) {
	err = r.read(ctx, "read the catalog's checkpoint", func(tx *sql.Tx) (err error) {
		at, err = checkpoint(ctx, tx, catalog.Name)
		return err
	})
	return at, err
}

// Apply is catalog.Backend's.
func (r rows) Apply(ctx context.Context, changed []catalog.Row, from, to runner.Checkpoint) error {
	return r.change(ctx, "change the catalog", func(tx *sql.Tx) error {
		if err := moveCheckpoint(ctx, tx, catalog.Name, from, to); err != nil {
			return err
		}
		if len(changed) == 0 {
			return nil
		}
		put, err := tx.PrepareContext(ctx, sqlPutRow)
		if err != nil {
			return err
		}
		defer put.Close() //nolint:errcheck // the transaction tells what went wrong
		// The driver watches each statement's context from a goroutine of its own, which costs as much as the
		// row: it is looked at here instead.
		unwatched := context.WithoutCancel(ctx)
		for i := range changed {
			if err := ctx.Err(); err != nil {
				return err
			}
			row := &changed[i]
			_, err := put.ExecContext(unwatched, row.Stream.Tenant, row.Stream.Type, row.Stream.ID, row.Version,
				row.Ticket[:], row.At.UnixMicro(), row.Position)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Reset is catalog.Backend's.
func (r rows) Reset(ctx context.Context, epoch string) error {
	return r.change(ctx, "empty the catalog", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, sqlDropRows); err != nil {
			return err
		}
		return resetCheckpoint(ctx, tx, catalog.Name, epoch)
	})
}

// Page is catalog.Backend's.
func (r rows) Page(ctx context.Context, ask catalog.Ask) (*catalog.Page, error) {
	page := &catalog.Page{}
	err := r.read(ctx, "read the catalog", func(tx *sql.Tx) (err error) {
		if page.At, err = checkpoint(ctx, tx, catalog.Name); err != nil {
			return err
		}
		if ask.Type != "" {
			page.Rows, err = newest(ctx, tx, ask, nil)
			return err
		}
		// Each type has its part of the index; there are few types.
		for {
			var next sql.NullString
			if err := tx.QueryRowContext(ctx, sqlNextType, ask.Tenant, ask.Type).Scan(&next); err != nil {
				return err
			}
			if !next.Valid {
				return nil
			}
			ask.Type = next.String
			if page.Rows, err = newest(ctx, tx, ask, page.Rows); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return nil, err
	}
	if page.More = len(page.Rows) > ask.Limit; page.More {
		page.Rows = page.Rows[:ask.Limit]
	}
	return page, nil
}

// newest adds the rows of one type to those found so far, and keeps the newest: one more than are asked for.
func newest(ctx context.Context, tx *sql.Tx, ask catalog.Ask, found []catalog.Row) (_ []catalog.Row, err error) {
	got, err := tx.QueryContext(ctx, sqlPage, ask.Tenant, ask.Type, ask.Newest(), ask.Limit+1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, got.Close()) }()
	for got.Next() {
		row := catalog.Row{Stream: commands.Stream{Tenant: ask.Tenant, Type: ask.Type}}
		var ticket []byte
		var at int64
		if err := got.Scan(&row.Stream.ID, &row.Version, &ticket, &at, &row.Position); err != nil {
			return nil, unread(ctx, err)
		}
		copy(row.Ticket[:], ticket)
		row.At = time.UnixMicro(at).UTC()
		found = append(found, row)
	}
	slices.SortFunc(found, func(a, b catalog.Row) int { return int(b.Position) - int(a.Position) })
	return found[:min(len(found), ask.Limit+1)], got.Err()
}
