package catalog

import (
	"context"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/projections/runner"
)

// Name is that of the projection.
const Name = "catalog"

// Row is a stream as of its last action.
type Row struct {
	Stream   commands.Stream
	Version  uint64
	Ticket   commands.ID // the one to send next
	At       time.Time   // when the last action landed
	Position uint64      // of the last action
}

// Fold is what outcomes come to: one row for each stream on which something landed, in order of position. A
// row replaces the one that the stream had.
func Fold(outcomes []*commands.Outcome) []Row {
	newest := make(map[commands.Stream]struct{}, len(outcomes))
	rows := make([]Row, 0, len(outcomes))
	for _, o := range slices.Backward(outcomes) {
		if !o.Landed() || o.Version == 0 {
			continue
		}
		if _, seen := newest[o.Stream]; seen {
			continue
		}
		newest[o.Stream] = struct{}{}
		rows = append(rows, Row{Stream: o.Stream, Version: o.Version, Ticket: o.ID, At: o.At, Position: o.Position})
	}
	slices.Reverse(rows)
	return rows
}

// Ask says which page is wanted.
type Ask struct {
	Tenant string
	Type   string // of the streams; empty for all types
	Before uint64 // only rows with positions below it; 0 for the first page
	Limit  int
}

// Newest is the position that the rows wanted are below.
func (a Ask) Newest() uint64 {
	if a.Before == 0 || a.Before > math.MaxInt64 {
		return math.MaxInt64
	}
	return a.Before
}

// Page is part of the catalog, newest change first, as of one moment.
type Page struct {
	Rows []Row
	// At is up to where the log is in it.
	At runner.Checkpoint
	// More says that there are rows after these.
	More bool
	// WholeAt is the position that At has to reach before streams that are not in the catalog can be taken
	// for such as there are none of: it is being made anew, or lags far behind. A page with At there or above
	// is of the whole.
	WholeAt uint64
}

// Backend keeps the rows together with the checkpoint of the projection called [Name]. Errors that pass by
// themselves match store.ErrUnavailable.
type Backend interface {
	// Checkpoint, Apply and Reset are as in runner.Projection, with rows in place of outcomes: Apply moves
	// the checkpoint from one to another.
	Checkpoint(ctx context.Context) (runner.Checkpoint, error)
	Apply(ctx context.Context, rows []Row, from, to runner.Checkpoint) error
	Reset(ctx context.Context, epoch string) error
	// Page reads the rows and the checkpoint of one moment. It does not wait for an Apply.
	Page(ctx context.Context, ask Ask) (*Page, error)
}

// Catalog is the projection.
type Catalog struct {
	backend Backend
	whole   atomic.Uint64
}

var (
	_ runner.Projection = (*Catalog)(nil)
	_ runner.Growing    = (*Catalog)(nil)
)

// New is a catalog that a backend keeps.
func New(backend Backend) *Catalog { return &Catalog{backend: backend} }

// Name is runner.Projection's.
func (c *Catalog) Name() string { return Name }

// Checkpoint is runner.Projection's.
func (c *Catalog) Checkpoint(ctx context.Context) (runner.Checkpoint, error) {
	return c.backend.Checkpoint(ctx)
}

// Apply is runner.Projection's.
func (c *Catalog) Apply(ctx context.Context, outcomes []*commands.Outcome, at runner.Checkpoint) error {
	return c.backend.Apply(ctx, Fold(outcomes), at, at.After(outcomes))
}

// Reset is runner.Projection's.
func (c *Catalog) Reset(ctx context.Context, epoch string) error { return c.backend.Reset(ctx, epoch) }

// WholeAt is runner.Growing's.
func (c *Catalog) WholeAt(position uint64) { c.whole.Store(position) }

// Page reads one page.
func (c *Catalog) Page(ctx context.Context, ask Ask) (*Page, error) {
	page, err := c.backend.Page(ctx, ask)
	if err != nil {
		return nil, err
	}
	page.WholeAt = c.whole.Load() // after the rows: it is told before they are taken away
	return page, nil
}
