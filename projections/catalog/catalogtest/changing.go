package catalogtest

import (
	"context"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/projections/catalog"
	"github.com/ticketed/doorman/projections/runner"
)

// runner.Projection: rows and checkpoint are one transaction.
var changing = []test{
	{"a catalog that was never filled is empty and stands nowhere", func(d *data) {
		for range 2 {
			at, err := d.Checkpoint(context.Background())
			require.NoError(d, err)
			require.Zero(d, at)
			require.Equal(d, &catalog.Page{}, d.page(catalog.Ask{Limit: 10}))
			require.Equal(d, &catalog.Page{}, d.page(catalog.Ask{Type: "order", Limit: 10}))
			require.NoError(d, d.Opened.Close())
			d.Opened = d.another()
		}
		require.ErrorIs(d, d.Apply(context.Background(), []catalog.Row{row(stream("order", 1), 1)},
			runner.Checkpoint{Epoch: "e1"}, runner.Checkpoint{Epoch: "e1", Position: 1}), runner.ErrMoved)
	}},
	{"what was applied is there, as it was, whoever opens it", func(d *data) {
		d.begin()
		rows := []catalog.Row{row(stream("order", 1), 3), row(stream("document", 1), 4), row(stream("order", 2), 7)}
		d.apply(rows...)
		want := &catalog.Page{Rows: []catalog.Row{rows[2], rows[0]}, At: d.checkpoint()}
		require.Equal(d, want, d.page(catalog.Ask{Type: "order", Limit: 10}))
		require.NoError(d, d.Opened.Close())
		d.Opened = d.another()
		require.Equal(d, want, d.page(catalog.Ask{Type: "order", Limit: 10}))
		at, err := d.Checkpoint(context.Background())
		require.NoError(d, err)
		require.Equal(d, d.checkpoint(), at)
	}},
	{"a row takes the place of the one its stream had", func(d *data) {
		d.begin()
		one, two := stream("order", 1), stream("order", 2)
		d.apply(row(one, 1), row(two, 2))
		d.apply(row(one, 3))
		again := row(two, 5)
		d.apply(row(one, 4), again)
		got := d.all(catalog.Ask{Type: "order", Limit: 1})
		require.Len(d, got, 2)
		require.Equal(d, again, got[0])
		require.EqualValues(d, 4, got[1].Position)
	}},
	{"a batch without rows moves the checkpoint alone", func(d *data) {
		d.begin()
		require.NoError(d, d.Apply(context.Background(), nil, d.checkpoint(), runner.Checkpoint{Epoch: "e1", Position: 9}))
		require.Equal(d, &catalog.Page{At: runner.Checkpoint{Epoch: "e1", Position: 9}}, d.page(catalog.Ask{Limit: 10}))
	}},
	{"a batch that does not begin at the checkpoint is refused, and nothing of it is applied", func(d *data) {
		d.begin()
		known := row(stream("order", 1), 5)
		d.apply(known)
		for _, believed := range []runner.Checkpoint{{}, {Epoch: "e1"}, {Epoch: "e1", Position: 4}, {Epoch: "e1", Position: 6}, {Epoch: "e2", Position: 5}} {
			err := d.Apply(context.Background(), []catalog.Row{row(stream("order", 1), 8)}, believed, runner.Checkpoint{Epoch: believed.Epoch, Position: 8})
			require.ErrorIs(d, err, runner.ErrMoved)
			require.Equal(d, &catalog.Page{Rows: []catalog.Row{known}, At: d.checkpoint()}, d.page(catalog.Ask{Limit: 10}))
		}
	}},
	{"of many who apply what follows one checkpoint, one does", func(d *data) {
		d.begin()
		opened := []Opened{d.Opened, d.another(), d.another()}
		var all sync.WaitGroup
		errs := make([]error, 2*len(opened))
		for i := range errs {
			all.Go(func() {
				errs[i] = opened[i%len(opened)].Apply(context.Background(), []catalog.Row{row(stream("order", i), 1)},
					d.checkpoint(), runner.Checkpoint{Epoch: "e1", Position: 1})
			})
		}
		all.Wait()
		applied := -1
		for i, err := range errs {
			if err == nil {
				require.Equal(d, -1, applied, "%d was applied too", i)
				applied = i
				continue
			}
			require.ErrorIs(d, err, runner.ErrMoved)
		}
		got := d.all(catalog.Ask{Limit: 10})
		require.Len(d, got, 1)
		require.Equal(d, stream("order", applied), got[0].Stream)
	}},
	{"a batch that cannot be stored changes nothing", func(d *data) {
		d.begin()
		known := row(stream("order", 1), 1)
		d.apply(known)
		bad := row(stream("order", 3), 3)
		bad.Version = 0
		err := d.Apply(context.Background(), []catalog.Row{row(stream("order", 1), 2), bad}, d.checkpoint(), runner.Checkpoint{Epoch: "e1", Position: 3})
		require.Error(d, err)
		require.NotErrorIs(d, err, runner.ErrMoved)
		require.Equal(d, &catalog.Page{Rows: []catalog.Row{known}, At: d.checkpoint()}, d.page(catalog.Ask{Limit: 10}))
	}},
	{"a reset empties it and begins an epoch", func(d *data) {
		d.begin()
		d.apply(row(stream("order", 1), 1), row(stream("order", 2), 2))
		d.epoch = "e2"
		d.begin()
		require.Equal(d, &catalog.Page{At: runner.Checkpoint{Epoch: "e2"}}, d.page(catalog.Ask{Limit: 10}))
		again := row(stream("order", 2), 1)
		d.apply(again)
		require.Equal(d, []catalog.Row{again}, d.all(catalog.Ask{Limit: 10}))
	}},
	{"what is begun under a context that is over is not done, and fails with its error", func(d *data) {
		d.begin()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := d.Checkpoint(ctx)
		require.ErrorIs(d, err, context.Canceled)
		_, err = d.Page(ctx, catalog.Ask{Limit: 1})
		require.ErrorIs(d, err, context.Canceled)
		require.ErrorIs(d, d.Reset(ctx, "e9"), context.Canceled)
		require.ErrorIs(d, d.Apply(ctx, []catalog.Row{row(stream("order", 1), 1)}, d.checkpoint(),
			runner.Checkpoint{Epoch: "e1", Position: 1}), context.Canceled)
		require.Equal(d, &catalog.Page{At: d.checkpoint()}, d.page(catalog.Ask{Limit: 10}))
	}},
}
